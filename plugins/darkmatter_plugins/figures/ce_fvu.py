"""What a dictionary costs the model over the FVU it leaves: every SAE and every control."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from darkmatter import api
from darkmatter_plugins.figures.style import (
    BASELINE_LINES,
    GREY,
    PARTS,
    Point,
    figure_of,
    new_figure,
    plain_log,
    plural,
    point,
    whisker,
    why_undefined,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOWEST = 1e-6
"""FVU and CE increases below are round-off and have no place on logarithmic axes."""


@dataclass(frozen=True)
class Spot:
    """One dictionary."""

    name: str
    fvu: Point
    increase: Point
    is_control: bool


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture of all dictionaries."""
    reconstruction = results.by_name("reconstruction")
    costs = [each for each in results.of("ce_attribution") if each.name in reconstruction]
    every = [
        Spot(each.name, fvu, increase, each.is_control)
        for each in costs
        if (fvu := point(reconstruction[each.name], "fvu")) and (increase := point(each, "ce_increase.sae"))
    ]
    spots = [spot for spot in every if min(spot.fvu.value, spot.increase.value) > LOWEST]
    if not spots:
        raise api.NothingToDraw(why_undefined(costs, "ce_increase.sae"))
    yield _picture(spots, len(every) - len(spots), costs[0])


def _picture(spots: Sequence[Spot], left_out: int, any_of: api.Measured) -> api.Drawing:
    axis = new_figure(5.4, 3.9).subplots()
    saes = [spot for spot in spots if not spot.is_control]
    _group(axis, saes, {"color": PARTS["linear"], "marker": "o", "linestyle": "none"}, "SAEs")
    kinds: dict[str, list[Spot]] = defaultdict(list)
    for spot in spots:
        if spot.is_control:
            kinds[_kind(spot.name)].append(spot)
    for kind, mine in kinds.items():
        style = {"marker": "D", "markerfacecolor": "white", **BASELINE_LINES.get(kind, {"color": GREY})}
        _group(axis, sorted(mine, key=lambda spot: spot.fvu.value), style, kind)
    plain_log(axis, "x")
    plain_log(axis, "y")
    axis.set_xlabel("FVU")
    axis.set_ylabel("CE increase (nats)")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5)
    clean, perplexity = any_of.value("ce.clean"), any_of.value("perplexity.clean")
    own = "" if clean is None else f" The model's own cross-entropy is {clean:.3f} nats"
    own += f" (perplexity {perplexity:.2f})." if own and perplexity is not None else "." if own else ""
    gone = f" Left out for want of an error or a cost: {left_out}." if left_out else ""
    return api.Drawing(
        figure_of(axis),
        f"Increase of the model's cross-entropy with the reconstruction in place of the activation, over "
        f"the FVU, for {plural(len(saes), 'SAE')} and {plural(len(spots) - len(saes), 'control')}; controls "
        f"of one kind are joined. At equal FVU, the lower dictionary keeps more of what the model uses.{own}"
        f"{gone} Lines through points: 95% intervals.",
    )


def _kind(name: str) -> str:
    """Controls of one kind are called alike up to their numbers: pca-k8, pca-k16."""
    found = re.match(r"[A-Za-z_]+", name)
    return found.group().rstrip("_") if found else name


def _group(axis: Axes, spots: Sequence[Spot], style: dict[str, Any], label: str) -> None:
    if not spots:
        return
    x, y = [spot.fvu.value for spot in spots], [spot.increase.value for spot in spots]
    axis.plot(x, y, **style, markersize=5, linewidth=1.0, label=wrapped(label), zorder=4)
    for spot in spots:
        positive = spot.increase
        if positive.low is not None:
            positive = Point(positive.value, max(positive.low, LOWEST), positive.high)
        whisker(axis, positive, spot.fvu.value, upright=True)
        whisker(axis, spot.fvu, spot.increase.value)
