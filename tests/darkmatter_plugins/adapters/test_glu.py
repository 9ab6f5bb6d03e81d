"""The gated linear encoder: its support is a function of single rows."""

import pytest
import torch

from darkmatter import api
from darkmatter_plugins.adapters._glu import GluSAE

D_IN, D_SAE, ROWS = 40, 61, 33


def integers(*shape, seed):
    """Whole numbers of both signs."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()


def glu(activation, *, equal=False, **parts):
    """A GLU SAE of whole numbers, whose normalisation no binary fraction can hold."""
    W_enc, W_glu, b_glu = integers(D_IN, D_SAE, seed=0), integers(D_IN, D_SAE, seed=1), torch.zeros(D_SAE)
    if equal:
        W_enc, W_glu = (weights[:, :1].repeat(1, D_SAE) for weights in (W_enc, W_glu))
    plain = api.CanonicalSAE(
        W_enc=W_enc,
        W_dec=integers(D_SAE, D_IN, seed=2),
        activation=activation,
        normalisation=api.Normalisation(kind="scale", factor=0.7),
        **parts,
    )
    return GluSAE(plain, W_glu, b_glu)


def alone_and_together(sae, x):
    """Dense codes of rows encoded one by one and all at once."""
    return torch.cat([sae.encode(row[None]).to_dense() for row in x]), sae.encode(x).to_dense()


@pytest.mark.parametrize("parts", [{}, {"gate_scale": integers(D_SAE, seed=5).abs() / 3}])
def test_an_h_of_zero_is_decided_alike_alone_and_among_others(parts):
    """Where h is 0 but for rounding, whether a latent is active does not depend on the rows beside it."""
    sae, x = glu(api.Relu(), **parts), integers(ROWS, D_IN, seed=3)
    assert int((x @ sae._plain.W_enc == 0).sum()) > 20  # exact: whole numbers
    alone, together = alone_and_together(sae, x)
    assert torch.equal(alone, together)


def test_a_threshold_that_is_met_exactly_is_decided_alike():
    """The same where h equals a threshold above 0 but for rounding."""
    x = integers(ROWS, D_IN, seed=3)
    sae = glu(api.JumpRelu(torch.tensor(1.4, dtype=torch.float64)))
    sae = GluSAE(sae._plain, torch.zeros(D_IN, D_SAE), torch.zeros(D_SAE))  # half of 0.7 x W_enc
    assert int((x @ sae._plain.W_enc == 4).sum()) > 20
    alone, together = alone_and_together(sae, x)
    assert torch.equal(alone, together)


def test_of_equal_latents_the_first_are_kept():
    """Latents of equal weights tie wherever they stand, so the lowest of them are among the k largest."""
    sae, x = glu(api.TopK(5), equal=True), integers(20 * ROWS, D_IN, seed=3) / 7
    alone, together = alone_and_together(sae, x)
    assert torch.equal(alone, together)
    active = (together != 0)[(together != 0).any(1)]
    assert len(active) > ROWS
    assert bool(active[:, :5].all())
    assert not bool(active[:, 5:].any())


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.full((2, D_IN), torch.nan), "Row 0 of 2 holds NaN or infinite activations"),
        (torch.ones(2, D_IN, dtype=torch.int64), "reads floating-point activations"),
        (torch.ones(2, D_IN + 1), f"d_in = {D_IN}"),
    ],
)
def test_what_is_no_activation_is_refused_as_by_any_sae(x, said):
    """Rows that are not finite, not floating-point or of another width are an error, not a row of zeros."""
    with pytest.raises(api.ItemError, match=said):
        glu(api.Relu()).encode(x)
