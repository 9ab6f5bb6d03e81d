"""FVU before and after gradient pursuit: how much of the error the encoder makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREY,
    INTERVALS,
    PARTS,
    few_ticks,
    figure_of,
    key_above,
    name_rows,
    need_some,
    pages,
    panels,
    plural,
    point,
    row_height,
    whisker,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {"fvu": ("FVU ↓", "error"), "fvu_nonlinear": ("nonlinear FVU ↓", "nonlinear")}


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """A line from before to after for every SAE."""
    saes = results.of("gradient_pursuit")
    need_some(saes, list(PANELS))
    for part, page in pages(saes):
        yield _picture(page, part)


def _picture(saes: Sequence[api.Measured], file_part: str) -> api.Drawing:
    names = [each.name for each in saes]
    height = max(1.2, row_height(names)) + 1.05
    axes = panels(2, columns=2, size=(3.3, height), share_y=True)
    for axis, (metric, (title, part)) in zip(axes, PANELS.items(), strict=True):
        for row, each in enumerate(saes):
            _dumbbell(axis, row, each, metric, PARTS[part])
        axis.set_title(title)
        axis.set_xlabel("share of variance")
        axis.set_xlim(left=0)
        axis.margins(x=0.08)
        few_ticks(axis)
    name_rows(axes, names, [each.is_control for each in saes])
    axes[0].plot([], [], "o", markerfacecolor="white", color=GREY, label="the SAE's codes")
    axes[0].plot([], [], "o", color=PARTS["error"], label="codes by pursuit")
    key_above(axes, columns=2)
    return api.Drawing(
        figure_of(axes[0]),
        f"FVU, and what stays of it with the linear error added back, of {plural(len(saes), 'SAE')}: with "
        f"the codes of their encoders (hollow) and with codes found by gradient pursuit on the same decoder, "
        f"with at most as many latents per token (filled). {INTERVALS}",
        file_part,
    )


def _dumbbell(axis: Axes, row: int, each: api.Measured, metric: str, color: str) -> None:
    before, after = point(each, metric), point(each, f"{metric}_after")
    if before is not None and after is not None:
        axis.plot(
            [before.value, after.value],
            [row, row],
            color=color,
            linewidth=2.4,
            alpha=0.35,
            zorder=2,
            solid_capstyle="butt",
        )
    if before is not None:
        axis.plot(
            [before.value], [row - 0.13], "o", markerfacecolor="white", color=GREY, markersize=5, zorder=6
        )
        whisker(axis, before, row - 0.13, color=GREY)
    if after is not None:
        axis.plot([after.value], [row + 0.13], "o", color=color, markersize=5, zorder=6)
        whisker(axis, after, row + 0.13, color=color)
