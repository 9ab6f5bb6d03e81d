"""Paired comparison of two metrics that were measured on the same units.

The replicates of both use the same weights, so what units share cancels. A difference has a normal
shape far sooner than its parts, and Holm's levels reach into tails where 2000 replicates hold a
handful of draws; hence the interval of a difference is value ± t · standard error (bootstrap, below
50 units jackknife) rather than a pair of percentiles.

Holm's procedure over a family of m differences: sort by p value; the k-th smallest is tested at
level 5% / (m - k + 1); the first that is not significant ends it, and it and all after it are ties.
The Holm-adjusted interval of a difference is its interval at the level at which the procedure
judged it (for those after the end, the level of the end). So "the interval contains 0" says exactly
"Holm does not reject", and the chance of any false difference in the family is at most 5%. As with
every step-down procedure, the intervals do not cover all true differences jointly with 95%.

Where the data chose which differences are looked at (each SAE against the one that came out best), the
family is all that could have been chosen: k (k - 1) / 2 pairs of k SAEs, of which the others count as
not rejected. With m = k - 1 instead, twelve equal SAEs would show a false difference in 15 of 100 tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from darkmatter.stats.resample import LEVEL, Resampler, Spread, t_quantile

ROUND_OFF = 1e-12
"""Differences below this, relative to the values, are round-off and count as zero."""


@dataclass(frozen=True)
class Difference:
    """a - b on the same units.

    ``error`` is None where no interval exists; ``reason`` then says why.
    """

    value: float
    error: float | None
    p: float | None
    freedom: int
    low: float | None
    high: float | None
    method: str
    reason: str = ""

    @property
    def is_tie(self) -> bool | None:
        """Whether the interval contains 0; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return self.low <= 0.0 <= self.high


def difference_of(resampler: Resampler, a: Spread, b: Spread) -> Difference:
    """The difference a - b with its unadjusted 95% interval and two-sided p value.

    Both are spreads of ``resampler``, which many comparisons can share.
    """
    value = a.value - b.value
    freedom = max(resampler.n_units - 1, 1)
    method = "paired " + resampler.method.removesuffix(", percentile").removesuffix(", t quantiles")
    for part in (a, b):
        if part.error is None:
            return Difference(value, None, None, freedom, None, None, method, part.reason)
    if abs(value) <= ROUND_OFF * max(abs(a.value), abs(b.value)):
        return Difference(0.0, 0.0, 1.0, freedom, 0.0, 0.0, method)
    error = resampler.error_of(a.replicates - b.replicates)
    p = _two_sided(value, error, freedom)
    return _at_level(Difference(value, error, p, freedom, None, None, method), 1.0 - LEVEL)


def holm_intervals(
    differences: Sequence[Difference], alpha: float = 1.0 - LEVEL, *, of: int | None = None
) -> list[Difference]:
    """The family's differences with Holm-adjusted intervals, in the given order.

    Differences without an interval stay as they are and do not count as members of the family. ``of`` is
    how many differences the family has where these were picked from it by their values.
    """
    judged = [index for index, difference in enumerate(differences) if difference.p is not None]
    judged.sort(key=lambda index: (differences[index].p, index))
    adjusted = list(differences)
    size = len(judged) if of is None else max(of, len(judged))
    level, ended = alpha, False
    for rank, index in enumerate(judged):
        if not ended:
            level = alpha / (size - rank)
        adjusted[index] = _at_level(differences[index], level)
        ended = ended or bool(adjusted[index].is_tie)
    return adjusted


def _at_level(difference: Difference, level: float) -> Difference:
    """The same difference with its interval at confidence 1 - level."""
    if difference.error is None:
        return difference
    half = t_quantile(level, difference.freedom) * difference.error if difference.error else 0.0
    return Difference(
        difference.value,
        difference.error,
        difference.p,
        difference.freedom,
        difference.value - half,
        difference.value + half,
        difference.method,
    )


def _two_sided(value: float, error: float, freedom: int) -> float:
    """The p value of value / error against Student's t."""
    from scipy.special import stdtr

    if error == 0.0:
        return 1.0 if value == 0.0 else 0.0
    return float(2.0 * stdtr(freedom, -np.abs(value) / error))
