"""Principal components of the training rows, centred (uncentred ones can have FVU above 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import Gram
from darkmatter_plugins.baselines import RankConfig
from darkmatter_plugins.baselines.linear import signed_topk


def fit_static(config: RankConfig, data: api.FitData) -> api.SAE:
    """The k leading components, all of them active: FVU is the eigenvalues' tail share."""
    basis = components(data.inputs.train)[:, : config.k]
    return signed_topk(basis, basis.T, data.inputs.train.mean, config.k, data, "pca")


def fit_topk(config: RankConfig, data: api.FitData) -> api.SAE:
    """All components; each token keeps its k largest scores by size."""
    basis = components(data.inputs.train)
    return signed_topk(basis, basis.T, data.inputs.train.mean, config.k, data, "pca_topk")


def fit_nonneg(config: RankConfig, data: api.FitData) -> api.SAE:
    """relu((x - mean) @ [V, -V]): 2k latents, of which one of each component's two is active.

    It reconstructs as ``pca`` of the same k does, from codes that are never negative; where a score changes
    its sign, another latent takes over.
    """
    basis = components(data.inputs.train)[:, : config.k].float()
    both, mean = torch.cat([basis, -basis], dim=1), data.inputs.train.mean.float()
    return api.CanonicalSAE(
        W_enc=both,
        W_dec=both.T.contiguous(),
        b_dec=mean,
        subtract=mean,
        activation=api.Relu(),
        hook_in=data.hook,
        hook_out=data.hook,
        metadata=api.SAEMetadata(format="baseline", architecture="pca_nonneg"),
    )


def components(train: Gram) -> Tensor:
    """Eigenvectors [d, d] of the covariance as columns, largest variance first.

    The sign, which an eigenvector does not have, is chosen so that the largest entry is positive.
    """
    _, vectors = torch.linalg.eigh(train.cxx)
    vectors = vectors.flip(1)
    largest = vectors.abs().argmax(dim=0)
    signs: Tensor = vectors[largest, torch.arange(vectors.shape[1])].sign()
    basis: Tensor = vectors * signs
    return basis
