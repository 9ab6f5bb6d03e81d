"""Planted noises: which part of the error each moves, measured beside what theory expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREY,
    NAMES,
    PARTS,
    bars,
    figure_of,
    key_above,
    need_some,
    numbers,
    panels,
    point,
    within,
    without_controls,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPLIT = ("linear", "nonlinear")
CORRELATIONS = {
    "activation_noise.linear": "x noise,\nlinear",
    "activation_noise.nonlinear": "x noise,\nnonlinear",
    "reconstruction_noise.linear": "Sae noise,\nlinear",
    "reconstruction_noise.nonlinear": "Sae noise,\nnonlinear",
}

TICKS = (-10.0, -1.0, -0.1, 0.0, 0.1, 1.0, 10.0)
"""Of the grid of levels, whose parts of FVU span decades, zero among them."""

MOST_PAIRS = 2
"""Pairs of levels of noise that are shown; the tables have all."""


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture per SAE."""
    saes = without_controls(results.of("synthetic_noise"))
    need_some(saes, [f"corr.{name}" for name in CORRELATIONS])
    defined = [each for each in saes if "linear" in each.tables]
    if not defined:
        reason = "no result has the table of linear parts"
        raise api.NothingToDraw(reason)
    for each in defined:
        yield _picture(each, each.name if len(defined) > 1 else "")


def _picture(each: api.Measured, part: str) -> api.Drawing:
    pairs = _pairs(each)[:MOST_PAIRS]
    axes = panels(len(pairs) + 2, columns=2, size=(3.1, 2.5) if pairs else (3.1, 2.7))
    for axis, pair in zip(axes, pairs, strict=False):
        _curves(axis, each, pair)
    _grid(axes[-2], each)
    _correlations(axes[-1], each)
    key_above(axes, columns=2)
    levels = "; ".join(f"({pair})" for pair in pairs)
    shown = f" Parts of FVU at levels (x, Sae) {levels}, over the share of latents ablated." if pairs else ""
    return api.Drawing(
        figure_of(axes[0]),
        f"{api.printable(each.name)}: its reconstructions taken as activations, with noise added to them (x "
        f"noise) or to their reconstruction (Sae noise). Theory: an SAE without error on an isotropic signal."
        f"{shown} All pairs of levels: linear and nonlinear part of FVU, measured over theory (dotted: "
        f"equality). Correlation of level and part over those pairs; diamonds: theory. No intervals: the "
        f"pairs are no sample.",
        part,
    )


def _pairs(each: api.Measured) -> list[str]:
    """The pairs of levels that latents were ablated at, as the names of their curves have them."""
    return [
        name.removeprefix("linear[").removesuffix("]")
        for name, curve in each.curves.items()
        if name.startswith("linear[") and len(curve["x"]) > 1
    ]


def _curves(axis: Axes, each: api.Measured, pair: str) -> None:
    for part in SPLIT:
        curve = each.curves[f"{part}[{pair}]"]
        axis.plot(curve["x"], numbers(curve["y"]), "o-", color=PARTS[part], markersize=3.5, label=NAMES[part])
    x, _, sae = api.printable(pair).partition(",")
    axis.set_title(f"x noise {x}, Sae noise {sae}", size=9)
    axis.set_xlabel("latents ablated (%)")
    axis.set_ylabel("share of variance")
    axis.margins(y=0.12)
    axis.set_ylim(bottom=0)


def _grid(axis: Axes, each: api.Measured) -> None:
    lowest, highest = 0.0, 0.1
    for part in SPLIT:
        pairs = _both(each.tables, part)
        theory, measured = [x for x, _ in pairs], [y for _, y in pairs]
        axis.plot(
            theory, measured, "o" if part == "linear" else "s", color=PARTS[part], markersize=3.5,
            markeredgewidth=0, alpha=0.8, label=NAMES[part],
        )  # fmt: skip
        lowest, highest = min([lowest, *measured]), max([highest, *theory, *measured])
    axis.plot([0, highest], [0, highest], ":", color="#404040", linewidth=1.1)
    limits = (min(1.5 * lowest, -0.02), 1.6 * highest)
    axis.set_xscale("symlog", linthresh=0.1, linscale=0.5)
    axis.set_yscale("symlog", linthresh=0.1, linscale=0.5)
    for which in (axis.xaxis, axis.yaxis):
        which.set_ticks(TICKS, [f"{tick:g}" for tick in TICKS])
        which.set_ticks([], minor=True)
    axis.set(xlim=limits, ylim=limits)
    axis.set_title("all pairs of levels", size=9)
    axis.set_xlabel("theory")
    axis.set_ylabel("measured")


def _both(tables: Mapping[str, Any], part: str) -> list[tuple[float, float]]:
    """(expected, measured) of a part at every pair of levels where both are known."""
    rows = zip(tables[f"expected_{part}"], tables[part], strict=True)
    return [
        (float(x), float(y))
        for expected, measured in rows
        for x, y in zip(expected, measured, strict=True)
        if x is not None and y is not None
    ]


def _correlations(axis: Axes, each: api.Measured) -> None:
    points = [point(each, f"corr.{name}") for name in CORRELATIONS]
    expected = [point(each, f"expected.{name}") for name in CORRELATIONS]
    for row, (name, found) in enumerate(zip(CORRELATIONS, points, strict=True)):
        bars(axis, [row], [found], color=PARTS[name.rpartition(".")[2]], height=0.62)
    known = [(row, found.value) for row, found in enumerate(expected) if found is not None]
    axis.plot(
        [value for _, value in known],
        [row for row, _ in known],
        "D",
        color="#202020",
        markerfacecolor="white",
        markersize=4.5,
        zorder=6,
    )
    axis.axvline(0.0, color=GREY, linewidth=0.8)
    axis.set_yticks(range(len(CORRELATIONS)), list(CORRELATIONS.values()), size=8)
    axis.set_ylim(len(CORRELATIONS) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    within(axis, [*points, *expected], low=-1.05, high=1.08)
    axis.set_title("correlation of level and part", size=9)
    axis.set_xlabel("Pearson's r")
