"""The norm-prediction test: which vectors have norms that the activation predicts linearly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREEN,
    GREY,
    PARTS,
    Point,
    need_some,
    new_figure,
    plural,
    point,
    whisker,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VECTORS = {
    "x": ("x", GREY),
    "sae": ("Sae(x)", GREEN),
    "error": ("error\ne", PARTS["error"]),
    "linear": ("linear\nerror L", PARTS["linear"]),
    "nonlinear": ("nonlinear\nerror N", PARTS["nonlinear"]),
}

VIOLIN = 8
"""SAEs that make a violin; fewer are shown one by one with their intervals."""

LOWEST = -0.25
"""A control may predict arbitrarily badly; what lies below is drawn at the edge."""


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture of all SAEs."""
    measured = results.of("error_decomposition")
    saes = [each for each in measured if not each.is_control]
    controls = [each for each in measured if each.is_control]
    need_some(saes, [f"norm_r2.{key}" for key in VECTORS])
    points = {key: [point(each, f"norm_r2.{key}") for each in saes] for key in VECTORS}
    beside = {key: [point(each, f"norm_r2.{key}") for each in controls] for key in VECTORS}
    figure = new_figure(5.2, 3.3)
    axis = figure.subplots()
    for place, (key, (_, color)) in enumerate(VECTORS.items()):
        _column(axis, place, [each for each in points[key] if each is not None], color)
        _controls(axis, place, [each.value for each in beside[key] if each is not None])
    every = [each for column in (*points.values(), *beside.values()) for each in column if each is not None]
    lowest = min(each.value if each.low is None else each.low for each in every)
    axis.set_ylim(max(LOWEST, min(0.0, lowest - 0.03)), 1.03)
    axis.set_xticks(range(len(VECTORS)), [label for label, _ in VECTORS.values()])
    axis.set_xlim(-0.5, len(VECTORS) - 0.5)
    axis.grid(visible=False, axis="x")
    axis.set_ylabel("R² of the squared norm from x")
    shown = (
        "violins over SAEs, a point each, a bar at the median"
        if len(saes) >= VIOLIN
        else "a point each, 95% intervals"
    )
    other = f" Grey diamonds: {plural(len(controls), 'control')}." if controls else ""
    yield api.Drawing(
        figure,
        f"How well a linear map of the activation x predicts the squared norm of five vectors, for "
        f"{plural(len(saes), 'SAE')} ({shown}). A sum of sparse features with on/off values gives 1, noise "
        f"that does not depend on x gives 0.{other}",
    )


def _column(axis: Axes, place: int, known: Sequence[Point], color: str) -> None:
    if not known:
        return
    values = [each.value for each in known]
    if len(set(values)) == 1:
        # As of x, which is the same whatever the SAE.
        known, values = known[:1], values[:1]
    if len(known) >= VIOLIN and len(values) > 1:
        bodies: Any = axis.violinplot(values, positions=[place], widths=0.7, showextrema=False)["bodies"]
        for body in bodies:
            body.set(facecolor=color, alpha=0.3, edgecolor=color)
        axis.plot([place - 0.1, place + 0.1], [median(values)] * 2, color=color, linewidth=2.2, zorder=3)
    spread = _spread(len(values))
    axis.plot([place + shift for shift in spread], values, "o", color=color, markersize=4, zorder=4)
    if len(known) < VIOLIN:
        for shift, each in zip(spread, known, strict=True):
            whisker(axis, each, place + shift, upright=True, color=color)


def _controls(axis: Axes, place: int, values: Sequence[float]) -> None:
    """Controls at the right of the column; those far below stand at the edge."""
    shown = [max(value, LOWEST) for value in values]
    axis.plot([place + 0.4] * len(shown), shown, "D", markerfacecolor="white", color=GREY, markersize=3.5)


def _spread(count: int) -> list[float]:
    """Places beside each other, the same each time."""
    return [0.0] if count == 1 else [0.44 * index / (count - 1) - 0.22 for index in range(count)]
