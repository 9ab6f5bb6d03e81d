"""The support of codes is a property of the row alone: not of the batch, the tile or the kernel."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darkmatter.sae.activation import AbsTopK, Gated, GroupMax, JumpRelu, Relu, TopK
from darkmatter.sae.canonical import CanonicalSAE
from darkmatter.sae.normalisation import Normalisation

D_IN, D_SAE, ROWS = 48, 240, 40


def planted(name, kind, seed):
    """An SAE and rows where many entries tie exactly, or to float32's last places, at the cutoff."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.randn(D_IN, D_SAE // 2, generator=generator)
    nearly = half * (1 + 1e-7 * torch.randn(D_IN, D_SAE // 2, generator=generator))
    copies = torch.where(torch.rand(D_SAE // 2, generator=generator) < 0.5, half, nearly)
    W_enc = torch.stack([half, copies], -1).reshape(D_IN, D_SAE)
    x = torch.randn(ROWS, D_IN, generator=generator)
    x[0] = 0
    x[1, 0] = 1e3
    h = (x.double() @ W_enc.double()).float()
    threshold = h[torch.randint(1, ROWS, (D_SAE,), generator=generator), torch.arange(D_SAE)].clamp_min(0)
    b_enc = -threshold if name == "relu" else None
    gate, ones = -threshold, torch.zeros(D_SAE)
    activation = {
        "relu": Relu(),
        "jumprelu": JumpRelu(threshold),
        "gated": Gated(gate, ones, ones),
        "topk": TopK(15),
        "topk_signed": TopK(201, relu=False),
        "abstopk": AbsTopK(15),
        "groupmax": GroupMax(12),
    }[name]
    sae = CanonicalSAE(
        W_enc=W_enc,
        W_dec=W_enc.T,
        b_enc=b_enc,
        activation=activation,
        normalisation=Normalisation(kind),
    )
    return sae, x


NAMES = ["relu", "jumprelu", "gated", "topk", "topk_signed", "abstopk", "groupmax"]


@pytest.mark.parametrize("kind", ["none", "layer_norm"])
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, ROWS), max_size=6))
def test_sub_batches_have_the_support_of_the_whole(name, kind, seed, cuts):
    """Encoding any sub-batches gives the support of the whole batch, which is the reference's."""
    sae, x = planted(name, kind, seed)
    whole = sae.encode(x)
    expected, _ = sae.reference(x)
    assert torch.equal(whole.to_dense() != 0, expected.float() != 0)
    torch.testing.assert_close(whole.to_dense().double(), expected, rtol=1e-5, atol=1e-4)
    edges = [0, *sorted(cuts), ROWS]
    for start, stop in itertools.pairwise(edges):
        part, same = sae.encode(x[start:stop]), whole.rows(start, stop)
        assert torch.equal(part.indices, same.indices)
        assert torch.equal(part.offsets, same.offsets)
        scale = float(same.values.abs().max()) if same.nnz else 1.0
        torch.testing.assert_close(part.values, same.values, rtol=1e-6, atol=1e-6 * scale)


def test_the_planted_data_defeat_plain_float32():
    """The near-ties of these tests are real: plain float32 gets some of their supports wrong."""
    sae, x = planted("jumprelu", "none", 0)
    expected, _ = sae.reference(x)
    plain = (x @ sae.W_enc) > sae.activation.threshold
    assert (plain != (expected != 0)).any()


@pytest.mark.parametrize("activation", [TopK(3), TopK(3, relu=False), AbsTopK(3)])
def test_exact_ties_go_to_the_lowest_index(activation):
    """Of latents with equal keys at the cutoff the first ones are kept."""
    values = torch.tensor([[1.0, 2.0, 1.0, 1.0, 3.0, 1.0], [1.0] * 6, [0.0] * 6])
    sae = CanonicalSAE(W_enc=torch.eye(6), W_dec=torch.eye(6), activation=activation)
    codes = sae.encode(values)
    assert codes.rows(0, 1).indices.tolist() == [0, 1, 4]
    assert codes.rows(1, 2).indices.tolist() == [0, 1, 2]
    assert codes.rows(2, 3).nnz == 0
    for dtype in (torch.float64, torch.bfloat16):
        assert torch.equal(sae.to(dtype=dtype).encode(values).to_dense(), codes.to_dense())


def test_ties_within_a_group_go_to_the_lowest_index():
    """GroupMax keeps the first of equal maxima, as torch.max over the group does in float64."""
    sae = CanonicalSAE(W_enc=torch.eye(6), W_dec=torch.eye(6), activation=GroupMax(2))
    codes = sae.encode(torch.tensor([[1.0, 2.0, 2.0, 5.0, 5.0, 4.0]]))
    assert codes.indices.tolist() == [1, 3]


def test_many_identical_latents_cost_no_wrong_code():
    """Hundreds of copies of one latent, as dead latents often are, leave exactly the first k."""
    W_enc = torch.randn(8, 1, generator=torch.Generator().manual_seed(0)).expand(8, 9000).contiguous()
    sae = CanonicalSAE(W_enc=W_enc, W_dec=W_enc.T, activation=TopK(5))
    x = torch.stack([W_enc[:, 0], -W_enc[:, 0]])
    codes = sae.encode(x)
    assert codes.indices.tolist() == [0, 1, 2, 3, 4]
    assert codes.l0().tolist() == [5, 0]


def test_float64_sees_what_float32_cannot():
    """Two keys that differ by 1e-9 are told apart by the recheck, so the later, larger one wins."""
    W_enc = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    sae = CanonicalSAE(W_enc=W_enc, W_dec=W_enc.T, activation=TopK(1))
    assert sae.encode(torch.tensor([[1.0, 1e-9], [1.0, -1e-9]])).indices.tolist() == [1, 0]
    jump = CanonicalSAE(W_enc=W_enc, W_dec=W_enc.T, activation=JumpRelu(torch.tensor(1.0)))
    assert jump.encode(torch.tensor([[1.0, 1e-9], [1.0, -1e-9]])).indices.tolist() == [1]
