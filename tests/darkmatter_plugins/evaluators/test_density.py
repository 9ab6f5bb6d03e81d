"""Firing rates, moments and the table of latents, against codes that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split
from darkmatter_plugins.evaluators.density.descriptor import DENSITY

D = 6


def codes() -> torch.Tensor:
    """Rows that fire ever less often; the last dimension never does."""
    generator = torch.Generator().manual_seed(0)
    size = torch.randn(60, 40, D, generator=generator).exp()
    rate = torch.tensor([0.05, 0.4, 0.4, 0.2, 0.01, 0.0])
    return size * (torch.rand(60, 40, D, generator=generator) < rate)


def density(x: torch.Tensor, **options):
    """The metrics by name and the result for the SAE whose codes are the activations."""
    sae = dm.SAE.from_functions(lambda v: v, lambda c: c, d_in=D, d_sae=D)
    results = dm.evaluate({"s": sae}, activations=x, evaluators={"density": options})
    (result,) = list(results)
    return {metric.name: metric.value for metric in result.metrics}, result


def held_out(x: torch.Tensor) -> np.ndarray:
    return x[make_split(tensor_activations(x)).test(0, len(x))].double().numpy()


def test_moments_are_those_of_all_held_out_rows():
    """Mean, variance, skewness and kurtosis about the mean, zeros included, as numpy has them."""
    x = codes()
    metrics, _ = density(x)
    rows = held_out(x)[:, :-1]
    deviation = rows - rows.mean(axis=0)
    variance = rows.var(axis=0)

    assert metrics["median_mean"] == pytest.approx(np.median(rows.mean(axis=0)), rel=1e-9)
    assert metrics["median_variance"] == pytest.approx(np.median(variance), rel=1e-9)
    skew = (deviation**3).mean(axis=0) / variance**1.5
    kurtosis = (deviation**4).mean(axis=0) / variance**2
    assert metrics["median_skew_central"] == pytest.approx(np.median(skew), rel=1e-9)
    assert metrics["median_kurtosis_central"] == pytest.approx(np.median(kurtosis), rel=1e-9)


def test_the_table_has_the_most_frequent_latents():
    """Index, rate in tokens, mean of the codes that are not 0, and the largest; as many as were asked for."""
    x = codes()
    _, result = density(x, table_latents=4)
    rows = held_out(x)
    fired = (rows > 0).sum(axis=0)
    order = np.argsort(-fired, kind="stable")[:4]
    table = result.tables["latents"]

    assert table["index"] == order.tolist()
    assert table["rate"] == pytest.approx((fired[order] / len(rows)).tolist())
    assert table["mean_active"] == pytest.approx((rows.sum(axis=0) / np.maximum(fired, 1))[order].tolist())
    assert table["max"] == pytest.approx(rows.max(axis=0)[order].tolist())
    _, result = density(x)
    assert len(result.tables["latents"]["index"]) == D - 1  # what never fires has no mean
    _, result = density(x, table_latents=0)
    assert "latents" not in result.tables


def test_active_latents_are_counted_both_ways():
    """More than so many firings, which depends on the tokens; and above a rate, which does not."""
    x = codes()
    rows = held_out(x)
    fired = (rows > 0).sum(axis=0)
    metrics, _ = density(x, active_above=30, active_rate=0.1)

    assert metrics["active"] == (fired > 30).sum()
    assert metrics["active_share"] == pytest.approx((fired > 30).mean())
    assert metrics["active_by_rate"] == pytest.approx(((fired / len(rows)) > 0.1).mean())
    _, result = density(x)
    assert any("active_by_rate" in note for note in result.notes)


def test_the_largest_code_is_that_of_the_whole_whatever_the_shards():
    """A negative largest code is not hidden by the zeros of the other tokens."""
    x = codes()
    x[..., 1] = -x[..., 1]
    _, result = density(x)
    table = result.tables["latents"]
    rows = held_out(x)[:, 1]

    assert table["max"][table["index"].index(1)] == pytest.approx(rows[rows < 0].max())


@pytest.mark.parametrize("mean", [10.0, 100.0, 1e4])
def test_a_code_that_hardly_varies_has_its_kurtosis_or_none(mean):
    """About a mean far above its spread: the true shape, or undefined; never what round-off leaves."""
    x = mean + torch.randn(60, 40, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    metrics, result = density(x)
    rows = held_out(x)
    deviation, variance = rows - rows.mean(axis=0), rows.var(axis=0)

    for name, power in (("skew", 3), ("kurtosis", 4)):
        found, expected = metrics[f"median_{name}_central"], (deviation**power).mean(axis=0)
        if found is None:
            (metric,) = [each for each in result.metrics if each.name == f"median_{name}_central"]
            assert mean > 100
            assert "varies" in metric.reason
        else:
            assert found == pytest.approx(np.median(expected / variance ** (power / 2)), abs=1e-4)


def test_a_dictionary_without_latents_has_every_metric_undefined():
    """The mean alone fires nowhere: all that is declared is null with the reason, and nothing is missing."""
    (found,) = dm.evaluate("baseline:mean", activations=codes(), evaluators=["density"])
    assert {metric.value for metric in found.metrics} == {None}
    assert {metric.reason for metric in found.metrics} == {"the dictionary has no latents"}
    assert [metric.name for metric in found.metrics] == [metric.name for metric in DENSITY.metrics]
