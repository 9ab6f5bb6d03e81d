"""What a decoder matrix makes of codes."""

from __future__ import annotations

import pytest
import torch

from darkmatter import api
from darkmatter_plugins.evaluators.decoding import atoms, contribution, directions, times


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_sparse_codes_times_weights_are_the_dense_product(density):
    """In float64, rows without codes and codes without any entry included."""
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(7, 9, generator=generator) * (torch.rand(7, 9, generator=generator) < density)
    weight = torch.randn(9, 4, generator=generator)

    found = times(api.Codes.from_dense(dense), weight)

    assert found.dtype == torch.float64
    torch.testing.assert_close(found, dense.double() @ weight.double(), rtol=1e-14, atol=1e-14)


def test_atoms_are_what_a_code_of_one_adds():
    """Decoder rows over code scales; a latent of scale 0 adds nothing; functions have none."""
    sae = api.CanonicalSAE(
        W_enc=torch.eye(3),
        W_dec=2 * torch.eye(3),
        activation=api.Relu(),
        code_scale=torch.tensor([4.0, 1, 0]),
    )

    assert torch.equal(atoms(sae), torch.diag(torch.tensor([0.5, 2, 0])))
    assert atoms(api.OpaqueSAE(lambda x: x, lambda c: c, d_in=3, d_sae=3)) is None


def test_what_a_latent_adds_is_its_code_times_what_a_code_of_one_adds():
    """On the rows where each row's own latent fires, times the row's scale; other rows are not there."""
    generator = torch.Generator().manual_seed(0)
    sae = api.CanonicalSAE(
        W_enc=torch.randn(5, 7, generator=generator),
        W_dec=torch.randn(7, 5, generator=generator),
        b_dec=torch.randn(5, generator=generator),
        activation=api.Relu(),
        normalisation=api.Normalisation("layer_norm"),
    )
    codes = sae.encode(3 * torch.randn(40, 5, generator=generator))
    latent = torch.arange(40) % 7
    own = codes.to_dense()[torch.arange(40), latent]

    rows, added = contribution(sae, codes, latent)

    assert torch.equal(rows, own.nonzero().flatten())
    expected = (own * codes.row_scale[:, 0])[rows, None] * sae.W_dec[latent[rows]]
    torch.testing.assert_close(added, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(directions(sae, latent[:7]), sae.W_dec, rtol=1e-5, atol=1e-6)
