"""Paired differences and Holm's procedure."""

import numpy as np
import pytest
from scipy import stats

from darkmatter.stats.paired import Difference, difference_of, holm_intervals
from darkmatter.stats.resample import Influence, Ratio, Resampler


def paired(resampler, a, b):
    """The difference of two metrics."""
    return difference_of(resampler, resampler.spread(a), resampler.spread(b))


def pair(rng, units, gap):
    """Two ratio metrics that share most of their noise and differ by ``gap``."""
    denominator = rng.uniform(5.0, 15.0, units)
    shared = rng.normal(0.0, 3.0, units)
    first = 0.5 * denominator + shared + rng.normal(0.0, 0.1, units)
    second = (0.5 + gap) * denominator + shared + rng.normal(0.0, 0.1, units)
    return Ratio(first, denominator), Ratio(second, denominator)


@pytest.mark.parametrize("units", [20, 200])
def test_pairing_sees_differences_that_the_single_intervals_hide(units):
    """Shared noise cancels: intervals overlap, the paired difference is clear."""
    first, second = pair(np.random.default_rng(0), units, gap=0.02)
    resampler = Resampler(units, 0)
    difference = paired(resampler, first, second)

    assert resampler.interval(first).high > resampler.interval(second).low
    assert difference.value == pytest.approx(-0.02, abs=0.01)
    assert difference.is_tie is False
    assert difference.p < 1e-3


def test_the_paired_jackknife_of_means_is_the_paired_t_test():
    """With equal denominators p and interval are those of the textbook test."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.0, 1.0, 15), rng.normal(0.5, 1.0, 15)
    ones = np.ones(15)
    difference = paired(Resampler(15, 0), Ratio(a, ones), Ratio(b, ones))

    expected = stats.ttest_rel(a, b)
    assert difference.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx((low, high))


def test_a_metric_ties_with_itself():
    """The same sums, or the same up to round-off, differ by exactly zero."""
    first, _ = pair(np.random.default_rng(2), 60, 0.0)
    nearly = Ratio(first.numerator * (1 + 1e-15), first.denominator)

    for other in (first, nearly):
        difference = paired(Resampler(60, 0), first, other)
        assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_constant_metrics_that_differ_are_no_tie():
    """TopK with k = 16 against k = 32 active latents has no spread, and is a difference."""
    ones = np.ones(60)
    difference = paired(Resampler(60, 0), Ratio(16 * ones, ones), Ratio(32 * ones, ones))

    assert difference.is_tie is False
    assert (difference.low, difference.high, difference.p) == (-16, -16, 0)


def test_a_part_without_spread_has_no_difference_interval():
    """One unit gives a difference without an interval, with the reason."""
    difference = paired(Resampler(1, 0), Influence(1.0, np.ones(1)), Influence(2.0, np.ones(1)))

    assert difference.is_tie is None
    assert "2 or more" in difference.reason


def made(z):
    """A difference whose z value is ``z``."""
    p = float(2 * stats.t.sf(abs(z), 99))
    return Difference(z, 1.0, p, 99, z - 1.98, z + 1.98, "paired")


def test_holm_agrees_with_the_sorted_p_values():
    """Intervals exclude zero exactly for what Holm's procedure rejects, in the given order."""
    family = [made(z) for z in (0.5, 5.0, 2.2, 2.9, -3.5)]
    adjusted = holm_intervals(family)

    ordered = sorted(range(5), key=lambda i: family[i].p)
    rejected = set()
    for rank, index in enumerate(ordered):
        if family[index].p > 0.05 / (5 - rank):
            break
        rejected.add(index)
    assert {i for i, d in enumerate(adjusted) if not d.is_tie} == rejected == {1, 3, 4}
    assert [d.value for d in adjusted] == [d.value for d in family]


def test_holm_is_stricter_in_a_larger_family():
    """What is clear alone can be a tie among many."""
    alone = holm_intervals([made(2.2)])
    among = holm_intervals([made(2.2), *[made(0.1)] * 20])

    assert alone[0].is_tie is False
    assert among[0].is_tie is True


def test_ties_with_the_best_hold_for_a_best_that_the_data_chose():
    """Of ten equal SAEs, one is called worse than the best in at most 5% of tables."""
    rng, k, wrong, naive = np.random.default_rng(4), 10, 0, 0
    for _ in range(400):
        values = rng.normal(size=(100, k))
        best = int(values.mean(axis=0).argmax())
        family = [
            made(float(gap.mean() / (gap.std(ddof=1) / 10)))
            for gap in (values[:, best] - values[:, other] for other in range(k) if other != best)
        ]
        wrong += any(not each.is_tie for each in holm_intervals(family, of=k * (k - 1) // 2))
        naive += any(not each.is_tie for each in holm_intervals(family))

    assert wrong / 400 < 0.08
    assert naive / 400 > 0.1


def test_holm_skips_differences_without_interval():
    """A difference without an interval stays and does not tighten the others."""
    empty = Difference(1.0, None, None, 99, None, None, "paired", "one context")
    adjusted = holm_intervals([empty, made(2.2)])

    assert adjusted[0] is empty
    assert adjusted[1].is_tie is False


def test_holm_keeps_false_differences_within_five_percent():
    """With six true nulls, a family has a false difference in about 5% of 400 simulations."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(400):
        family = [made(z) for z in rng.standard_t(99, 6)]
        wrong += any(not difference.is_tie for difference in holm_intervals(family))

    assert wrong / 400 < 0.08
