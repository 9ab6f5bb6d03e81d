"""Paired timing of two ways to do the same work, alternating so that both meet the same noise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratios:
    """How many times as long the reference took as ours, run by run."""

    ours: list[float]
    reference: list[float]

    def __str__(self) -> str:
        ratios = sorted(r / o for o, r in zip(self.ours, self.reference, strict=True))
        return (
            f"reference / ours: min {ratios[0]:.2f}, median {statistics.median(ratios):.2f}, "
            f"max {ratios[-1]:.2f}   (median seconds: ours {statistics.median(self.ours):.3f}, "
            f"reference {statistics.median(self.reference):.3f})"
        )


def alternate(ours: Callable[[], object], reference: Callable[[], object], runs: int) -> Ratios:
    """Run both ``runs`` times in turn, changing who goes first, after one untimed call of each."""
    ours()
    reference()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for run in range(runs):
        for is_ours in (True, False) if run % 2 == 0 else (False, True):
            start = time.perf_counter()
            (ours if is_ours else reference)()
            seconds[is_ours].append(time.perf_counter() - start)
    return Ratios(seconds[True], seconds[False])
