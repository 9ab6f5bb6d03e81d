"""SAEs that have codes and no reconstruction."""

import pytest
import torch

from darkmatter import api
from darkmatter.errors import ItemError
from darkmatter.sae.inspection import formula

REASON = "It is the encoder of several decoders."


def weights(d_sae=7, d_in=5):
    """(W_enc, b_enc) from a seed."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(d_in, d_sae, generator=generator), torch.randn(d_sae, generator=generator)


def encoder(activation=None, **changes):
    """An encoder alone."""
    W_enc, b_enc = weights()
    given = {
        "W_enc": W_enc,
        "b_enc": b_enc,
        "activation": activation or api.Relu(),
        "reason": REASON,
    } | changes
    return api.EncodeOnlySAE(**given)


@pytest.mark.parametrize("activation", [api.Relu(), api.TopK(3), api.JumpRelu(torch.full((7,), 0.4))])
def test_codes_are_those_of_the_whole_sae(activation):
    """The decoder has no part in the codes: the encoder alone gives the same, for rows of any shape."""
    W_enc, b_enc = weights()
    whole = api.CanonicalSAE(W_enc=W_enc, W_dec=torch.zeros(7, 5), b_enc=b_enc, activation=activation)
    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(2))
    assert torch.equal(encoder(activation).encode(x).to_dense(), whole.encode(x).to_dense())


def test_what_needs_a_decoder_says_why_there_is_none():
    """Decoding and reconstructing raise the reason, and there is no decoder matrix."""
    sae, x = encoder(), torch.ones(2, 5)
    codes = sae.encode(x)
    for ask in (
        lambda: sae.decode(codes),
        lambda: sae.reconstruct(x),
        lambda: sae.reconstruct_from(codes, x),
    ):
        with pytest.raises(ItemError) as caught:
            ask()
        assert str(caught.value) == REASON
    assert sae.W_dec is None
    assert not sae.reconstructs
    assert "x̂" not in formula(sae)


def test_the_fingerprint_is_of_what_gives_the_codes():
    """Encoder, bias, activation and threshold enter it, hook point and reason do not; no whole SAE has it."""
    W_enc, b_enc = weights()
    whole = api.CanonicalSAE(W_enc=W_enc, W_dec=torch.zeros(7, 5), b_enc=b_enc, activation=api.Relu())
    plain = encoder().fingerprint
    assert encoder(hook="blocks.0.hook_resid_mid", reason="Another.").fingerprint == plain
    others = [
        encoder(W_enc=W_enc + 1),
        encoder(b_enc=b_enc + 1),
        encoder(b_enc=None),
        encoder(api.TopK(2)),
        encoder(api.JumpRelu(torch.full((7,), 0.1))),
        encoder(api.JumpRelu(torch.full((7,), 0.2))),
        whole,
    ]
    assert len({plain, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_it_can_be_moved_like_any_other():
    """Device and arithmetic are chosen as for a whole SAE, and a strange arithmetic is refused."""
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    exact = encoder().to(device="cpu", dtype=torch.float64).encode(x)
    torch.testing.assert_close(exact.to_dense(), encoder().encode(x).to_dense())
    with pytest.raises(ItemError, match=r"not in torch.int8"):
        encoder().to(dtype=torch.int8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"W_enc": torch.zeros(5)},
            r"W_enc must be a non-empty floating-point matrix, not torch.float32 \[5\]",
        ),
        ({"b_enc": torch.zeros(6)}, r"b_enc must be floating-point of shape \[7\]"),
        ({"W_enc": torch.full((5, 7), torch.nan)}, r"W_enc transposed .* holds NaN"),
        ({"activation": api.JumpRelu(torch.zeros(6))}, r"JumpRelu.threshold has shape \[6\]"),
    ],
)
def test_weights_that_do_not_fit_are_refused(changes, message):
    """Shapes and values are checked when it is made, by name."""
    with pytest.raises(ItemError, match=message):
        encoder(**changes)
