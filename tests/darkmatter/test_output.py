"""What evaluators give back: means over things that are sampled."""

from __future__ import annotations

import numpy as np
import pytest

from darkmatter import api
from darkmatter.errors import PluginError
from darkmatter.output import EvalOutput
from darkmatter.stats.resample import Influence, Ratio, Resampler

METRICS = (api.Metric("score", "a mean", low=0, high=1),)
EVALUATOR = api.Evaluator("e", "Scores.", "m:o", config=api.Config, metrics=METRICS)


def output() -> EvalOutput:
    return EvalOutput(EVALUATOR, Resampler(10, seed=0), n_rows=1000)


def test_a_mean_over_sampled_things_resamples_those():
    """The interval is over the things, says so, and is that of a mean: t quantiles times s/√n when few."""
    values = np.array([0.4, 0.5, 0.9])
    out = output()
    out.mean_over("score", values, units="training seeds")
    (metric,) = out.metrics
    half = 4.302653 * values.std(ddof=1) / np.sqrt(3)

    assert metric.value == pytest.approx(0.6)
    assert metric.n == 3
    assert "3 training seeds" in metric.ci_method
    assert metric.ci_high == pytest.approx(min(0.6 + half, 1))
    assert metric.ci_low == pytest.approx(max(0.6 - half, 0), abs=1e-6)
    assert out.columns == {}
    assert out.estimators == {}


def test_a_mean_of_many_things_is_bootstrapped():
    """From 50 things on percentiles are used, near the mean's normal interval."""
    values = np.random.default_rng(0).uniform(size=400)
    out = output()
    out.mean_over("score", values, units="latents")
    (metric,) = out.metrics
    half = 1.96 * values.std(ddof=1) / 20

    assert "bootstrap over 400 latents" in metric.ci_method
    assert metric.ci_high - metric.ci_low == pytest.approx(2 * half, rel=0.1)


@pytest.mark.parametrize("values", [np.array([]), np.array([0.5, np.nan])])
def test_a_mean_of_nothing_is_undefined(values):
    """No values, or one that is no number: undefined with the reason, never 0."""
    out = output()
    out.mean_over("score", values, units="latents")

    assert out.metrics[0].value is None
    assert "latents" in out.metrics[0].reason


def test_contributions_of_a_jumping_statistic_are_not_kept():
    """Two SAEs are not compared by first-order contributions where those are far from the statistic."""
    linear = Influence(0.5, np.linspace(-0.1, 0.1, 10))
    out = output()
    out.statistic("score", linear, linear, is_smooth=False)

    assert out.metrics[0].value == 0.5
    assert out.estimators == {}


def test_a_metric_is_given_once():
    """Two values of one name would be two rows that no table can tell apart."""
    out = output()
    out.plain("score", 0.5, why_no_interval="none")

    with pytest.raises(PluginError, match="'score' twice"):
        out.undefined("score", "no reason")


def test_a_resample_below_the_floor_is_undefined_like_the_value():
    """A denominator that is round-off without one unit: no value there, so no interval."""
    out = output()
    bottom = np.array([10.0, *[0.1] * 9])
    out.add_columns({"top": bottom / 2, "bottom": bottom})
    out.ratio("score", "top", "bottom", floor=5.0)
    (metric,) = out.metrics

    assert metric.value == pytest.approx(0.5)
    assert metric.ci_low is None
    assert "undefined in 10% of the resamples" in metric.ci_method


@pytest.mark.parametrize(("value", "part"), [(0.5, np.nan), (np.nan, 0.1)])
def test_contributions_that_are_no_numbers_are_not_kept(value, part):
    """A column of NaN beside a result would make every comparison with it NaN."""
    out = output()
    contributions = np.full(10, 0.1)
    contributions[3] = part
    out.statistic("score", Ratio(np.ones(10), np.full(10, 2.0)), Influence(value, contributions))

    assert out.columns == {}
    assert out.estimators == {}
    assert out.metrics[0].status == ("ok" if np.isfinite(value) else "undefined")
