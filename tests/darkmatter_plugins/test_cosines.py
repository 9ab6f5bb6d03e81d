"""Cosines between dictionaries: closed forms G1, blocks, and what chance gives."""

from __future__ import annotations

import math

import pytest
import torch

from darkmatter_plugins import cosines
from darkmatter_plugins.cosines import cosines_at, mean_max_cosine, nearest, random_max_cosine


def gaussian(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_g1_random_directions():
    """400 random directions against 400 in R^64: .362; the formula and a simulation agree."""
    assert random_max_cosine(400, 64) == pytest.approx(0.362, abs=1e-3)
    assert mean_max_cosine(gaussian(0, 400, 64), gaussian(1, 400, 64)) == pytest.approx(0.362, abs=5e-3)
    assert random_max_cosine(3, 1) == pytest.approx(0.75)
    assert random_max_cosine(1, 5) == pytest.approx(0, abs=1e-9)


def test_a_direction_with_its_negation_has_the_larger_of_both_cosines():
    """For 3 single and 5 two-sided directions in R^8 as a simulation has it; E |c| in R^3 is ½."""
    one, singles, pairs = gaussian(0, 20_000, 8), gaussian(1, 20_000, 3, 8), gaussian(2, 20_000, 5, 8)
    cosine = torch.nn.functional.cosine_similarity
    largest = torch.cat([cosine(one[:, None], singles, dim=2), cosine(one[:, None], pairs, dim=2).abs()], 1)

    assert random_max_cosine(3, 8, 5) == pytest.approx(float(largest.amax(dim=1).mean()), abs=5e-3)
    assert random_max_cosine(0, 3, 1) == pytest.approx(0.5, abs=1e-6)
    assert random_max_cosine(2, 1, 1) == 1


def test_g1_a_dictionary_against_itself_and_its_negation():
    """Permuted and rescaled it is the same; a basis turned by 45 degrees is at 1/√2; negated at 0."""
    basis = torch.eye(4)
    turned = basis @ torch.tensor([[1.0, 1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, 1], [0, 0, -1, 1]])

    assert mean_max_cosine(3 * basis.flip(0), basis) == pytest.approx(1)
    assert mean_max_cosine(turned, basis) == pytest.approx(math.sqrt(0.5))
    assert mean_max_cosine(-basis, basis) == pytest.approx(0)
    assert mean_max_cosine(-basis, torch.cat([-basis, torch.zeros(3, 4)])) == pytest.approx(1)


def test_blocks_find_what_the_whole_matrix_holds(monkeypatch):
    """Blocks that end inside either side give the places of the whole matrix of cosines, both ways."""
    monkeypatch.setattr(cosines, "BLOCK", 7)
    one, other = gaussian(0, 23, 6), gaussian(1, 40, 6)
    whole = torch.nn.functional.normalize(one.double()) @ torch.nn.functional.normalize(other.double()).T
    forth, back = nearest(one, other)

    assert torch.equal(forth, whole.argmax(dim=1))
    assert torch.equal(back, whole.argmax(dim=0))
    assert torch.allclose(cosines_at(one, other, forth), whole.amax(dim=1), atol=1e-12)


def test_size_of_rows_is_no_matter():
    """Rows far below and above the range of float32 squares have directions, too."""
    one = gaussian(0, 5, 4)

    assert mean_max_cosine(one, 1e-25 * one) == pytest.approx(1, abs=1e-6)
    assert mean_max_cosine(one * 1e25, one) == pytest.approx(1, abs=1e-6)
