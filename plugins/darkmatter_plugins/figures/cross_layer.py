"""How much of an SAE's error other SAEs and other hook points predict, and what that leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    INTERVALS,
    NAMES,
    PARTS,
    Point,
    bars,
    few_ticks,
    figure_of,
    key_above,
    name_rows,
    panels,
    point,
    row_height,
    why_undefined,
    within,
    without_controls,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AFTER = {
    "fvu_after": ("error", "FVU", "reconstruction", "fvu"),
    "fvu_nonlinear_after": ("nonlinear", "nonlinear FVU", "error_decomposition", "fvu_nonlinear"),
}
"""Metric -> part, label, and where the value before stands."""

CONTROLS = (":shuffled", ":random")

MOST = 24
"""Sources in one picture; further ones stand in the tables."""

LOWEST = -0.1


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture per SAE."""
    saes = without_controls(results.of("cross_layer"))
    drawn = [(each, _sources(each)) for each in saes]
    if not any(sources for _, sources in drawn):
        raise api.NothingToDraw(why_undefined(saes, "r2.error[all]"))
    several = len(drawn) > 1
    for each, sources in drawn:
        if sources:
            yield _picture(each, sources, results, each.name if several else "")


def _sources(each: api.Measured) -> list[str]:
    """What stands in the brackets of defined metrics, in the order of the file; controls last."""
    found = [
        name.removeprefix("r2.error[").removesuffix("]")
        for name, metric in each.metrics.items()
        if name.startswith("r2.error[") and metric.value is not None
    ]
    return sorted(found, key=lambda name: name.endswith(CONTROLS))


def _picture(each: api.Measured, sources: list[str], results: api.FigureResults, part: str) -> api.Drawing:
    shown = sources[:MOST]
    controls = [name.endswith(CONTROLS) for name in shown]
    axes = panels(2, columns=2, size=(3.5, max(1.6, row_height(shown, 0.42)) + 1.05), share_y=True)
    drawn: list[Point | None] = []
    for index, (key, color) in enumerate(PARTS.items()):
        points = [point(each, f"r2.{key}[{name}]") for name in shown]
        drawn += points
        _split_bars(axes[0], (index - 1) * 0.27, points, controls, color, NAMES[key], 0.25)
    axes[0].set_title("predicted from …")
    axes[0].set_xlabel("R²")
    within(axes[0], drawn, low=LOWEST, high=1.05)
    drawn, before = [], False
    for index, (metric, (key, label, evaluator, name)) in enumerate(AFTER.items()):
        points = [point(each, f"{metric}[{source}]") for source in shown]
        start = results.by_name(evaluator).get(each.name)
        level = None if start is None else point(start, name)
        drawn += [*points, level]
        _split_bars(axes[1], (index - 0.5) * 0.36, points, controls, PARTS[key], f"{label} after", 0.33)
        if level is not None:
            before = True
            axes[1].axvline(level.value, color=PARTS[key], linestyle="--", linewidth=1.2, zorder=6)
    axes[1].set_title("… and added back")
    axes[1].set_xlabel("share of variance ↓")
    within(axes[1], drawn, low=0.0, high=10.0)
    for axis in axes:
        few_ticks(axis)
    name_rows(axes, shown, controls)
    key_above(axes, columns=3)
    cut = f" {len(sources) - MOST} further sources stand in the tables." if len(sources) > MOST else ""
    dashed = ", dashed: before" if before else ""
    hatched = (
        " Hatched: controls of equal rank (rows of other tokens, random mixtures of x)."
        if any(controls)
        else ""
    )
    lacking = [name for name in shown if each.value(f"fvu_nonlinear_after[{name}]") is None]
    none = (
        " No orange bar on the right: x joins every source there, so that the SAE itself would give e back, "
        "and random mixtures of x nothing."
        if lacking
        else ""
    )
    return api.Drawing(
        figure_of(axes[0]),
        f"{api.printable(each.name)}: share of the error and of its linear and nonlinear part that a linear "
        f"map of each source predicts (left); FVU (grey) and nonlinear FVU (orange) when the prediction is "
        f"added to the reconstruction (right{dashed}).{hatched}{none}"
        f"{cut} {INTERVALS}",
        part,
    )


def _split_bars(
    axis: Axes,
    shift: float,
    points: Sequence[Point | None],
    controls: Sequence[bool],
    color: str,
    label: str,
    height: float,
) -> None:
    """Bars of sources and, hatched, of controls; what has no value here has no bar."""
    for hatched in (False, True):
        mine = [
            (row + shift, found)
            for row, (found, control) in enumerate(zip(points, controls, strict=True))
            if control is hatched and found is not None
        ]
        bars(
            axis,
            [place for place, _ in mine],
            [found for _, found in mine],
            color=color,
            label=None if hatched else label,
            height=height,
            control=hatched,
        )
