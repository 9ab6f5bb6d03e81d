"""What is left of KL after editing a few features, over their number and over the size of the edit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import inf, log2
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREEN,
    GREY,
    PARTS,
    SKY,
    Point,
    figure_of,
    pages,
    panels,
    plural,
    point,
    why_undefined,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = (*PARTS.values(), SKY, GREEN, "#e69f00", "#cc79a7", "#8b4513")
MARKERS = "osD^vP*X"
PER_PICTURE = len(COLORS)

_NUMBERED = re.compile(r"(-k\d{1,9})?(@.*)?$", re.DOTALL)
"""What tells controls of one kind apart: how many components, and the hook point."""
_AT = re.compile(r"kl_left_at\[(\d{1,9})\]")


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """Lines of SAEs, eight in a picture, each beside one control of every kind."""
    found = results.of("feature_editing")
    known = [each for each in found if _curve(each, "kl_left")]
    if not known:
        raise api.NothingToDraw(why_undefined(found, "kl_left"))
    saes = [each for each in known if not each.is_control]
    controls = _references([each for each in known if each.is_control])
    for part, page in pages(saes, PER_PICTURE) if saes else [("", [])]:
        yield _picture(page, controls, part)


def _picture(saes: Sequence[api.Measured], controls: Sequence[api.Measured], part: str) -> api.Drawing:
    by_number, by_edit = panels(2, columns=2, size=(4.3, 3.4 + 0.05 * len([*saes, *controls])), share_y=True)
    for index, each in enumerate([*saes, *controls]):
        _lines(by_number, by_edit, each, index)
    ticks = sorted({m for each in [*saes, *controls] for m in _curve(each, "kl_left") if m & (m - 1) == 0})
    by_number.set_xticks([log2(1 + m) for m in ticks], [str(m) for m in ticks])
    by_number.set_xlabel("features edited")
    by_number.set_ylabel("KL left (share)")
    by_edit.set_xlabel("size of the edit, mean |x' - x|")
    for axis in (by_number, by_edit):
        axis.set_ylim(bottom=0)
        if (exact := _exact([*saes, *controls])) is not None:
            axis.axhline(exact, color=GREY, linewidth=0.8, linestyle=":")
    handles, labels = by_number.get_legend_handles_labels()
    figure_of(by_number).legend(handles, labels, loc="outside upper center", ncols=4, fontsize=7)
    return api.Drawing(
        figure_of(by_number),
        "KL between the model's prediction for the counterfactual prompt and its prediction when features "
        "are set to their counterfactual codes, the most effective first, as a share of that without an "
        f"edit, for {plural(len(saes), 'SAE')} and {plural(len(controls), 'control')} (broken lines; the "
        "best of each kind): over the number of features (bands: 95% intervals over pairs, of SAEs) and over "
        "the size of the edit. Dotted: the counterfactual's own activations in place."
        f"{_sample([*saes, *controls])}",
        part,
    )


def _references(controls: Sequence[api.Measured]) -> list[api.Measured]:
    """Of controls that differ in k alone, the one with the least area: lines of all would hide each other."""
    best: dict[str, api.Measured] = {}
    for each in controls:
        kind = _NUMBERED.sub("", each.name)
        if kind not in best or _area(each) < _area(best[kind]):
            best[kind] = each
    return list(best.values())


def _area(each: api.Measured) -> float:
    area = each.value("area")
    return inf if area is None else area


def _sample(measured: Sequence[api.Measured]) -> str:
    """How many pairs count, the same for all at a hook point."""
    for each in measured:
        sample = each.tables.get("sample", {})
        pairs, counted = sample.get("pairs"), sample.get("counted")
        if isinstance(pairs, int) and isinstance(counted, int):
            return f" {counted} of {pairs} pairs of prompts count, by what the model answers right (`right`)."
    return ""


def _exact(measured: Sequence[api.Measured]) -> float | None:
    """The share of KL that the counterfactual's own activations leave; the same for all at a hook point."""
    for each in measured:
        exact, none = each.value("kl_exact"), each.value("kl0")
        if exact is not None and none:
            return exact / none
    return None


def _curve(each: api.Measured, kind: str) -> Mapping[int, Point]:
    """The points of a curve by number of features."""
    sizes = [int(match[1]) for name in each.metrics if (match := _AT.fullmatch(name))]
    found = {size: point(each, f"{kind}_at[{size}]") for size in sizes}
    return {size: at for size, at in found.items() if at is not None}


def _lines(by_number: Axes, by_edit: Axes, each: api.Measured, index: int) -> None:
    """One dictionary in both panels; the number of features stands at log2(1 + m)."""
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
    style, width, fill = ("--", 0.9, "white") if each.is_control else ("-", 1.3, color)
    kl, edit = _curve(each, "kl_left"), _curve(each, "edit")
    numbers = [(log2(1 + m), at) for m, at in sorted(kl.items())]
    sizes = [(edit[m].value, at) for m, at in sorted(kl.items()) if m in edit]
    for axis, points in ((by_number, numbers), (by_edit, sizes)):
        axis.plot(
            [place for place, _ in points],
            [at.value for _, at in points],
            label=wrapped(each.name, 30, 2),
            color=color,
            linestyle=style,
            linewidth=width,
            marker=marker,
            markersize=3.5,
            markerfacecolor=fill,
        )
    if each.is_control:
        return
    ends = [(place, at.low, at.high) for place, at in numbers if at.low is not None and at.high is not None]
    if ends:
        places, low, high = zip(*ends, strict=True)
        by_number.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
