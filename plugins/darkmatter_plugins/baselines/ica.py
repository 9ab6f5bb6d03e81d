"""Independent components (FastICA) of a sample of the training rows."""

from __future__ import annotations

import warnings

import torch

from darkmatter import api
from darkmatter_plugins.baselines import IcaConfig
from darkmatter_plugins.baselines.linear import signed_topk


def fit(config: IcaConfig, data: api.FitData) -> api.SAE:
    """Unmixing as encoder, mixing as decoder; each token keeps its k largest codes of unit variance."""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    rows = data.sample(config.rows).to(torch.float64)
    mean = rows.mean(dim=0)
    model = FastICA(whiten="unit-variance", random_state=data.seed, max_iter=config.max_iterations, tol=1e-3)
    with warnings.catch_warnings():
        # Not converged is common and said below; the components are a control either way.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((rows - mean).numpy())
    unmixing = torch.from_numpy(model.components_).T
    mixing = torch.from_numpy(model.mixing_).T
    sae = signed_topk(unmixing, mixing, mean, config.k, data, "ica")
    sae.assumptions = (
        f"FastICA on {len(rows)} training rows, {model.n_iter_} of {config.max_iterations} steps",
    )
    return sae
