"""Llama Scope: ``hyperparams.json`` with ``checkpoints/final.safetensors``, and R1-Distill's layout.

The first is what OpenMOSS's code of October 2024 wrote, the second (``config.json`` and
``sae_weights.safetensors`` with ``encoder.weight``) that of early 2025. With s = sqrt(d_model) / norm_in
and n the norm of a latent's decoder row:

    h = (s x) W_enc + b_enc;  f = h where h n > threshold, else 0;  x̂ = (f W_dec + b_dec) / s_out
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from darkmatter import api
from darkmatter_plugins.adapters._names import match_in_folders
from darkmatter_plugins.adapters._openmoss import (
    DEFAULTS,
    NORMS_AT,
    Scales,
    architecture,
    asked_for,
    average_norm,
    completed,
    decoder_norms,
    hook_point,
    no_glu,
    positive,
    scales,
)
from darkmatter_plugins.adapters._unsaid import DATASET

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, FOLDER, FINAL = "hyperparams.json", "checkpoints", "final.safetensors"
R1_CONFIG, R1_WEIGHTS = "config.json", "sae_weights.safetensors"
ACTIVATIONS = {"jumprelu": "a threshold", "topk": "the k largest", "relu": "all positive"}
R1_ACTIVATIONS = {"jumprelu": "a threshold each", "relu": "all positive"}
R1_THRESHOLDS = ("log_jumprelu_threshold", "activation_function.log_jumprelu_threshold")
MODELS = (
    (
        re.compile(r"Llama-Scope-R1-Distill(?:-.*)?", re.IGNORECASE),
        "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    ),
    (re.compile(r"Llama3_1-8B-Base(?:-.*)?"), "meta-llama/Llama-3.1-8B"),
)
"""Names of repositories and folders, and the models they were trained on."""


class Files(NamedTuple):
    """Where the configuration and the weights lie."""

    cfg: api.Fields
    weights: api.FileView
    name: str
    r1: bool


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """OpenMOSS's configuration beside weights that have an encoder.weight."""
    files = _files(view)
    if files is None:
        return api.Refusal(f"there is neither {CONFIG} nor {R1_CONFIG} with {R1_WEIGHTS}")
    missing = [name for name in ("d_model", "hook_point_in") if name not in files.cfg]
    if missing:
        return api.Refusal(f"{files.cfg.where} has no {' and no '.join(missing)}")
    if "encoder.weight" not in (files.weights.header(files.name) or {}):
        return api.Refusal(f"{files.name} has no tensor encoder.weight")
    return api.Detection(f"{files.cfg.where} has d_model and hook_point_in, {files.name} has encoder.weight")


def load(view: api.FileView, options: api.LoadOptions) -> api.SAE:
    """Read one SAE or transcoder."""
    files = _files(view)
    if files is None:
        message = f"{view}: has neither {CONFIG} nor {R1_CONFIG} with {R1_WEIGHTS}."
        raise api.SAEFileError(message)
    weights, recorded = files.weights.weights(files.name), files.cfg
    hook_in = hook_point(recorded, "hook_point_in")
    cfg, taken = completed(recorded, _defaults(files, weights, hook_in))
    files = files._replace(cfg=cfg)
    no_glu(cfg)
    d_in = cfg.size("d_model")
    d_sae = cfg.size("d_sae") if "d_sae" in cfg else d_in * cfg.size("expansion_factor")
    W_dec = weights.take("decoder.weight", d_in, d_sae).T
    b_dec = None
    if cfg.flag("use_decoder_bias", default=True):
        asked_for(weights, "decoder.bias", cfg, "use_decoder_bias")
        b_dec = weights.take("decoder.bias", d_in)
    hook_out = hook_point(cfg, "hook_point_out")
    average = _averages(files, weights, {"in": hook_in, "out": hook_out})
    scale = scales(cfg, options, average, transcoder=hook_in != hook_out)
    norms = decoder_norms(cfg, W_dec)
    activation = _activation(files, weights, scale, d_sae, gated=norms is not None)
    model = next((model for name, model in MODELS if match_in_folders(view, name)), None)
    sae = api.CanonicalSAE(
        W_enc=weights.take("encoder.weight", d_sae, d_in).T,
        W_dec=W_dec / scale.decoder,
        b_enc=weights.take("encoder.bias", d_sae),
        b_dec=None if b_dec is None else b_dec / scale.decoder,
        activation=activation,
        subtract=_subtracted(files, scale, b_dec),
        normalisation=scale.normalisation,
        gate_scale=norms,
        hook_in=hook_in,
        hook_out=hook_out,
        metadata=api.SAEMetadata(
            format="llama_scope",
            architecture=architecture(type(activation).__name__.lower(), transcoder=hook_in != hook_out),
            model=model,
            context_length=1024,
            prepend_bos=True,
            dtype=str(weights["encoder.weight"].dtype).removeprefix("torch."),
            extra=recorded.some("act_fn", "top_k", "norm_activation", "sparsity_include_decoder_norm"),
        ),
        assumptions=(*taken, *scale.said, *_assumptions(model)),
    )
    weights.nothing_else(NORMS_AT.format("*"))
    return sae


