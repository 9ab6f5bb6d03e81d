"""95% intervals and paired differences from sums per resampling unit (context, latent, pair ...).

A metric is a statistic of per-unit sums, seen as a function of unit weights. Its interval is the
percentile bootstrap over units; below 50 units, where percentiles are too narrow, it is the
jackknife with t quantiles. The weights of the bootstrap depend on the seed and the number of units
alone, so that the replicates of all SAEs of a run are paired.

Everything is numpy in float64 and bounded in memory by the block size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.uint8]

BOOTSTRAP_FROM = 50
"""Units from which on percentiles of the bootstrap are used."""
LEVEL = 0.95
MAX_UNDEFINED = 0.05
"""Share of replicates that may be undefined before the interval is given up."""

_BLOCK_VALUES = 1 << 20
_CACHE_BYTES = 1 << 25
_CACHE_ENTRIES = 2
"""A run uses one number of units and one seed, a comparison of two folders at most two of each."""


class Statistic(Protocol):
    """A metric as a function of unit weights; all weights one gives the metric's value."""

    @property
    def n_units(self) -> int:
        """How many units the sums stand for."""
        ...

    def at(self, weights: Floats) -> Floats:
        """The metric under each row of ``weights`` [replicates, units]; NaN where undefined."""
        ...


@dataclass(frozen=True)
class Ratio:
    """sum(numerator) / sum(denominator), or one minus that; both [units].

    It is undefined where the weighted denominator is at or below ``floor``.
    """

    numerator: Floats
    denominator: Floats
    complement: bool = False
    floor: float = 0.0

    @property
    def n_units(self) -> int:
        """Units behind the sums."""
        return len(self.numerator)

    def at(self, weights: Floats) -> Floats:
        """The ratio under each row of weights."""
        # One product for both: reading the weights costs more than the arithmetic.
        sums = weights @ np.stack([self.numerator, self.denominator], axis=1)
        ratio = _divide(sums[:, 0], sums[:, 1], self.floor)
        return 1.0 - ratio if self.complement else ratio

    def linearised(self) -> Influence:
        """The first-order contributions per unit."""
        total = self.denominator.sum()
        ratio = float(self.numerator.sum() / total)
        contributions = (self.numerator - ratio * self.denominator) / total
        if self.complement:
            return Influence(1.0 - ratio, -contributions)
        return Influence(ratio, contributions)


@dataclass(frozen=True)
class MeanOfRatios:
    """The mean over dimensions of sum(numerator) / sum(denominator); both [units, dimensions].

    Dimensions whose denominator is at or below ``floor`` over all units are left out everywhere.
    """

    numerator: Floats
    denominator: Floats
    complement: bool = False
    floor: float = 0.0

    @property
    def n_units(self) -> int:
        """Units behind the sums."""
        return len(self.numerator)

    @property
    def defined(self) -> NDArray[np.bool_]:
        """Which dimensions count."""
        return np.asarray(np.sum(self.denominator, axis=0) > self.floor, dtype=np.bool_)

    def at(self, weights: Floats) -> Floats:
        """The mean ratio under each row of weights."""
        keep = self.defined
        if not keep.any():
            return np.full(len(weights), np.nan)
        # A dimension may vanish in one replicate: that replicate is undefined, not a smaller mean.
        ratios = _divide(weights @ self.numerator[:, keep], weights @ self.denominator[:, keep], self.floor)
        mean = np.asarray(ratios.mean(axis=1), dtype=np.float64)
        return 1.0 - mean if self.complement else mean

    def linearised(self) -> Influence:
        """The first-order contributions per unit: [units] numbers instead of [units, dimensions]."""
        keep = self.defined
        numerator, denominator = self.numerator[:, keep], self.denominator[:, keep]
        totals = denominator.sum(axis=0)
        ratios = numerator.sum(axis=0) / totals
        contributions = ((numerator - ratios * denominator) / totals).mean(axis=1)
        value = float(ratios.mean())
        if self.complement:
            return Influence(1.0 - value, -contributions)
        return Influence(value, contributions)


@dataclass(frozen=True)
class Influence:
    """A value that is no ratio of sums, with its first-order contribution of each unit [units]."""

    value: float
    contributions: Floats

    @property
    def n_units(self) -> int:
        """Units behind the contributions."""
        return len(self.contributions)

    def at(self, weights: Floats) -> Floats:
        """The value moved by what the weights add or take away."""
        return self.value + (weights - 1.0) @ self.contributions


@dataclass(frozen=True)
class Interval:
    """A 95% interval; without bounds ``method`` says why there is none."""

    low: float | None
    high: float | None
    method: str


@dataclass(frozen=True)
class Spread:
    """A statistic's replicates and its standard error (None where ``reason`` says why)."""

    value: float
    replicates: Floats
    error: float | None
    reason: str = ""


