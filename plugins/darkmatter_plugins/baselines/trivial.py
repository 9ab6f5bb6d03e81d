"""Controls without anything to learn: the ceiling and the floor of every table."""

from __future__ import annotations

import torch

from darkmatter import api
from darkmatter.sae.activation import Relu
from darkmatter.sae.canonical import CanonicalSAE
from darkmatter_plugins.baselines.linear import signed_topk


def identity(config: api.Config, data: api.FitData) -> api.SAE:  # noqa: ARG001 - no options
    """x̂ = x, exactly; its codes are the coordinates."""
    eye = torch.eye(data.d_in)
    return signed_topk(eye, eye, torch.zeros(data.d_in), data.d_in, data, "identity")


def zero(config: api.Config, data: api.FitData) -> api.SAE:  # noqa: ARG001 - no options
    """x̂ = 0 without any latent."""
    return signed_topk(
        torch.zeros(data.d_in, 0), torch.zeros(0, data.d_in), torch.zeros(data.d_in), 0, data, "zero"
    )


def mean(config: api.Config, data: api.FitData) -> api.SAE:  # noqa: ARG001 - no options
    """x̂ = the training mean without any latent."""
    empty = torch.zeros(data.d_in, 0)
    return signed_topk(empty, empty.T, data.inputs.train.mean, 0, data, "mean")


def relu(config: api.Config, data: api.FitData) -> api.SAE:  # noqa: ARG001 - no options
    """x̂ = relu(x): FVU ½ on standard normal activations, half of the dimensions active."""
    eye = torch.eye(data.d_in)
    return CanonicalSAE(
        W_enc=eye,
        W_dec=eye,
        activation=Relu(),
        hook_in=data.hook,
        hook_out=data.hook,
        metadata=api.SAEMetadata(format="baseline", architecture="identity_relu"),
    )
