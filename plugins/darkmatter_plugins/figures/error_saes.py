"""SAEs trained on the error, its linear and its nonlinear part: what they miss, and how plain they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREY,
    NAMES,
    PARTS,
    Point,
    bars,
    figure_of,
    key_above,
    name_rows,
    need_some,
    pages,
    panels,
    plural,
    point,
    row_height,
    within,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """Three bars for every SAE, a point for every training seed; beside them the scores of latents."""
    saes = results.of("error_saes")
    need_some(saes, [f"fvu_mean.{part}" for part in PARTS])
    for part, page in pages(saes):
        yield _picture(page, part)


def _picture(saes: Sequence[api.Measured], file_part: str) -> api.Drawing:
    names = [each.name for each in saes]
    scored = any(each.value(f"score.{part}") is not None for each in saes for part in PARTS)
    height = max(1.3, row_height(names, 0.55)) + 1.15
    axes = (
        panels(2, columns=2, size=(3.1, height), share_y=True)
        if scored
        else panels(1, columns=1, size=(5.4, height))
    )
    _fvus(axes[0], saes)
    if scored:
        _scores(axes[1], saes)
    name_rows(axes, names)
    key_above(axes, columns=3)
    scores = (
        " Right: how well the activations of latents are foretold from the last two tokens (mean "
        "correlation, 95% intervals over latents), a simple measure of what is plain to read."
        if scored
        else ""
    )
    return api.Drawing(
        figure_of(axes[0]),
        f"TopK SAEs of equal size and training on the error of {plural(len(saes), 'SAE')} and on its parts. "
        f"FVU: lower is a part that a sparse dictionary learns more easily; bars: mean over training seeds, "
        f"points: the seeds, lines: 95% intervals over seeds, of one seed over held-out text.{scores}",
        file_part,
    )


def _fvus(axis: Axes, saes: Sequence[api.Measured]) -> None:
    drawn = [Point(1.0), *_bars(axis, [[_fvu(each, part) for each in saes] for part in PARTS])]
    for index, part in enumerate(PARTS):
        for row, each in enumerate(saes):
            seeds = _seeds(each, part)
            drawn += [Point(seed) for seed in seeds]
            axis.plot(
                seeds, [row + _shift(index)] * len(seeds), "o", markerfacecolor="white", color="#202020",
                markersize=3.4, markeredgewidth=0.8, zorder=7,
            )  # fmt: skip
    within(axis, drawn, low=0.0, high=1.5)
    axis.axvline(1.0, color=GREY, linewidth=0.8, linestyle=":")
    axis.set_xlabel("held-out FVU of the part ↓")


def _scores(axis: Axes, saes: Sequence[api.Measured]) -> None:
    points = [[point(each, f"score.{part}") for each in saes] for part in PARTS]
    within(axis, _bars(axis, points), low=-1.0, high=1.05)
    axis.set_xlabel("latents foretold from tokens (r) ↑")


def _bars(axis: Axes, points: Sequence[Sequence[Point | None]]) -> list[Point | None]:
    """Bars of every part at every SAE; returns all that was drawn."""
    for index, (part, color) in enumerate(PARTS.items()):
        places = [row + _shift(index) for row in range(len(points[index]))]
        bars(axis, places, points[index], color=color, label=NAMES[part], height=0.25)
    return [each for column in points for each in column]


def _shift(index: int) -> float:
    """Where a part's bar lies beside its row."""
    return (index - 1) * 0.27


def _fvu(each: api.Measured, part: str) -> Point | None:
    """The mean over seeds; one seed has the interval of its held-out text."""
    mean, first = point(each, f"fvu_mean.{part}"), point(each, f"fvu.{part}")
    if mean is not None and first is not None and len(_seeds(each, part)) == 1:
        return Point(mean.value, first.low, first.high)
    return mean


def _seeds(each: api.Measured, part: str) -> list[float]:
    """FVU of the SAE of every seed."""
    return [float(row["fvu"]) for row in each.tables.get("saes", []) if row["part"] == part]
