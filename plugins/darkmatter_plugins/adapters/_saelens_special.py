"""SAELens's two architectures that are no affine encoder and decoder: matching pursuit and temporal."""

from __future__ import annotations

from darkmatter import api
from darkmatter_plugins.adapters._saelens_config import (
    NORMALISATIONS,
    WEIGHTS,
    assumptions_of,
    defaults_of,
    metadata_of,
    normalisation,
    normalisation_name,
)
from darkmatter_plugins.adapters._unasked import refuse_unasked


def matching_pursuit(view: api.FileView, cfg: api.Fields, about: api.Fields) -> api.SAE:
    """No encoder: codes come from the decoder by greedy pursuit, with its bias on both sides or none."""
    from darkmatter_plugins.adapters._matching_pursuit import MatchingPursuitSAE, Stop

    d_in, d_sae = cfg.size("d_in"), cfg.size("d_sae")
    weights = view.weights(WEIGHTS)
    hook = about.text("hook_name", "hook_point")
    assumptions = [*assumptions_of(cfg, about, hook), *defaults_of(cfg, "matching_pursuit")]
    kind = NORMALISATIONS[normalisation_name(cfg)]
    if kind == "whitening":
        message = f"{cfg.where}: covariance_whitening is not supported for matching_pursuit."
        raise api.SAEFileError(message)
    residual = cfg.number("residual_threshold")
    sae = MatchingPursuitSAE(
        weights.take("W_dec", d_sae, d_in),
        weights.take("b_dec", d_in) if cfg.flag("apply_b_dec_to_input", default=True) else None,
        Stop(
            residual=0.01 if residual is None else residual,
            iterations=cfg.size("max_iterations", d_in),
            on_repeat=cfg.flag("stop_on_duplicate_support", default=True),
        ),
        normalisation(view, kind, assumptions, invert=True),
        hook=hook,
        metadata=metadata_of(cfg, about, "matching_pursuit"),
        assumptions=tuple(assumptions),
        any_heads=cfg.text("reshape_activations") == "hook_z",
    )
    weights.nothing_else("b_dec")
    return sae


def temporal(view: api.FileView, cfg: api.Fields, about: api.Fields) -> api.SAE:
    """Sparse codes of what attention over earlier tokens does not predict; reads whole sequences."""
    from darkmatter_plugins.adapters import _temporal as parts

    d_in, d_sae = cfg.size("d_in"), cfg.size("d_sae")
    weights = view.weights(WEIGHTS)
    hook = about.text("hook_name", "hook_point")
    assumptions = [*assumptions_of(cfg, about, hook), *defaults_of(cfg, "temporal")]
    heads, layers, bottleneck = parts.attention_sizes(cfg, d_sae)
    parts.no_more_layers(weights, layers, cfg.where)
    W_dec = weights.take("W_dec", d_sae, d_in)
    tied = cfg.flag("tied_weights", default=True)
    if tied:
        refuse_unasked(weights, "W_enc", cfg, "tied_weights", "true")
    biased = cfg.flag("apply_b_dec_to_input", default=True)
    if cfg.values.get("normalize_activations") == "constant_scalar_rescale":
        factor = cfg.number("activation_normalization_factor")
        scaling = api.Normalisation(kind="scale", factor=1.0 if factor is None else factor)
    else:
        kind = NORMALISATIONS[normalisation_name(cfg)]
        scaling = normalisation(view, kind, assumptions, invert=True)
    sae = parts.TemporalSAE(
        W_dec.T if tied else weights.take("W_enc", d_in, d_sae),
        W_dec,
        weights.take("b_dec", d_in),
        parts.attention_layers(weights, layers, d_sae, bottleneck),
        parts.Form(
            heads,
            parts.chosen_k(cfg, d_sae),
            subtract=biased,
            add=biased or not tied,
            normalisation=scaling,
        ),
        hook=hook,
        metadata=metadata_of(cfg, about, "temporal"),
        assumptions=tuple(assumptions),
    )
    weights.nothing_else()
    return sae
