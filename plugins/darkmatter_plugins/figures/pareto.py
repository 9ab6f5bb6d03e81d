"""FVU and nonlinear FVU against L0, with the front of the SAEs that no other one dominates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter.stats import dominated
from darkmatter_plugins.figures.style import (
    GREY,
    PARTS,
    Point,
    figure_of,
    panels,
    plural,
    point,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (
    ("reconstruction", "fvu", "FVU ↓", PARTS["error"]),
    ("error_decomposition", "fvu_nonlinear", "nonlinear FVU ↓", PARTS["nonlinear"]),
)


@dataclass(frozen=True)
class Spot:
    """One SAE."""

    name: str
    l0: float
    at: Point

    @property
    def has_place(self) -> bool:
        """Whether logarithmic axes can show it; what is 0 dominates all the same."""
        return self.l0 > 0 and self.at.value > 0


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture with a panel for each metric that two or more SAEs have."""
    found = [
        (_spots(results, evaluator, metric), title, colour) for evaluator, metric, title, colour in PANELS
    ]
    shown = [panel for panel in found if sum(spot.has_place for spot in panel[0]) > 1]
    if not shown:
        message = "needs two or more SAEs with an L0 and fvu or fvu_nonlinear"
        raise api.NothingToDraw(message)
    axes = panels(len(shown), columns=2, size=(3.9, 3.3))
    for axis, (spots, title, colour) in zip(axes, shown, strict=True):
        _panel(axis, spots, colour)
        axis.set_title(title)
        axis.set_xlabel("L0 (latents per token)")
    axes[0].set_ylabel("share of variance")
    count = max(len(spots) for spots, _, _ in shown)
    yield api.Drawing(
        figure_of(axes[0]),
        f"{plural(count, 'SAE')}, controls aside. Filled and named: on the front, no other SAE is as good "
        f"or better in both L0 and value, and better in one. Hollow: behind it. Lines: 95% intervals. "
        f"Whether a difference exceeds chance says `darkmatter table --pareto`.",
    )


def _spots(results: api.FigureResults, evaluator: str, metric: str) -> list[Spot]:
    found = []
    for each in results.of(evaluator):
        at = point(each, metric)
        if not each.is_control and each.l0 is not None and at is not None:
            found.append(Spot(each.name, each.l0, at))
    return found


def _front(spots: Sequence[Spot]) -> list[Spot]:
    """The SAEs that none dominates, in the order of L0."""
    behind = dominated([spot.l0 for spot in spots], [spot.at.value for spot in spots])
    front = [spot for spot, better in zip(spots, behind, strict=True) if better is None]
    return sorted(front, key=lambda spot: (spot.l0, spot.at.value))


def _panel(axis: Axes, spots: Sequence[Spot], colour: str) -> None:
    from matplotlib.ticker import NullLocator

    front = [spot for spot in _front(spots) if spot.has_place]
    axis.set_xscale("log")
    axis.set_yscale("log")
    for spot in filter(lambda spot: spot.has_place, spots):
        on_front = spot in front
        low, high = (spot.at.low, spot.at.high)
        if low is not None and high is not None and low > 0:
            axis.plot([spot.l0] * 2, [low, high], color=colour if on_front else GREY, linewidth=1.1, zorder=2)
        axis.plot(
            spot.l0,
            spot.at.value,
            marker="o",
            markersize=5.5,
            color=colour if on_front else GREY,
            markerfacecolor=colour if on_front else "white",
            zorder=3,
        )
    steps = [spot.l0 for spot in front], [spot.at.value for spot in front]
    axis.step(*steps, where="post", color=colour, linewidth=1.2, zorder=1)
    for spot in front:
        axis.annotate(
            wrapped(spot.name, 18, 2),
            (spot.l0, spot.at.value),
            (5, -4),
            textcoords="offset points",
            va="top",
            size=7,
        )
    axis.margins(0.22, 0.16)
    _ticks(axis, [spot.l0 for spot in spots])
    values = [spot.at.value for spot in spots]
    _value_ticks(axis, min(values), max(values))
    for each in (axis.xaxis, axis.yaxis):
        each.set_minor_locator(NullLocator())


def _ticks(axis: Axes, values: Sequence[float]) -> None:
    """A tick at each L0 that lies a sixth or more above the one before."""
    kept: list[float] = []
    for value in sorted(values):
        if not kept or value > kept[-1] * 7 / 6:
            kept.append(value)
    axis.set_xticks(kept, [f"{value:.3g}" for value in kept])


def _value_ticks(axis: Axes, low: float, high: float) -> None:
    """Four values, evenly spaced in the logarithm, as plain numbers."""
    ratio = (high / low) ** (1 / 3)
    ticks = sorted({float(f"{low * ratio**step:.2g}") for step in range(4)})
    axis.set_yticks(ticks, [f"{tick:.2g}" for tick in ticks])
