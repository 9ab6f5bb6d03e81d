"""Controls without anything to learn: the ceiling and the floor of every table."""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.baselines.linear import signed_topk


def identity(config: api.Config, data: api.FitData) -> api.SAE:  # noqa: ARG001 - no options
    """x̂ = x, exactly; its codes are the coordinates."""
    eye = torch.eye(data.d_in)
    return signed_topk(eye, eye, torch.zeros(data.d_in), data.d_in, data, "identity")


def zero(config: api.Config, data: api.FitData) -> api.SAE:  # noqa: ARG001 - no options
    """x̂ = 0 without any latent."""
    return ConstantSAE(torch.zeros(data.d_in), data, "zero")


def mean(config: api.Config, data: api.FitData) -> api.SAE:  # noqa: ARG001 - no options
    """x̂ = the training mean without any latent."""
    return ConstantSAE(data.inputs.train.mean.to(torch.float32), data, "mean")


class ConstantSAE(api.SAE):
    """The dictionary without latents: every row gives the same vector."""

    def __init__(self, value: Tensor, data: api.FitData, name: str) -> None:
        self.d_in = self.d_out = data.d_in
        self.d_sae = 0
        self.hook_in = self.hook_out = data.hook
        self.metadata = api.SAEMetadata(format="baseline", architecture=name)
        self.assumptions = ()
        self.fingerprint = f"constant:{api.content_hash(value.tolist())}"
        self._value = value

    def encode(self, x: Tensor) -> api.Codes:
        """No codes."""
        return api.Codes.from_dense(x.new_zeros(*x.shape[:-1], 0))

    def decode(self, codes: api.Codes) -> Tensor:
        """The constant for every row."""
        return self._value.to(codes.values.device).expand(*codes.batch_shape, -1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The constant for every row."""
        return self.decode(self.encode(x))


def relu(config: api.Config, data: api.FitData) -> api.SAE:  # noqa: ARG001 - no options
    """The positive half of every dimension; FVU is ½ on standard normal activations."""
    eye = torch.eye(data.d_in)
    return api.CanonicalSAE(
        W_enc=eye,
        W_dec=eye,
        activation=api.Relu(),
        hook_in=data.hook,
        hook_out=data.hook,
        metadata=api.SAEMetadata(format="baseline", architecture="identity_relu"),
    )
