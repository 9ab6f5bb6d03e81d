"""The front of points that are to be small in two ways, such as an SAE's L0 and its error."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

_DIGITS = 4
"""Significant digits of a size that count: a handful of silent positions makes 15.99998 of an L0 of 16."""


@dataclass(frozen=True)
class Dominated:
    """Of the points that dominate one, the index of the best and how many there are."""

    best: int
    count: int


def dominated(sizes: Sequence[float], costs: Sequence[float]) -> list[Dominated | None]:
    """By whom each point is dominated; None for the points on the front.

    A point is dominated by those that are no larger and cost no more, and differ from it in one of the two.
    So equal points do not dominate each other: both are on the front, or neither is. Sizes that agree in
    four significant digits are equal. The best of those that dominate costs least; among equal costs it
    is the smallest, then the first given.

    Args:
        sizes: finite numbers, one per point.
        costs: finite numbers, lower is better.
    """
    shown = [size if size == int(size) else float(f"{size:.{_DIGITS}g}") for size in sizes]
    points = sorted(zip(shown, costs, range(len(shown)), strict=True))
    found: list[Dominated | None] = [None] * len(points)
    seen: list[float] = []
    best: tuple[float, float, int] | None = None
    for (size, cost), group in groupby(points, key=lambda point: point[:2]):
        members = [index for _, _, index in group]
        count = bisect_right(seen, cost)
        if best is not None and count:
            for index in members:
                found[index] = Dominated(best[2], count)
        for _ in members:
            insort(seen, cost)
        best = min(best or (cost, size, members[0]), (cost, size, members[0]))
    return found
