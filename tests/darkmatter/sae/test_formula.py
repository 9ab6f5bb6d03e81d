"""The formula says everything that an SAE does, and nothing that it does not."""

from __future__ import annotations

import re

import pytest
import torch

from darkmatter import api
from darkmatter.sae.formula import formula


def made(activation: api.Activation | None = None, **fields) -> api.CanonicalSAE:
    return api.CanonicalSAE(
        W_enc=torch.eye(4), W_dec=torch.eye(4), activation=activation or api.Relu(), **fields
    )


def test_the_plainest():
    """Without biases and scales there are none in the formula."""
    assert formula(made()) == "x' = x; h = x' W_enc; f = relu(h); x̂ = f W_dec"


def test_everything_at_once():
    """Every tensor that an SAE may have shows, by its name."""
    one = torch.ones(4)
    full = made(
        api.JumpRelu(one),
        b_enc=one,
        b_dec=one,
        subtract=one,
        code_scale=one,
        gate_scale=one,
        W_skip=torch.eye(4),
        normalisation=api.Normalisation("scale", factor=0.5),
    )
    assert formula(full) == (
        "x' = x · 0.5 - subtract; h = (x' W_enc + b_enc) · code_scale; "
        "f = relu(h) · [h · gate_scale > threshold]; x̂ = ((f / code_scale) W_dec + b_dec) / 0.5 + x W_skip"
    )


@pytest.mark.parametrize("kind", ["layer_norm", "constant_norm", "scale"])
def test_what_is_not_undone_is_not_in_the_output(kind):
    """A transcoder's output stays as the decoder gives it."""
    assert formula(made(normalisation=api.Normalisation(kind, invert=False))).endswith("; x̂ = f W_dec")
    assert not formula(made(normalisation=api.Normalisation(kind))).endswith("; x̂ = f W_dec")


@pytest.mark.parametrize(
    ("activation", "plain", "gated"),
    [
        (api.Relu(), "relu(h)", "h · [g > 0]"),
        (api.TanhRelu(), "tanh(relu(h))", "tanh(h) · [g > 0]"),
        (api.TopK(2), "the 2 largest of relu(h)", "h where g is among the 2 largest and positive"),
        (api.TopK(2, relu=False), "the 2 largest of h", "h where g is among the 2 largest"),
        (api.AbsTopK(2), "the 2 entries of h with the largest |h|", "h where |g| is among the 2 largest"),
        (
            api.GroupMax(2),
            "the largest of relu(h) in each of 2 groups",
            "h where g is the largest of its group, of 2, and positive",
        ),
        (
            api.Gated(torch.ones(4), torch.ones(4), torch.ones(4)),
            "[h + b_gate > 0] · relu(h · exp(r_mag) + b_mag)",
            "[g > max(-b_gate, -b_mag · exp(-r_mag))] · (h · exp(r_mag) + b_mag)",
        ),
    ],
)
def test_every_activation(activation, plain, gated):
    """What is chosen and what is kept are told apart where a gate's scale makes them differ."""
    assert f"f = {plain};" in formula(made(activation))
    expected = re.sub(r"\bg\b", "h · gate_scale", gated)
    assert f"f = {expected};" in formula(made(activation, gate_scale=torch.ones(4)))


def test_an_activation_of_a_plugin_is_named():
    """What we do not know we do not describe."""

    class Softmax(api.Activation):
        pass

    assert "f = Softmax(h);" in formula(made(Softmax()))


def test_functions_say_that_they_are_functions():
    """An opaque SAE has no formula; one that says its own is believed."""
    functions = api.SAE.from_functions(lambda x: x, lambda f: f, d_in=2, d_sae=2)

    assert formula(functions) == "f = encode(x); x̂ = decode(f)"
    functions.formula = "f = x; x̂ = f"
    assert formula(functions) == "f = x; x̂ = f"
