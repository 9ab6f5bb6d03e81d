"""Intervals from per-unit sums against closed forms and against simulation."""

import numpy as np
import pytest
from scipy import stats

from darkmatter.stats import resample
from darkmatter.stats.resample import Influence, MeanOfRatios, Ratio, Resampler


def ratio_data(rng, units, shift=0.0):
    """Numerators and denominators whose true ratio is 0.5 + shift."""
    denominator = rng.uniform(5.0, 15.0, units)
    numerator = (0.5 + shift) * denominator + rng.normal(0.0, 1.0, units)
    return numerator, denominator


def analytic_error(numerator, denominator):
    """The delta-method standard error of a ratio of sums over iid units."""
    ratio = numerator.sum() / denominator.sum()
    residual = numerator - ratio * denominator
    n = len(numerator)
    return np.sqrt(n / (n - 1) * np.sum(residual**2)) / denominator.sum()


@pytest.mark.parametrize("units", [12, 49, 50, 480])
def test_the_width_agrees_with_the_analytic_standard_error(units):
    """A ratio's interval is as wide as the delta method says, above and below 50 units."""
    numerator, denominator = ratio_data(np.random.default_rng(units), units)
    interval = Resampler(units, seed=0, replicates=4000).interval_ratio(numerator, denominator)

    quantile = stats.t.ppf(0.975, units - 1) if units < 50 else 1.96
    expected = 2 * quantile * analytic_error(numerator, denominator)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.1)
    assert interval.low < numerator.sum() / denominator.sum() < interval.high


def test_the_jackknife_of_a_mean_is_the_t_interval():
    """With equal denominators the jackknife is exactly the textbook t interval."""
    values = np.random.default_rng(1).normal(3.0, 1.0, 20)
    interval = Resampler(20, seed=0).interval_ratio(values, np.ones(20))

    low, high = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_the_method_names_the_unit_and_the_procedure():
    """The method string says what was resampled and how."""
    assert Resampler(480, 0).method == "bootstrap over 480 contexts, 2000 replicates, percentile"
    assert Resampler(12, 0, unit="latents").method == "jackknife over 12 latents, t quantiles"


def test_the_complement_mirrors_the_interval():
    """One minus a ratio has the mirrored interval."""
    numerator, denominator = ratio_data(np.random.default_rng(2), 80)
    resampler = Resampler(80, seed=3)
    plain = resampler.interval_ratio(numerator, denominator)
    mirrored = resampler.interval_ratio(numerator, denominator, complement=True)

    assert (mirrored.low, mirrored.high) == pytest.approx((1 - plain.high, 1 - plain.low))


def test_equal_seed_and_units_give_equal_replicates():
    """Weights depend on the seed and the number of units alone, cached or drawn again."""
    numerator, denominator = ratio_data(np.random.default_rng(4), 60)
    statistic = Ratio(numerator, denominator)
    first = Resampler(60, seed=5)
    replicates = first.spread(statistic).replicates

    np.testing.assert_array_equal(replicates, first.spread(statistic).replicates)
    np.testing.assert_array_equal(replicates, Resampler(60, seed=5).spread(statistic).replicates)
    assert not np.array_equal(replicates, Resampler(60, seed=6).spread(statistic).replicates)


def test_weights_are_multinomial_counts():
    """Every replicate draws as many units as there are, each with the same chance."""
    resampler = Resampler(100, seed=0, replicates=3000)
    totals = resampler.spread(Influence(0.0, np.ones(100))).replicates
    single = resampler.spread(Influence(0.0, np.eye(100)[0])).replicates + 1

    np.testing.assert_array_equal(totals, 0)
    assert single.mean() == pytest.approx(1.0, abs=0.1)
    assert single.var() == pytest.approx(0.99, abs=0.12)


def test_many_units_stay_within_memory_and_give_an_interval():
    """4096 units and more are drawn block by block."""
    numerator, denominator = ratio_data(np.random.default_rng(6), 20_000)
    resampler = Resampler(20_000, seed=0, replicates=200)
    interval = resampler.interval_ratio(numerator, denominator)

    assert interval.low < 0.5 + 0.01
    assert interval.high > 0.5 - 0.01
    assert max(len(block) for block in resample._draw_counts(20_000, 0, 200)) <= 53


@pytest.mark.parametrize("units", [0, 1])
def test_one_unit_has_no_interval_but_a_reason(units):
    """Fewer than two units give no interval and say so."""
    interval = Resampler(units, 0).interval_ratio(np.ones(units), np.ones(units))

    assert interval.low is None
    assert interval.high is None
    assert "2 or more contexts" in interval.method


