"""What `reconstruction` measures."""

from __future__ import annotations

from darkmatter import api


class ReconstructionConfig(api.Config):
    """`reconstruction` has no options."""


_M = api.Metric

RECONSTRUCTION = api.Evaluator(
    name="reconstruction",
    summary="How well the SAE reconstructs activations, and how sparse it is.",
    implementation="darkmatter_plugins.evaluators.reconstruction.run:Reconstruction",
    config=ReconstructionConfig,
    reaches=(),
    requires=frozenset({api.Requirement.RECONSTRUCTION}),
    order=10,
    source="Cunningham et al. (FVU, sparsity, dead latents); Engels et al. (FVU)",
    metrics=(
        _M(
            "fvu",
            "share of the activations' variance that the SAE misses: Σ|e|² / Σ|x - x̄|²",
            low=0,
            higher_is_better=False,
            primary=True,
        ),
        _M("l0", "active latents per token", unit="latents", low=0, primary=True),
        _M(
            "dead_fraction",
            "share of latents that never fire on the held-out rows",
            low=0,
            high=1,
            higher_is_better=False,
            primary=True,
        ),
        _M(
            "cosine",
            "mean cosine of activation and reconstruction",
            low=-1,
            high=1,
            higher_is_better=True,
            primary=True,
        ),
        _M("norm_ratio", "mean |reconstruction| / |activation|; below 1 is shrinkage", low=0, primary=True),
        _M(
            "mse",
            "mean |e|² per token, summed over dimensions",
            unit="activation²",
            low=0,
            higher_is_better=False,
        ),
        _M("l1", "mean Σ|codes| per token", unit="activation", low=0),
        _M(
            "relative_reconstruction_bias",
            "Σ|reconstruction|² / Σ activation·reconstruction; 1 is unbiased",
        ),
        _M(
            "fvu_uncentred",
            "Σ|e|² / Σ|x|²: FVU against zero instead of the mean",
            low=0,
            higher_is_better=False,
        ),
        _M(
            "fvu_scalar_centre",
            "FVU centred on one scalar mean over all entries, as in the synthetic script of Engels et al.; "
            "inflates the fit where dimensions differ in mean",
            low=0,
            higher_is_better=False,
        ),
        _M(
            "saelens.explained_variance",
            "1 - fvu, the formula of SAELens since 6.5x",
            high=1,
            higher_is_better=True,
        ),
        _M(
            "saelens.explained_variance_legacy",
            "mean over tokens of 1 - |e|²/|x - x̄|²: older SAELens, the SAEBench paper, Neuronpedia",
            high=1,
            higher_is_better=True,
        ),
        _M(
            "saebench.explained_variance",
            "1 - mean|e|² / (mean|x|² - (mean x_d²)²), the formula of SAEBench 0.6 as it stands; it is not a "
            "share of variance and may exceed 1",
        ),
        _M(
            "dictionary_learning.frac_variance_explained",
            "1 - ΣVar(e_d)/ΣVar(x_d): does not see a constant error",
            high=1,
            higher_is_better=True,
        ),
        _M("openai.normalized_mse", "mean over tokens of |e|²/|x|²", low=0, higher_is_better=False),
    ),
)
