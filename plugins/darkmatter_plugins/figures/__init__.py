"""The built-in figures: those of the papers, each from result files alone."""

from __future__ import annotations

from darkmatter import api


def _figure(name: str, summary: str, *evaluators: str, uses: tuple[str, ...] = ()) -> api.Figure:
    target = f"darkmatter_plugins.figures.{name}:draw"
    return api.Figure(name, summary, target, evaluators=evaluators, uses=uses)


FIGURES = (
    _figure("fvu_l0", "FVU over L0, beside the curves of baselines", "fvu_l0_curve"),
    _figure("width_law", "FVU over the width, with its power law and forecast", "width_scaling_law"),
    _figure("width_l0", "FVU and nonlinear FVU over width and L0", "reconstruction", "error_decomposition"),
    _figure(
        "pareto",
        "the fronts of FVU and nonlinear FVU over L0",
        "reconstruction",
        uses=("error_decomposition",),
    ),
    _figure(
        "accounting",
        "FVU by width, divided into linear, encoder and nonlinear error, and absent features",
        "width_scaling_law",
        uses=("gradient_pursuit",),
    ),
    _figure("norm_test", "R² of the norms of x, Sae(x), e, L and N", "error_decomposition"),
    _figure("norm_baselines", "what predicts the size of the error", "error_norm_baselines"),
    _figure("token_scaling", "error norms of narrow SAEs predict those of wide ones", "error_scaling"),
    _figure("token_norms", "error norms of a family, token by token", "error_scaling"),
    _figure("ce_shares", "what the parts of the error cost the model", "ce_attribution"),
    _figure("ce_fvu", "what dictionaries cost the model, over their FVU", "ce_attribution", "reconstruction"),
    _figure("pursuit", "FVU before and after gradient pursuit", "gradient_pursuit"),
    _figure(
        "cross_layer",
        "how much of the error other SAEs and hook points predict",
        "cross_layer",
        uses=("reconstruction", "error_decomposition"),
    ),
    _figure("synthetic_noise", "which part of the error planted noise moves", "synthetic_noise"),
    _figure("error_saes", "FVU of SAEs trained on the parts of the error", "error_saes"),
    _figure("error_saes_training", "their training curves", "error_saes"),
    _figure("autointerp", "how well latents are predicted from the text", "autointerp"),
    _figure("concept_erasure", "what taking a concept out achieves, and what it costs", "concept_erasure"),
    _figure("dictionary_similarity", "how much of each dictionary the others have", "dictionary_similarity"),
    _figure("feature_sizes", "a* over the mean value of active features", "error_decomposition"),
    _figure(
        "feature_editing", "how far a few edited features move the model's prediction", "feature_editing"
    ),
    _figure("density", "how often latents fire", "density"),
)
