"""What changes an SAE's fingerprint, and what must not."""

import subprocess
import sys

import pytest
import torch

from darkmatter.sae.activation import AbsTopK, Gated, GroupMax, JumpRelu, Relu, TopK
from darkmatter.sae.base import SAEMetadata
from darkmatter.sae.canonical import CanonicalSAE
from darkmatter.sae.normalisation import Normalisation


def fields(**changes):
    """Small integer weights, so that the numbers are the same everywhere."""
    base = {
        "W_enc": torch.arange(12.0).reshape(3, 4),
        "W_dec": torch.arange(12.0).reshape(4, 3) - 5,
        "b_enc": torch.ones(4),
        "b_dec": torch.ones(3),
        "subtract": torch.full((3,), 0.5),
        "code_scale": torch.full((4,), 2.0),
        "gate_scale": torch.full((4,), 3.0),
        "W_skip": torch.eye(3),
        "activation": JumpRelu(torch.arange(4.0)),
        "normalisation": Normalisation("scale", factor=2.0),
    }
    return base | changes


def test_every_weight_and_every_semantic_enters():
    """Any change of a number or of what is done with it gives another fingerprint."""
    base = fields()
    variants = [base]
    for name, value in base.items():
        if isinstance(value, torch.Tensor):
            changed = value.clone()
            changed.view(-1)[-1] += 1
            variants.append(fields(**{name: changed}))
            if name not in {"W_enc", "W_dec"}:
                variants.append(fields(**{name: None}))
    activations = [Relu(), TopK(2), TopK(3), TopK(2, relu=False), AbsTopK(2), GroupMax(2), GroupMax(4)]
    activations += [JumpRelu(torch.tensor(1.0)), Gated(torch.ones(4), torch.ones(4), torch.zeros(4))]
    activations += [Gated(torch.ones(4), torch.zeros(4), torch.ones(4))]
    variants += [fields(activation=activation) for activation in activations]
    normalisations = [Normalisation(kind) for kind in ("none", "layer_norm", "constant_norm", "scale")]
    normalisations += [Normalisation("layer_norm", eps=1e-3), Normalisation("layer_norm", invert=False)]
    variants += [fields(normalisation=normalisation) for normalisation in normalisations]
    prints = [CanonicalSAE(**variant).fingerprint for variant in variants]
    assert len(set(prints)) == len(prints)


def test_what_does_not_shape_the_numbers_does_not_enter():
    """Metadata, hooks, layout, lossless storage dtypes and the sign of zero leave it as it is."""
    base = CanonicalSAE(**fields()).fingerprint
    same = [
        fields(metadata=SAEMetadata(format="x"), assumptions=("y",), hook_in="a", hook_out="b"),
        fields(head_shape=(3, 1)),
        fields(W_enc=torch.arange(12.0).reshape(3, 4).T.contiguous().T),
        fields(W_enc=torch.arange(12.0).reshape(3, 4).bfloat16(), b_dec=torch.ones(3, dtype=torch.float64)),
        fields(W_enc=torch.tensor([-0.0] + [float(i) for i in range(1, 12)]).reshape(3, 4)),
        fields(normalisation=Normalisation("scale", factor=2.0, eps=1.0)),
    ]
    assert {CanonicalSAE(**variant).fingerprint for variant in same} == {base}
    assert CanonicalSAE(**fields()).to(device="cpu", dtype=torch.float64).fingerprint == base


def test_what_float64_alone_can_hold_enters():
    """Float64 weights that float32 would round have a fingerprint of their own."""
    double = torch.ones(4, dtype=torch.float64) + 1e-12
    assert CanonicalSAE(**fields(b_enc=double)).fingerprint != CanonicalSAE(**fields()).fingerprint


def test_it_is_the_same_in_every_process():
    """The fingerprint is a property of the numbers, not of the process that computed it."""
    program = (
        "import torch\n"
        "from darkmatter.sae.activation import TopK\n"
        "from darkmatter.sae.canonical import CanonicalSAE\n"
        "m = torch.arange(12.0).reshape(3, 4)\n"
        "print(CanonicalSAE(W_enc=m, W_dec=m.T, activation=TopK(2)).fingerprint)\n"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    matrix = torch.arange(12.0).reshape(3, 4)
    here = CanonicalSAE(W_enc=matrix, W_dec=matrix.T, activation=TopK(2)).fingerprint
    assert shown.stdout.strip() == here
    assert len(here) == 32


def test_weights_are_reported_by_the_constructors_names():
    """tensors() gives back what the constructor took, so that a file of them rebuilds the SAE."""
    sae = CanonicalSAE(**fields())
    tensors = sae.tensors()
    threshold = tensors.pop("activation.threshold")
    again = CanonicalSAE(
        **tensors, activation=JumpRelu(threshold), normalisation=Normalisation(**sae.normalisation.settings())
    )
    assert again.fingerprint == sae.fingerprint
    assert sae.semantics()["activation"] == {"name": "JumpRelu"}
    assert sae.nbytes == sum(t.nbytes for t in sae.tensors().values())
    with pytest.raises(AttributeError):
        sae.W_enc = None
