"""SAELens: ``cfg.json`` and ``sae_weights.safetensors``, versions 6 and before.

Covers inference saves and training checkpoints; see docs/formats.md for the formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from darkmatter import api

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
SCALER = "activation_scaler.json"
WHITENING = "activation_whitening.safetensors"

ARCHITECTURES = {
    "standard": "relu",
    "topk": "topk",
    "abstopk": "abstopk",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "batchtopk": "topk_threshold",
    "matryoshka_batchtopk": "topk_threshold",
    "matching_pursuit": "pursuit",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
"""Architectures that are read, and the activation each one has."""

NORMALISATIONS = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm",
    "expected_average_only_in": "scale",
    "covariance_whitening": "whitening",
}
EXTRA = (
    *("hook_head_index", "hf_hook_name", "neuronpedia_id", "seqpos_slice", "exclude_special_tokens"),
    *("model_from_pretrained_kwargs", "sae_lens_version", "sae_lens_training_version"),
    *("training_architecture", "training_architecture_details"),
)


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A configuration beside the weights that names an architecture or a hook."""
    if not view.has(CONFIG):
        return api.Refusal(f"there is no {CONFIG} beside {WEIGHTS}")
    cfg = view.json(CONFIG, allow_nan=True)
    known = [
        key
        for key in ("architecture", "metadata", "hook_name", "hook_point", "activation_fn_str")
        if key in cfg
    ]
    if "d_in" not in cfg or not known:
        return api.Refusal(f"{CONFIG} has no d_in, or neither an architecture nor a hook")
    return api.Detection(f"{CONFIG} has d_in and {', '.join(known)}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE or transcoder."""
    cfg = api.Fields(view.json(CONFIG, allow_nan=True), str(view.file(CONFIG)))
    about = cfg.inside("metadata") if "metadata" in cfg else cfg
    architecture = _architecture(cfg)
    if architecture == "matching_pursuit":
        return _matching_pursuit(view, cfg, about)
    transcoder = architecture.endswith("transcoder")
    d_in, d_sae = cfg.size("d_in"), cfg.size("d_sae")
    d_out = cfg.size("d_out", d_in) if transcoder else d_in
    weights = view.weights(WEIGHTS)
    W_enc, W_dec = weights.take("W_enc", d_in, d_sae), weights.take("W_dec", d_sae, d_out)
    scale = W_dec.norm(dim=1) if _rescaled(cfg, architecture) else None
    b_dec = weights.take("b_dec", d_out)
    subtract = b_dec if not transcoder and cfg.flag("apply_b_dec_to_input", default=True) else None
    kind = NORMALISATIONS[_normalisation_name(cfg)]
    if kind == "whitening":
        if transcoder:
            message = f"{cfg.where}: covariance_whitening is not supported for transcoders."
            raise api.SAEFileError(message)
        W_enc, W_dec, b_dec, subtract = _unwhitened(view, W_enc, W_dec, b_dec, subtract)
    hook = about.text("hook_name", "hook_point")
    assumptions = _assumptions(cfg, about, hook)
    return api.CanonicalSAE(
        W_enc=W_enc,
        W_dec=_scaled_decoder(cfg, weights, W_dec),
        b_enc=None if architecture == "gated" else weights.take("b_enc", d_sae),
        b_dec=b_dec,
        activation=_activation(cfg, weights, ARCHITECTURES[architecture], d_sae),
        subtract=subtract,
        normalisation=_normalisation(view, kind, assumptions, invert=not transcoder),
        code_scale=scale,
        W_skip=weights.take("W_skip", d_out, d_in).T if "skip" in architecture else None,
        hook_in=hook,
        hook_out=about.text("hook_name_out") if transcoder else hook,
        metadata=_metadata(cfg, about, architecture),
        assumptions=tuple(assumptions),
    )


def _matching_pursuit(view: api.FileView, cfg: api.Fields, about: api.Fields) -> api.SAE:
    """No encoder: codes come from the decoder by greedy pursuit, with its bias on both sides or none."""
    from darkmatter_plugins.adapters._matching_pursuit import MatchingPursuitSAE, Stop

    d_in, d_sae = cfg.size("d_in"), cfg.size("d_sae")
    weights = view.weights(WEIGHTS)
    hook = about.text("hook_name", "hook_point")
    assumptions = _assumptions(cfg, about, hook)
    kind = NORMALISATIONS[_normalisation_name(cfg)]
    if kind == "whitening":
        message = f"{cfg.where}: covariance_whitening is not supported for matching_pursuit."
        raise api.SAEFileError(message)
    residual = cfg.number("residual_threshold")
    return MatchingPursuitSAE(
        weights.take("W_dec", d_sae, d_in),
        weights.take("b_dec", d_in) if cfg.flag("apply_b_dec_to_input", default=True) else None,
        Stop(
            residual=0.01 if residual is None else residual,
            iterations=cfg.size("max_iterations", d_in),
            on_repeat=cfg.flag("stop_on_duplicate_support", default=True),
        ),
        _normalisation(view, kind, assumptions, invert=True),
        hook=hook,
        metadata=_metadata(cfg, about, "matching_pursuit"),
        assumptions=tuple(assumptions),
        any_heads=cfg.text("reshape_activations") == "hook_z",
    )


def _architecture(cfg: api.Fields) -> str:
    """The architecture; before version 6 the activation function could overrule it."""
    old = cfg.text("activation_fn_str", "activation_fn")
    if old == "topk" and "k" in cfg.inside("activation_fn_kwargs"):
        return "topk"
    return cfg.choice("architecture", ARCHITECTURES, default="standard")


def _activation(cfg: api.Fields, weights: api.Weights, kind: str, d_sae: int) -> api.Activation:
    if kind == "gated":
        gate, growth, bias = (weights.take(name, d_sae) for name in ("b_gate", "r_mag", "b_mag"))
        return api.Gated(b_gate=gate, r_mag=growth, b_mag=bias)
    if kind in {"topk", "abstopk"}:
        k = cfg.size("k") if "k" in cfg else cfg.inside("activation_fn_kwargs").size("k")
        return api.TopK(k) if kind == "topk" else api.AbsTopK(k)
    if kind == "jumprelu":
        return api.JumpRelu(weights.take("threshold", d_sae, infinite=True))
    if kind == "topk_threshold":
        return api.JumpRelu(weights.take("topk_threshold"))
    return api.Relu()


def _rescaled(cfg: api.Fields, architecture: str) -> bool:
    """Whether codes are multiplied by the norms of their decoder rows (before any selection)."""
    if ARCHITECTURES[architecture] not in {"topk", "abstopk", "topk_threshold"}:
        return False
    # The defaults of SAELens's classes differ: only batchtopk rescales unless told not to.
    default = ARCHITECTURES[architecture] == "topk_threshold"
    return cfg.flag("rescale_acts_by_decoder_norm", default=default)


def _scaled_decoder(cfg: api.Fields, weights: api.Weights, W_dec: Tensor) -> Tensor:
    """Before version 6 a finetuned SAE multiplied its codes by ``scaling_factor`` in decode."""
    factor = weights.maybe("scaling_factor", W_dec.shape[0])
    if factor is None or bool((factor == 1).all()):
        return W_dec
    if not cfg.flag("finetuning_scaling_factor", default=False):
        message = (
            f"{weights.where}: tensor 'scaling_factor' is not all ones, but {cfg.where} does not say "
            "finetuning_scaling_factor: true; expected one or the other."
        )
        raise api.SAEFileError(message)
    return W_dec * factor[:, None]


def _normalisation_name(cfg: api.Fields) -> str:
    value: Any = cfg.values.get("normalize_activations")
    if isinstance(value, bool):  # versions before 4
        value = "expected_average_only_in" if value else "none"
    name = "normalize_activations"
    return api.Fields({name: value}, cfg.where).choice(name, NORMALISATIONS, default="none")


def _normalisation(
    view: api.FileView, kind: str, assumptions: list[str], *, invert: bool
) -> api.Normalisation:
    if kind == "layer_norm":
        return api.Normalisation(kind="layer_norm", invert=invert)
    if kind == "constant_norm":
        return api.Normalisation(kind="constant_norm", invert=invert)
    if kind != "scale":
        return api.Normalisation()
    factor = None
    if view.has(SCALER):
        factor = api.Fields(view.json(SCALER), str(view.file(SCALER))).number("scaling_factor")
    if factor is None:
        sentence = (
            "normalize_activations is expected_average_only_in but the files do not hold the scale; "
            "activations are taken unscaled, as SAE.load_from_disk does."
        )
        assumptions.append(api.Assumption(sentence, about="norm_factor"))
        return api.Normalisation(invert=invert)
    return api.Normalisation(kind="scale", factor=factor, invert=invert)


def _unwhitened(
    view: api.FileView, W_enc: Tensor, W_dec: Tensor, b_dec: Tensor, subtract: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights that read x, from weights that read (x - mean) @ matrix: both maps are affine."""
    if not view.has(WHITENING):
        message = (
            f"{view}: {CONFIG} has normalize_activations covariance_whitening, but {WHITENING} is not beside "
            "it; without its matrices the SAE cannot be evaluated."
        )
        raise api.SAEFileError(message)
    d_in, d_out = W_enc.shape[0], W_dec.shape[1]
    whitening = view.weights(WHITENING)
    mean = whitening.take("mean", d_in).double()
    matrix = whitening.take("matrix", d_in, d_in).double()
    inverse = whitening.take("inverse_matrix", d_out, d_out).double()
    out = b_dec.double() @ inverse + mean
    folded = (matrix @ W_enc.double(), W_dec.double() @ inverse, out, mean if subtract is None else out)
    W_enc, W_dec, b_dec, subtract = (tensor.float() for tensor in folded)
    return W_enc, W_dec, b_dec, subtract


def _assumptions(cfg: api.Fields, about: api.Fields, hook: str | None) -> list[str]:
    found: list[str] = []
    if hook is None:
        found.append(api.Assumption("hook point not recorded; none taken.", about="hook"))
    if "prepend_bos" not in about:
        likely = "BOS policy not recorded; SAELens's default, a BOS before each context, is likely."
        found.append(api.Assumption(likely, about="bos"))
    if "context_size" not in about:
        found.append(api.Assumption("context length not recorded.", about="context_length"))
    if "architecture" not in cfg:
        found.append(
            "architecture not recorded; taken from the activation function (standard where there is none)."
        )
    if "apply_b_dec_to_input" not in cfg and not (cfg.text("architecture") or "").endswith("transcoder"):
        found.append("apply_b_dec_to_input not recorded; taken as true, SAELens's default.")
    head = about.integer("hook_head_index", "hook_point_head_index")
    if head is not None:
        found.append(f"reads head {head} of its hook point only.")
    return found


def _metadata(cfg: api.Fields, about: api.Fields, architecture: str) -> api.SAEMetadata:
    return api.SAEMetadata(
        format="saelens",
        architecture=architecture,
        model=about.text("model_name"),
        context_length=about.integer("context_size"),
        prepend_bos=about.values.get("prepend_bos")
        if isinstance(about.values.get("prepend_bos"), bool)
        else None,
        dataset=about.text("dataset_path"),
        dtype=(cfg.text("dtype") or "float32").removeprefix("torch."),
        processing=_processing(about),
        extra=about.some(*EXTRA),
    )


def _processing(about: api.Fields) -> Literal["raw", "compat"] | None:
    """How the weights of the model were processed, where the files say it in so many words."""
    options = about.values.get("model_from_pretrained_kwargs")
    for place in (options, about.values):
        centred = place.get("center_writing_weights") if isinstance(place, Mapping) else None
        if isinstance(centred, bool):
            return "compat" if centred else "raw"
    return None


ADAPTER = api.SAEAdapter(
    "saelens",
    "SAELens SAEs and transcoders (cfg.json, sae_weights.safetensors)",
    "darkmatter_plugins.adapters.saelens:load",
    filenames=(WEIGHTS,),
    detect=detect,
)
