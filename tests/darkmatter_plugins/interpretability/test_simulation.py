"""Fragments, simulators and scores, against answers known on paper."""

from __future__ import annotations

import math

import pytest
import torch

from darkmatter.api import Fragments
from darkmatter_plugins.interpretability.fragments import FragmentCutter, FragmentSampler
from darkmatter_plugins.interpretability.scoring import correlation, score
from darkmatter_plugins.interpretability.simulators import NGram


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


def of_tokens(tokens: list[list[int]], activations: list[list[float]]) -> Fragments:
    return Fragments(torch.tensor(tokens), torch.tensor(activations), len(tokens))


def test_token_lookup_predicts_the_tokens_mean():
    """The mean activation at a token in training; the mean of everything for a token never seen."""
    simulate = NGram(1).fit(of_tokens([[5, 7, 5]], [[1.0, 4.0, 3.0]]))

    assert simulate(torch.tensor([[7, 5, 9]])).tolist() == [[4.0, 2.0, 8 / 3]]


def test_ngrams_back_off_from_two_tokens_to_one_to_none():
    """The pair where it occurred, else the token, else the mean; a fragment's first token has no pair."""
    simulate = NGram(2).fit(of_tokens([[5, 7, 8, 7]], [[0.0, 4.0, 0.0, 2.0]]))

    assert simulate(torch.tensor([[7, 5, 7], [8, 7, 9]])).tolist() == [[3.0, 0.0, 4.0], [0.0, 2.0, 1.5]]


def test_a_latent_of_one_token_is_simulated_by_lookup_and_one_of_pairs_by_pairs():
    """Score 1 where the rule can be said by the simulator; pairs are beyond a token's reach."""
    tokens = torch.randint(4, (200, 12), generator=seeded())
    by_token = (tokens == 2).float()
    by_pair = torch.zeros(200, 12)
    by_pair[:, 1:] = ((tokens[:, 1:] == 2) & (tokens[:, :-1] == 3)).float()

    def scored(order: int, truth: torch.Tensor) -> float:
        train, test = (Fragments(tokens[part], truth[part], 0) for part in (slice(100), slice(100, 200)))
        return score(NGram(order).fit(train), test)

    assert scored(1, by_token) == pytest.approx(1, abs=1e-12)
    assert scored(2, by_pair) == pytest.approx(1, abs=0.02)
    # A lookup can say P(pair | token) = 1/4 at that token: correlation √(q(1-p)/(p(1-q))), q = 1/16, p = 1/4.
    assert scored(1, by_pair) == pytest.approx(math.sqrt(0.0625 * 0.75 / (0.25 * 0.9375)), abs=0.08)


def test_random_labels_score_nothing():
    """Activations drawn regardless of the text cannot be simulated from it."""
    tokens = torch.randint(6, (400, 16), generator=seeded())
    truth = torch.rand(400, 16, generator=seeded(1))
    simulator = NGram(2).fit(Fragments(tokens[:200], truth[:200], 0))

    assert score(simulator, Fragments(tokens[200:], truth[200:], 0)) == pytest.approx(0, abs=0.05)


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
        found = sampler.of(latent)
        best = activations[..., latent].amax(dim=1).sort(descending=True).indices[:5]
        assert torch.equal(found.tokens[:5], tokens[best])
        assert torch.equal(found.activations[:5], activations[best][..., latent])
        assert found.n_top == 5


def test_random_fragments_are_any_or_active_ones():
    """Unconditional draws contain silent fragments; conditional ones none; top ones are not repeated."""
    loose, strict = sampled(random_count=100)[0].of(0), sampled(random_count=100, draw="active")[0].of(0)
    silent = lambda found: int((found.activations == 0).all(dim=1).sum())

    assert silent(loose) > 30
    assert silent(strict) == 0
    activations = sampled()[2][..., 0]
    assert len(strict.tokens) == int((activations != 0).any(dim=1).sum())
    everything = sampled(random_count=200)[0].of(0)
    assert len(everything.tokens) == 200


@pytest.mark.parametrize("chunk", [1, 7, 800])
def test_how_rows_come_changes_no_sample(chunk):
    """What is drawn depends on the seed and the order of rows alone, and another seed draws others."""
    reference, found, other = sampled()[0], sampled(chunk)[0], sampled(seed=1)[0]

    assert all(torch.equal(found.of(i).activations, reference.of(i).activations) for i in range(3))
    assert not torch.equal(other.of(0).tokens, reference.of(0).tokens)


def test_a_latent_that_never_fires_has_no_top_fragment():
    """Its fragments are random ones, and silent."""
    sampler = FragmentSampler(1, size=4, top=5, random_count=3, seed=0)
    sampler.offer(torch.arange(16), torch.arange(16), torch.zeros(16, 1))

    assert sampler.of(0).n_top == 0
    assert sampler.of(0).activations.shape == (3, 4)