def _files(view: api.FileView) -> Files | None:
    """The configuration and the weights, whichever of their files or folders was given."""
    above = view.parent()
    if view.has(CONFIG):
        return Files(_fields(view, CONFIG), api.FileView(view.root / FOLDER), FINAL, r1=False)
    if above is not None and view.has(FINAL) and above.has(CONFIG):
        return Files(_fields(above, CONFIG), view, FINAL, r1=False)
    if view.has(R1_CONFIG) and view.has(R1_WEIGHTS):
        return Files(_fields(view, R1_CONFIG), view, R1_WEIGHTS, r1=True)
    return None


def _fields(view: api.FileView, name: str) -> api.Fields:
    return api.Fields(view.json(name), str(view.file(name)))


def _defaults(files: Files, weights: api.Weights, hook_in: str) -> dict[str, Any]:
    """What the publisher's class of the layout's time takes for a missing field.

    Two differ from it: weights with a threshold for each latent are a JumpReLU's, and hyperparams.json
    holds norms, which dataset-wise needs, though the class of 2024 takes token-wise.
    """
    thresholds = files.r1 and any(name in weights for name in R1_THRESHOLDS)
    return DEFAULTS | {
        "act_fn": "jumprelu" if thresholds else "relu",
        "apply_decoder_bias_to_pre_encoder": not files.r1,
        "hook_point_out": hook_in,
    }


def _averages(files: Files, weights: api.Weights, hooks: dict[str, str]) -> Callable[[str], float]:
    """The average norm at the hook point read ("in") or predicted ("out")."""

    def in_hyperparameters(side: str) -> float:
        norms = files.cfg.inside("dataset_average_activation_norm")
        return positive(norms.number(side), norms.where, f"field {side!r}")

    def in_weights(side: str) -> float:
        return average_norm(weights, files.cfg, hooks[side])

    return in_weights if files.r1 else in_hyperparameters


def _activation(
    files: Files, weights: api.Weights, scale: Scales, d_sae: int, *, gated: bool
) -> api.Activation:
    """What is compared with what; both layouts compare h n, but not in the same units."""
    import torch

    cfg = files.cfg
    if files.r1:
        name = next((name for name in R1_THRESHOLDS if name in weights), None)
        kind = cfg.choice("act_fn", R1_ACTIVATIONS, default="relu")
        if kind == "relu":
            return api.Relu()
        return api.JumpRelu(weights.take(name or R1_THRESHOLDS[0], d_sae).exp())
    kind = cfg.choice("act_fn", ACTIVATIONS, default="relu")
    if kind == "topk":
        return api.TopK(cfg.size("top_k"))
    if kind == "relu":
        return api.Relu()
    threshold = cfg.number("jump_relu_threshold")
    if threshold is None:
        message = (
            f"{cfg.where}: field 'jump_relu_threshold' is missing; expected a number for act_fn jumprelu."
        )
        raise api.SAEFileError(message)
    # The threshold was measured behind OpenMOSS's loader, which folds the scales into the weights and,
    # with the decoder's norms, makes decoder rows unit vectors: there a latent's h is h n / s_out.
    scaled = torch.tensor(threshold * (scale.out if gated else scale.into), dtype=torch.float64)
    return api.Threshold(scaled) if threshold < 0 else api.JumpRelu(scaled)


