"""The simulators `token` and `ngram`, against answers known on paper."""

from __future__ import annotations

import math

import pytest
import torch

from darkmatter.api import Fragments
from darkmatter_plugins.interpretability.scoring import score
from darkmatter_plugins.simulators.ngram import NGram


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


class Letters:
    """A tokenizer of which ids are letters."""

    def decode(self, tokens):
        return [chr(token) for token in tokens]


def test_explanations_name_what_the_latent_fires_on_most():
    """Tokens, or pairs of them, with the highest means, highest first; none at which nothing fires."""
    a, b, c = 97, 98, 99
    fragments = of_tokens([[a, b, c, b]], [[0.0, 4.0, 1.0, 2.0]])

    assert NGram(1, Letters()).fit(fragments).explanation == "'b' 3, 'c' 1"
    assert NGram(2, Letters()).fit(fragments).explanation == "'ab' 4, 'cb' 2, 'bc' 1"
    assert NGram(2).fit(fragments).explanation == ""
