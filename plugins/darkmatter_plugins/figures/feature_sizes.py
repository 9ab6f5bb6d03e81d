"""Whether a*, which predicts the norm of a sum of features, names the size of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    PARTS,
    SKY,
    figure_of,
    numbers,
    pages,
    panels,
    plural,
    why_undefined,
    without_controls,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE = "feature_norm"


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One panel per SAE."""
    measured = without_controls(results.of("error_decomposition"))
    saes = [each for each in measured if each.curves.get(CURVE, {}).get("x")]
    if not saes:
        raise api.NothingToDraw(why_undefined(measured, f"{CURVE}.correlation"))
    for part, page in pages(saes, 12):
        yield _picture(page, part)


def _picture(saes: Sequence[api.Measured], file_part: str) -> api.Drawing:
    columns = min(3, len(saes))
    axes = panels(len(saes), columns=columns, size=(3.8, 3.2) if columns == 1 else (2.4, 2.2))
    for axis, each in zip(axes, saes, strict=True):
        _panel(axis, each)
        axis.set_xlabel("mean value when active")
    for axis in axes[::columns]:
        axis.set_ylabel("a*·w / |w|")
    return api.Drawing(
        figure_of(axes[0]),
        f"For latents of {plural(len(saes), 'SAE')} (points, at most 1000 each): what a*, the linear map "
        f"that predicts the squared norm of the reconstruction, says of their size, over their mean value "
        f"when active. Line: running mean; dotted: equality, which on/off orthonormal features give. r: "
        f"correlation over latents.",
        file_part,
    )


def _panel(axis: Axes, each: api.Measured) -> None:
    curve, mean = each.curves[CURVE], each.curves.get(f"{CURVE}_running_mean")
    x, y = numbers(curve["x"]), numbers(curve["y"])
    axis.plot(x, y, ".", color=SKY, markersize=3, alpha=0.6, markeredgewidth=0, rasterized=True)
    if mean is not None:
        axis.plot(mean["x"], numbers(mean["y"]), color=PARTS["nonlinear"], linewidth=1.4)
    ends = [min(x), max(x)]
    axis.plot(ends, ends, ":", color="#404040", linewidth=1.1)
    found = [
        f"{label} {value:.2f}"
        for label, metric in (("r", f"{CURVE}.correlation"), ("slope", f"{CURVE}.slope"))
        if (value := each.value(metric)) is not None
    ]
    axis.set_title("\n".join([wrapped(each.name, 26), ", ".join(found)]), size=8.5)