def _subtracted(files: Files, scale: Scales, b_dec: Tensor | None) -> Tensor | None:
    """The decoder's bias where it is subtracted from the (scaled) input too."""
    cfg = files.cfg
    if b_dec is None or not cfg.flag("apply_decoder_bias_to_pre_encoder", default=False):
        return None
    if scale.into != scale.out:
        message = (
            f"{cfg.where}: field 'apply_decoder_bias_to_pre_encoder' is True, and the average norms of input "
            "and output differ: OpenMOSS's training and loading code then subtract different vectors; "
            "expected false for transcoders."
        )
        raise api.SAEFileError(message)
    return b_dec


def _assumptions(model: str | None) -> tuple[api.Assumption, ...]:
    source = "taken from the names of repository and folder" if model else "none taken"
    return (
        api.Assumption(f"model not recorded; {source}.", about="model"),
        api.Assumption("context length not recorded; 1,024 tokens.", about="context_length"),
        api.Assumption(
            "BOS policy not recorded; contexts began with a BOS, on which it was not trained.", "bos"
        ),
        DATASET,
    )


UNPUBLISHED = (
    "OpenMOSS's own code of {} writes and evaluates the samples, SAELens 6.54 reads one more; no published "
    "file could be had"
)

ADAPTER = api.SAEAdapter(
    "llama_scope",
    "Llama Scope SAEs and transcoders (hyperparams.json, checkpoints/final.safetensors; R1-Distill)",
    "darkmatter_plugins.adapters.llama_scope:load",
    filenames=(CONFIG, FINAL, R1_WEIGHTS),
    detect=detect,
    follows=frozenset({"norm_factor"}),
    layouts=(
        api.Layout(
            "Llama Scope",
            (f"<name>/{CONFIG}", f"<name>/{FOLDER}/{FINAL}"),
            tuple(architecture(kind, transcoder=both) for both in (False, True) for kind in ACTIVATIONS),
            known_from=UNPUBLISHED.format("October 2024 (Language-Model-SAEs d16967b3)"),
            traps=(
                (
                    "With sparsity_include_decoder_norm, which the published files are said to have, the "
                    "threshold is compared with h times the norm of the decoder row (about 1.5 on average, "
                    "not 1); SAELens compares h and finds other latents."
                ),
                (
                    "The threshold is in units of raw activations: on scaled ones it is threshold · s "
                    "(of the output, where norms are included)."
                ),
                "The threshold cuts h without a ReLU: below 0 it lets negative codes through.",
                (
                    "Codes are in the units of the stored weights, as SAELens gives them; OpenMOSS's loader "
                    "of the time gives them divided by s and multiplied by the decoder's norms."
                ),
                (
                    "act_fn alone says what is selected: the top_k beside a JumpReLU is a leftover of "
                    "training, and OpenMOSS's loader says that it turns topk with a threshold into JumpReLU "
                    "but does not."
                ),
                "Of a transcoder, input and output have scales of their own.",
            ),
            samples=("llama_scope/base", "llama_scope/lm_saes_*"),
        ),
        api.Layout(
            "Llama Scope R1-Distill",
            (f"<name>/{R1_CONFIG}", f"<name>/{R1_WEIGHTS}"),
            tuple(architecture(kind, transcoder=False) for kind in R1_ACTIVATIONS),
            known_from=UNPUBLISHED.format("March 2025 (Language-Model-SAEs bd1fec2c)"),
            traps=(
                (
                    "The threshold, exp(log_jumprelu_threshold), is in units of scaled activations, unlike "
                    "the one in hyperparams.json."
                ),
                (
                    "With norm_activation dataset-wise, activations are scaled by sqrt(d_model) divided by "
                    "the tensor dataset_average_activation_norm.<hook point>; SAELens applies neither this "
                    "nor the decoder norms of the gate."
                ),
                "The repository's name says DeepSeek-R1-Distill-Llama-8B; SAELens says Llama-3.1-8B.",
            ),
            samples=("llama_scope/r1_*",),
        ),
    ),
)
