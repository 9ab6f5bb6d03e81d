"""The baseline `coordinates`: is a learned dictionary better than the standard basis?"""

import torch

from darkmatter import api
from darkmatter_example.descriptors import CoordinatesConfig


def fit(config: CoordinatesConfig, data: api.FitData) -> api.SAE:
    """x̂ = x on the k coordinates of largest training variance, the training mean on the others."""
    mean = data.inputs.train.mean.float()
    variance = data.inputs.train.cxx.diagonal()
    kept = variance.argsort(descending=True, stable=True)[: config.k]
    basis = torch.eye(data.d_in)[kept]
    return api.CanonicalSAE(
        W_enc=basis.T,
        W_dec=basis,
        b_dec=mean,
        subtract=mean,
        activation=api.AbsTopK(len(kept)),
        hook_in=data.hook,
        metadata=api.SAEMetadata(format="baseline", architecture="coordinates"),
    )
