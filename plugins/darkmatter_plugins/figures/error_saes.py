"""FVU of SAEs trained on the error, its linear and its nonlinear part, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from darkmatter import api
from darkmatter_plugins.figures.style import (
    NAMES,
    PARTS,
    Point,
    bars,
    key_above,
    name_rows,
    need_some,
    new_figure,
    pages,
    plural,
    point,
    row_height,
    within,
)


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """Three bars for every SAE, a point for every training seed."""
    saes = results.of("error_saes")
    need_some(saes, [f"fvu_mean.{part}" for part in PARTS])
    for part, page in pages(saes):
        yield _picture(page, part)


def _picture(saes: Sequence[api.Measured], file_part: str) -> api.Drawing:
    names = [each.name for each in saes]
    figure = new_figure(5.4, max(1.3, row_height(names, 0.55)) + 1.05)
    axis = figure.subplots()
    drawn: list[Point | None] = [Point(1.0)]
    for index, (part, color) in enumerate(PARTS.items()):
        places = [row + (index - 1) * 0.27 for row in range(len(saes))]
        points = [point(each, f"fvu_mean.{part}") for each in saes]
        bars(axis, places, points, color=color, label=NAMES[part], height=0.25)
        for place, each in zip(places, saes, strict=True):
            seeds = _seeds(each, part)
            drawn += [Point(seed) for seed in seeds]
            axis.plot(
                seeds, [place] * len(seeds), "o", markerfacecolor="white", color="#202020", markersize=3.4,
                markeredgewidth=0.8, zorder=7,
            )  # fmt: skip
        drawn += points
    within(axis, drawn, low=0.0, high=1.5)
    axis.axvline(1.0, color="#8c8c8c", linewidth=0.8, linestyle=":")
    axis.set_xlabel("held-out FVU, relative to the part's own variance ↓")
    name_rows([axis], names)
    key_above([axis], columns=3)
    return api.Drawing(
        figure,
        f"FVU of TopK SAEs of equal size and training on the error of {plural(len(saes), 'SAE')} and on "
        f"its parts. Bars: mean over training seeds, points: the seeds, lines: 95% intervals over seeds "
        f"where there are enough. A lower bar is a part that a sparse dictionary learns more easily.",
        file_part,
    )


def _seeds(each: api.Measured, part: str) -> list[float]:
    """FVU of the SAE of every seed."""
    return [float(row["fvu"]) for row in each.tables.get("saes", []) if row["part"] == part]
