"""Fragments and scores, against answers known on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from darkmatter_plugins.interpretability.fragments import FragmentCutter, FragmentSampler
from darkmatter_plugins.interpretability.scoring import auroc, average_precision, correlation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_g3_a_simulation_affine_in_the_truth_scores_one():
    """Correlation knows neither scale nor offset, but a sign."""
    truth = torch.rand(5, 8, generator=seeded())

    assert correlation(3 * truth + 2, truth) == pytest.approx(1, abs=1e-12)
    assert correlation(-truth, truth) == pytest.approx(-1, abs=1e-12)


def test_g3_an_on_off_simulation_of_uniform_amplitudes_scores_what_theory_says():
    """Bernoulli(p)·U(0,1) simulated by whether it fires: (p/2 - p²/2)/√((p/3 - p²/4)(p - p²)) = .854."""
    p, n = 0.1, 400_000
    fires = torch.rand(n, generator=seeded()) < p
    truth = fires * torch.rand(n, generator=seeded(1))
    expected = (p / 2 - p**2 / 2) / math.sqrt((p / 3 - p**2 / 4) * (p - p**2))

    assert expected == pytest.approx(0.854, abs=5e-4)
    assert correlation(fires.double(), truth) == pytest.approx(expected, abs=5e-3)


def test_g3_an_unrelated_simulation_scores_nothing():
    """Independent numbers correlate by chance alone."""
    one, other = (torch.rand(100_000, generator=seeded(s)) for s in (0, 1))

    assert correlation(one, other) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("constant", [torch.zeros(9), torch.full((9,), 0.1), torch.zeros(0)])
def test_what_does_not_vary_has_no_score(constant):
    """A constant simulation, a constant truth or no tokens: undefined, not 0 or 1."""
    varying = torch.linspace(0, 1, len(constant))

    assert math.isnan(correlation(constant, varying))
    assert math.isnan(correlation(varying, constant))


def rows_of(contexts: list[range]) -> torch.Tensor:
    return torch.cat([torch.tensor(list(each)) for each in contexts])


def test_fragments_stay_within_contexts_and_gaps():
    """Neighbouring positions alone make a fragment; what is left at the end of a context is dropped."""
    position = rows_of([range(2, 9), range(2, 5), range(5, 6), range(7, 12)])
    value = torch.arange(len(position))
    (cut,) = FragmentCutter(3).cut(position, value)

    assert cut.tolist() == [[0, 1, 2], [3, 4, 5], [7, 8, 9], [11, 12, 13]]


@pytest.mark.parametrize("chunk", [1, 2, 5, 7])
def test_how_rows_come_changes_no_fragment(chunk):
    """A fragment that chunks cut in two is the same fragment."""
    position = rows_of([range(3, 13), range(3, 10), range(3, 13)])
    value = torch.arange(len(position))
    (whole,) = FragmentCutter(4).cut(position, value)
    cutter = FragmentCutter(4)
    parts = [cutter.cut(*pair)[0] for pair in zip(position.split(chunk), value.split(chunk), strict=True)]

    assert torch.equal(torch.cat(parts), whole)


def sampled(chunk: int = 64, **changes) -> tuple[FragmentSampler, torch.Tensor, torch.Tensor]:
    """A sampler that saw 50 contexts of 16 positions, with their tokens and activations of 3 latents."""
    tokens = torch.randint(9, (50, 16), generator=seeded())
    active = torch.rand(50, 16, 3, generator=seeded(1))
    activations = active * (torch.rand(50, 4, 1, 3, generator=seeded(2)) < 0.3).repeat_interleave(
        4, dim=2
    ).reshape(50, 16, 3)
    options = {"size": 4, "top": 5, "random_count": 6, "seed": 0, **changes}
    sampler = FragmentSampler(3, **options)
    position = torch.arange(16).repeat(50)
    rows = (position.split(chunk), tokens.flatten().split(chunk), activations.flatten(0, 1).split(chunk))
    for part in zip(*rows, strict=True):
        sampler.offer(*part)
    return sampler, tokens.view(200, 4), activations.view(200, 4, 3)


def test_top_fragments_are_those_of_highest_activation():
    """The top fragments of each latent, highest first, with their own tokens."""
    sampler, tokens, activations = sampled()
    for latent in range(3):
        found = sampler.of(latent).fragments
        best = activations[..., latent].amax(dim=1).sort(descending=True).indices[:5]
        assert torch.equal(found.tokens[:5], tokens[best])
        assert torch.equal(found.activations[:5], activations[best][..., latent])
        assert found.n_top == 5


def test_random_fragments_are_any_or_active_ones():
    """Unconditional draws contain silent fragments; conditional ones none; top ones are not repeated."""
    loose = sampled(random_count=100)[0].of(0).fragments
    strict = sampled(random_count=100, draw="active")[0].of(0).fragments
    silent = lambda found: int((found.activations == 0).all(dim=1).sum())

    assert silent(loose) > 30
    assert silent(strict) == 0
    activations = sampled()[2][..., 0]
    assert len(strict.tokens) == int((activations != 0).any(dim=1).sum())
    everything = sampled(random_count=200)[0].of(0).fragments
    assert len(everything.tokens) == 200


@pytest.mark.parametrize("chunk", [1, 7, 800])
def test_how_rows_come_changes_no_sample(chunk):
    """What is drawn depends on the seed and the order of rows alone, and another seed draws others."""
    reference, found, other = sampled()[0], sampled(chunk)[0], sampled(seed=1)[0]

    assert all(
        torch.equal(found.of(i).fragments.activations, reference.of(i).fragments.activations)
        for i in range(3)
    )
    assert not torch.equal(other.of(0).fragments.tokens, reference.of(0).fragments.tokens)


def test_a_latent_that_never_fires_has_no_top_fragment():
    """Its fragments are random ones, and silent."""
    sampler = FragmentSampler(1, size=4, top=5, random_count=3, seed=0)
    sampler.offer(torch.arange(16), torch.arange(16), torch.zeros(16, 1))

    assert sampler.of(0).fragments.n_top == 0
    assert sampler.of(0).fragments.activations.shape == (3, 4)


def test_negative_codes_do_not_fire():
    """A latent with codes of both signs fires where they are above 0: what is negative is no top fragment."""
    sampler = FragmentSampler(1, size=4, top=5, random_count=3, seed=0, draw="active")
    sampler.offer(
        torch.arange(12), torch.arange(12), torch.tensor([-3.0] * 4 + [2.0] * 4 + [-1.0] * 4)[:, None]
    )
    found = sampler.of(0)

    assert found.fragments.n_top == 1
    assert found.fragments.tokens.tolist() == [[4, 5, 6, 7]]


def test_the_random_draw_keeps_its_fragments_that_are_top_ones_too():
    """Where everything is drawn at random, every fragment is in the random draw, and each counts once."""
    found = sampled(random_count=200)[0].of(0)

    assert bool(found.random.all())
    assert len(found.random) == len(found.fragments.tokens) == 200
    few = sampled(top=200, random_count=6)[0].of(0)
    assert int(few.random.sum()) == 6


def test_what_is_not_predicted_is_left_out_of_the_correlation():
    """NaN is no number to correlate: the other positions decide."""
    truth = torch.tensor([[1.0, 2.0, 3.0, 9.0]])

    assert correlation(torch.tensor([[2.0, 4.0, 6.0, math.nan]]), truth) == pytest.approx(1)
    assert math.isnan(correlation(torch.full((1, 4), math.nan), truth))


def test_detection_by_hand():
    """Pairs in the right order, half a point for a tie; precision at each step of recall."""
    predicted, positive = np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False])

    assert auroc(predicted, positive) == (1 + 1 + 0 + 0.5) / 4
    assert average_precision(predicted, positive) == 0.5 * 1 + 0.5 * 2 / 4


def test_detection_is_that_of_scikit_learn():
    """Ties and imbalance against an independent implementation."""
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    for _ in range(20):
        predicted, positive = random.integers(0, 6, 30).astype(float), random.random(30) < 0.3
        positive[:2] = [True, False]
        assert auroc(predicted, positive) == pytest.approx(metrics.roc_auc_score(positive, predicted))
        expected = metrics.average_precision_score(positive, predicted)
        assert average_precision(predicted, positive) == pytest.approx(expected)


def test_detection_without_a_second_class_is_undefined():
    """All fire or none does: there is nothing to tell apart."""
    for positive in (np.ones(3, dtype=bool), np.zeros(3, dtype=bool), np.zeros(0, dtype=bool)):
        predicted = np.arange(len(positive), dtype=float)
        assert math.isnan(auroc(predicted, positive))
        assert math.isnan(average_precision(predicted, positive))