def test_undefined_replicates_end_the_interval_with_a_reason():
    """A denominator that lives in one unit of 60 vanishes in a third of the resamples."""
    denominator = np.zeros(60)
    denominator[7] = 1.0
    interval = Resampler(60, 0).interval_ratio(np.ones(60), denominator)

    assert interval.low is None
    assert "undefined in 3" in interval.method
    assert Resampler(60, 0).interval_ratio(np.ones(60), np.zeros(60)).low is None


def test_a_denominator_at_the_floor_is_undefined():
    """Round-off denominators make no number."""
    interval = Resampler(60, 0).interval_ratio(np.ones(60), np.full(60, 1e-30), floor=1e-20)

    assert interval.method == "no interval: the value is undefined"


@pytest.mark.parametrize("complement", [False, True])
def test_contributions_of_a_ratio_are_what_leaving_a_unit_out_changes(complement):
    """Minus the change, to first order; the value is the ratio's own."""
    rng = np.random.default_rng(3)
    denominator = rng.uniform(5.0, 15.0, 400)
    ratio = Ratio(0.3 * denominator + rng.normal(0.0, 0.5, 400), denominator, complement)
    linear, value = ratio.linearised(), ratio.at(np.ones((1, 400)))
    without = ratio.at(1.0 - np.eye(400)) - value

    assert linear.value == pytest.approx(value[0], rel=1e-12)
    assert linear.contributions == pytest.approx(-without, rel=0.02, abs=1e-7)


@pytest.mark.parametrize("units", [30, 100])
def test_the_mean_of_ratios_agrees_with_its_linearisation(units):
    """Per-dimension means and their first-order contributions give nearly the same interval."""
    rng = np.random.default_rng(7)
    denominator = rng.uniform(5.0, 15.0, (units, 4))
    numerator = np.array([0.1, 0.2, 0.3, 0.4]) * denominator + rng.normal(0.0, 0.5, (units, 4))
    denominator[:, 3] = 0.0
    statistic = MeanOfRatios(numerator, denominator, complement=True)
    resampler = Resampler(units, 0)
    exact = resampler.interval(statistic)
    linear = resampler.interval(statistic.linearised())

    assert float(statistic.at(np.ones((1, units)))[0]) == pytest.approx(0.8, abs=0.02)
    assert linear.low == pytest.approx(exact.low, abs=2e-3)
    assert linear.high == pytest.approx(exact.high, abs=2e-3)
    assert np.isnan(MeanOfRatios(numerator, 0 * denominator).at(np.ones((1, units)))).all()


@pytest.mark.parametrize("units", [20, 80])
def test_intervals_cover_the_truth_about_as_often_as_they_say(units):
    """Over 300 data sets the 95% interval holds the true ratio in 90 to 98.5% of them."""
    rng = np.random.default_rng(8)
    resampler = Resampler(units, seed=0, replicates=400)
    hits = 0
    for _ in range(300):
        interval = resampler.interval_ratio(*ratio_data(rng, units))
        hits += interval.low <= 0.5 <= interval.high

    assert 0.90 <= hits / 300 <= 0.985


def test_a_statistic_of_other_units_is_refused():
    """Sums over another number of units cannot be resampled by these weights."""
    with pytest.raises(ValueError, match="3 units, the resampler 4"):
        Resampler(4, 0).interval_ratio(np.ones(3), np.ones(3))


def test_resamplers_of_one_run_draw_their_weights_once(monkeypatch):
    """A second resampler of equal units, seed and replicates draws nothing and gives the same interval."""
    numerator, denominator = ratio_data(np.random.default_rng(5), 77)
    first = Resampler(77, 41, replicates=60).interval_ratio(numerator, denominator)
    monkeypatch.setattr(resample, "_draw_counts", None)

    assert (
        Resampler(77, 41, replicates=60, unit="latents").interval_ratio(numerator, denominator).low
        == first.low
    )
    with pytest.raises(TypeError):
        Resampler(77, 42, replicates=60).interval_ratio(numerator, denominator)


def test_what_is_too_large_to_keep_is_drawn_alike(monkeypatch):
    """Weights beyond the cache's bytes are drawn again each time, and are the same."""
    numerator, denominator = ratio_data(np.random.default_rng(6), 70)
    kept = Resampler(70, 43, replicates=60).interval_ratio(numerator, denominator)
    monkeypatch.setattr(resample, "_CACHE_BYTES", 0)

    assert Resampler(70, 43, replicates=60).interval_ratio(numerator, denominator) == kept
