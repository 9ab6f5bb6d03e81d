"""Least squares from streamed moments against whole-data float64 solutions."""

from __future__ import annotations

import math

import pytest
import torch

from darkmatter.stats import CrossMoments, Gram, GramFactor
from darkmatter.stats.moments import centred


def streamed(x: torch.Tensor, y: torch.Tensor, parts: int) -> tuple[Gram, CrossMoments]:
    """Moments merged from consecutive parts."""
    gram, cross = Gram.zero(x.shape[1]), CrossMoments.zero(x.shape[1], y.shape[1])
    for x_part, y_part in zip(x.chunk(parts), y.chunk(parts), strict=True):
        gram.merge(Gram.of(x_part))
        cross.merge(CrossMoments.of(centred(x_part), y_part))
    return gram, cross


def data(n: int = 3000, d: int = 12, p: int = 5, offset: float = 40.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = (
        torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.logspace(-2, 2, d).double()
        + offset
    )
    y = x @ torch.randn(d, p, generator=generator).double() + x[:, :p].abs().sqrt()
    return x, y


@pytest.mark.parametrize("parts", [1, 2, 17])
@pytest.mark.parametrize("bias", [True, False])
def test_f1_streamed_moments_equal_whole_data_least_squares(parts, bias):
    """However the rows are cut, the fitted map predicts what float64 lstsq on all rows predicts."""
    x, y = data()
    gram, cross = streamed(x, y, parts)
    found = GramFactor.of(gram, bias=bias).solve(cross)
    design = torch.cat([x, torch.ones(len(x), 1)], dim=1) if bias else x
    expected = design @ torch.linalg.lstsq(design, y, driver="gelsd").solution

    assert found.rank == 12
    assert found.method == "cholesky"
    assert float((found(x) - expected).abs().max() / y.std()) < 1e-10


def test_f2_rank_deficient_regressors_do_not_blow_up():
    """Five of 24 directions as regressors of the relu error give 5/24 of its R², rank 5 reported."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(60_000, 24, generator=generator, dtype=torch.float64)
    x = z[:, :5] @ torch.randn(5, 24, generator=generator, dtype=torch.float64)
    e = z - z.relu()
    gram, cross = streamed(x, e, 4)
    found = GramFactor.of(gram).solve(cross)
    r2 = 1 - (e - found(x)).square().sum() / (e - e.mean(0)).square().sum()

    assert found.rank == 5
    assert found.method == "truncated eigendecomposition"
    assert float(r2) == pytest.approx(5 / 24 * 0.25 / (0.5 - 1 / (2 * math.pi)), rel=1e-2)


def test_fewer_rows_than_dimensions_gives_the_minimum_norm_fit():
    """With n < d the fit interpolates and says which rank it has, instead of failing."""
    x, y = data(n=8, d=12, offset=0)
    found = GramFactor.of(streamed(x, y, 1)[0]).solve(streamed(x, y, 1)[1])

    assert found.rank == 7
    assert torch.allclose(found(x), y, rtol=1e-6)


def test_constant_regressors_are_ignored():
    """A feature that never varies neither breaks the factorisation nor takes part."""
    x, y = data()
    padded = torch.cat([x, torch.full((len(x), 1), 7.0)], dim=1)
    gram, cross = streamed(padded, y, 3)
    found = GramFactor.of(gram).solve(cross)
    plain = GramFactor.of(streamed(x, y, 3)[0]).solve(streamed(x, y, 3)[1])

    assert found.rank == 12
    assert torch.allclose(found(padded), plain(x), rtol=1e-8)


@pytest.mark.parametrize("condition", [1e4, 1e7])
def test_steep_spectra_keep_their_accuracy(condition):
    """Up to a condition number of 1e7 the map agrees with lstsq on the data to 1e-8."""
    generator = torch.Generator().manual_seed(2)
    q, _ = torch.linalg.qr(torch.randn(20, 20, generator=generator, dtype=torch.float64))
    spread = torch.logspace(0, -math.log10(condition) / 2, 20, dtype=torch.float64)
    x = torch.randn(5000, 20, generator=generator, dtype=torch.float64) * spread @ q
    y = torch.randn(5000, 3, generator=generator, dtype=torch.float64) + x[:, :3] * 10
    gram, cross = streamed(x, y, 9)
    found = GramFactor.of(gram).solve(cross)
    design = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    expected = design @ torch.linalg.lstsq(design, y, driver="gelsd").solution

    assert found.method == "cholesky"
    assert float((found(x) - expected).abs().max()) < 1e-8


def test_merging_no_rows_changes_nothing():
    """An empty shard leaves moments as they are."""
    x, y = data()
    gram, cross = streamed(x, y, 1)
    before = gram.cxx.clone(), cross.cxy.clone()
    gram.merge(Gram.zero(12))
    cross.merge(CrossMoments.zero(12, 5))

    assert torch.equal(gram.cxx, before[0])
    assert torch.equal(cross.cxy, before[1])


def test_gram_and_targets_of_different_rows_are_refused():
    """Solving with moments of other rows would be silently wrong."""
    x, y = data()
    gram, _ = streamed(x, y, 1)
    _, cross = streamed(x[:-1], y[:-1], 1)

    with pytest.raises(ValueError, match="rows"):
        GramFactor.of(gram).solve(cross)
