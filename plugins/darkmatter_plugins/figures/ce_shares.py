"""What the linear and the nonlinear error cost the model, beside their shares of FVU and of the norm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREY,
    INTERVALS,
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
    without_controls,
)

PANELS = {"ce": "CE increase", "fvu": "FVU", "norm": "norm of e"}
SPLIT = ("linear", "nonlinear")
CONTROLS = {
    "shuffled": ("N of other tokens", PARTS["nonlinear"]),
    "random": ("random, norm of N", GREY),
    "shuffled_linear": ("L of other tokens", PARTS["linear"]),
    "random_linear": ("random, norm of L", "#b0b0b0"),
}


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """Bars of both parts for every SAE, and of controls in the panel of the CE."""
    saes = without_controls(results.of("ce_attribution"))
    metrics = [f"share.{kind}.{part}" for kind in PANELS for part in SPLIT]
    need_some(saes, metrics)
    for part, page in pages(saes, 10):
        yield _picture(page, part)


def _picture(saes: Sequence[api.Measured], file_part: str) -> api.Drawing:
    controls = [name for name in CONTROLS if any(f"share.ce.{name}" in each.metrics for each in saes)]
    names = [each.name for each in saes]
    series = [*SPLIT, *controls]
    height = max(1.3, row_height(names, 0.13 * len(series) + 0.12)) + 1.15
    axes = panels(3, columns=3, size=(2.35, height), share_y=True)
    for axis, (kind, title) in zip(axes, PANELS.items(), strict=True):
        mine = series if kind == "ce" else SPLIT
        step = 0.84 / len(mine)
        drawn: list[Point | None] = [Point(100.0)]
        for index, name in enumerate(mine):
            points = [point(each, f"share.{kind}.{name}") for each in saes]
            drawn += points
            shift = (index + 0.5 - len(mine) / 2) * step
            label, color = CONTROLS[name] if name in CONTROLS else (NAMES[name], PARTS[name])
            places = [row + shift for row in range(len(saes))]
            control = name in CONTROLS
            bars(axis, places, points, color=color, label=label, height=0.9 * step, control=control)
        axis.set_title(title)
        axis.set_xlabel("share (%)")
        within(axis, drawn, low=-150.0, high=200.0)
        for share, style in ((0.0, "-"), (100.0, ":")):
            axis.axvline(share, color=GREY, linewidth=0.8, linestyle=style)
    name_rows(axes, names)
    key_above(axes, columns=2)
    without = "" if not controls else " Hatched: controls, vectors of the same norms added back instead."
    return api.Drawing(
        figure_of(axes[0]),
        f"Share of the increase in cross-entropy, of the FVU and of the error's norm that goes with the "
        f"linear and the nonlinear error, for {plural(len(saes), 'SAE')}. A part costs in proportion where "
        f"its shares of CE and FVU agree; CE shares need not add up to 100.{without} {INTERVALS}",
        file_part,
    )