class Resampler:
    """Resamples ``n_units`` units; equal (seed, n_units) means equal weights, hence pairing.

    Making one costs nothing: those of equal ``n_units``, ``seed`` and ``replicates`` share their weights.

    Args:
        n_units: how many units there are.
        seed: seed of the resampling weights.
        replicates: bootstrap replicates.
        unit: what one unit is, in the plural, for the description of the method.
    """

    def __init__(self, n_units: int, seed: int, replicates: int = 2000, unit: str = "contexts") -> None:
        self.n_units = n_units
        self.seed = seed
        self.replicates = replicates
        self.unit = unit

    @property
    def is_bootstrap(self) -> bool:
        """Whether there are enough units for the bootstrap."""
        return self.n_units >= BOOTSTRAP_FROM

    @property
    def method(self) -> str:
        """The method as results describe it."""
        if self.is_bootstrap:
            return f"bootstrap over {self.n_units} {self.unit}, {self.replicates} replicates, percentile"
        return f"jackknife over {self.n_units} {self.unit}, t quantiles"

    def interval_ratio(
        self, numerator: Floats, denominator: Floats, *, complement: bool = False, floor: float = 0.0
    ) -> Interval:
        """The interval of sum(numerator) / sum(denominator), or of one minus it."""
        return self.interval(Ratio(_float64(numerator), _float64(denominator), complement, floor))

    def interval(self, statistic: Statistic) -> Interval:
        """The 95% interval of any statistic."""
        spread = self.spread(statistic)
        if spread.error is None:
            return Interval(None, None, f"no interval: {spread.reason}")
        if self.is_bootstrap:
            tail = (1.0 - LEVEL) / 2.0
            low, high = np.nanquantile(spread.replicates, [tail, 1.0 - tail])
            return Interval(float(low), float(high), self.method)
        half = t_quantile(1.0 - LEVEL, self.n_units - 1) * spread.error
        return Interval(spread.value - half, spread.value + half, self.method)

    def spread(self, statistic: Statistic) -> Spread:
        """The statistic's value, replicates and standard error over units."""
        if statistic.n_units != self.n_units:
            message = f"the statistic has {statistic.n_units} units, the resampler {self.n_units}"
            raise ValueError(message)
        if self.n_units < 2:
            return Spread(
                np.nan, np.empty(0), None, f"it needs 2 or more {self.unit}, there is {self.n_units}"
            )
        value = float(statistic.at(np.ones((1, self.n_units)))[0])
        if not np.isfinite(value):
            return Spread(value, np.empty(0), None, "the value is undefined")
        replicates = np.concatenate([statistic.at(weights) for weights in self._weights()])
        return self._spread(value, replicates)

    def _spread(self, value: float, replicates: Floats) -> Spread:
        missing = float(np.mean(~np.isfinite(replicates)))
        allowed = MAX_UNDEFINED if self.is_bootstrap else 0.0
        if missing > allowed:
            return Spread(value, replicates, None, f"it is undefined in {missing:.0%} of the resamples")
        replicates = np.where(np.isfinite(replicates), replicates, np.nan)
        return Spread(value, replicates, self.error_of(replicates))

    def error_of(self, replicates: Floats) -> float:
        """The standard error of a statistic with these replicates (of this resampler)."""
        if self.is_bootstrap:
            return float(np.nanstd(replicates, ddof=1))
        deviations = replicates - replicates.mean()
        return float(np.sqrt((self.n_units - 1) / self.n_units * (deviations @ deviations)))

    def _weights(self) -> Iterator[Floats]:
        """Blocks of weights [replicates, units], each row summing to the number of units."""
        if not self.is_bootstrap:
            scale = self.n_units / (self.n_units - 1)
            yield scale * (1.0 - np.eye(self.n_units))
            return
        if self.n_units * self.replicates <= _CACHE_BYTES:
            drawn: Iterable[Counts] = _kept_counts(self.n_units, self.seed, self.replicates)
        else:
            drawn = _draw_counts(self.n_units, self.seed, self.replicates)
        yield from (block.astype(np.float64) for block in drawn)


@lru_cache(maxsize=_CACHE_ENTRIES)
def _kept_counts(n_units: int, seed: int, replicates: int) -> tuple[Counts, ...]:
    """The counts of ``_draw_counts``, drawn once for all resamplers of a run."""
    blocks = tuple(_draw_counts(n_units, seed, replicates))
    for block in blocks:
        block.setflags(write=False)
    return blocks


def _draw_counts(n_units: int, seed: int, replicates: int) -> Iterator[Counts]:
    """Multinomial counts in blocks; a count above 255 has no chance with 50 units or more."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, n_units]))
    # The block size depends on n_units alone, so the stream of draws does too.
    rows = max(1, _BLOCK_VALUES // n_units)
    for start in range(0, replicates, rows):
        count = min(rows, replicates - start)
        drawn = rng.integers(0, n_units, size=(count, n_units), dtype=np.int64)
        drawn += np.arange(count, dtype=np.int64)[:, None] * n_units
        counts = np.bincount(drawn.ravel(), minlength=count * n_units)
        yield counts.reshape(count, n_units).astype(np.uint8)


def t_quantile(alpha: float, freedom: int) -> float:
    """The two-sided t quantile: |t| exceeds it with probability ``alpha``."""
    from scipy.special import stdtrit

    return float(-stdtrit(freedom, alpha / 2.0))


def _float64(values: Floats) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _divide(numerator: Floats, denominator: Floats, floor: float) -> Floats:
    """The ratio where the denominator is above the floor and finite, else NaN."""
    usable = np.isfinite(denominator) & (denominator > floor)
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=usable)
