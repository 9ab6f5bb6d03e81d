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
TELLING = ("architecture", "metadata", "hook_name", "hook_point", "activation_fn_str")
"""Fields by which a configuration is known as SAELens's."""

ARCHITECTURES = {
    "standard": "relu",
    "topk": "topk",
    "abstopk": "abstopk",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "batchtopk": "topk_threshold",
    "matryoshka_batchtopk": "topk_threshold",
    "matching_pursuit": "pursuit",
    "temporal": "temporal",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
"""Architectures that are read, and the activation each one has."""

STANDARD = {"W_enc", "W_dec", "b_enc", "b_dec"}
"""Tensors of the architecture that an SAE has where none is recorded."""

NORMALISATIONS = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm",
    "expected_average_only_in": "scale",
    "covariance_whitening": "whitening",
}
OLD_ACTIVATIONS = {"relu": "max(h, 0)", "tanh-relu": "tanh(max(h, 0))", "topk": "the k largest"}
FACTORS = ("finetuning_scaling_factor", "scaling_factor")
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
    known = [key for key in TELLING if key in cfg]
    if "d_in" not in cfg or not known:
        return api.Refusal(f"{CONFIG} has no d_in, or none of {', '.join(TELLING)}")
    return api.Detection(f"{CONFIG} has d_in and {', '.join(known)}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE or transcoder."""
    cfg = api.Fields(view.json(CONFIG, allow_nan=True), str(view.file(CONFIG)))
    about = cfg.inside("metadata") if "metadata" in cfg else cfg
    architecture = _architecture(view, cfg)
    if architecture == "matching_pursuit":
        return _matching_pursuit(view, cfg, about)
    if architecture == "temporal":
        return _temporal(view, cfg, about)
    transcoder = architecture.endswith("transcoder")
    d_in, d_sae = cfg.size("d_in"), cfg.size("d_sae")
    d_out = cfg.size("d_out") if transcoder else d_in
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
    hook_out = about.text("hook_name_out") if transcoder else hook
    assumptions = [*_assumptions(cfg, about, hook), *_defaults(cfg, architecture)]
    if hook_out is None and hook is not None:
        taken = "hook_name_out not recorded; taken as the hook point that is read."
        assumptions.append(api.Assumption(taken, about="hook_out"))
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
        hook_out=hook_out,
        metadata=_metadata(cfg, about, architecture),
        assumptions=tuple(assumptions),
    )


def _matching_pursuit(view: api.FileView, cfg: api.Fields, about: api.Fields) -> api.SAE:
    """No encoder: codes come from the decoder by greedy pursuit, with its bias on both sides or none."""
    from darkmatter_plugins.adapters._matching_pursuit import MatchingPursuitSAE, Stop

    d_in, d_sae = cfg.size("d_in"), cfg.size("d_sae")
    weights = view.weights(WEIGHTS)
    hook = about.text("hook_name", "hook_point")
    assumptions = [*_assumptions(cfg, about, hook), *_defaults(cfg, "matching_pursuit")]
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


def _temporal(view: api.FileView, cfg: api.Fields, about: api.Fields) -> api.SAE:
    """Sparse codes of what attention over earlier tokens does not predict; reads whole sequences."""
    from darkmatter_plugins.adapters import _temporal as temporal

    d_in, d_sae = cfg.size("d_in"), cfg.size("d_sae")
    weights = view.weights(WEIGHTS)
    hook = about.text("hook_name", "hook_point")
    assumptions = _assumptions(cfg, about, hook)
    heads, layers, bottleneck = temporal.attention_sizes(cfg, d_sae)
    temporal.no_more_layers(weights, layers, cfg.where)
    W_dec = weights.take("W_dec", d_sae, d_in)
    tied = cfg.flag("tied_weights", default=True)
    biased = cfg.flag("apply_b_dec_to_input", default=True)
    if cfg.values.get("normalize_activations") == "constant_scalar_rescale":
        factor = cfg.number("activation_normalization_factor")
        normalisation = api.Normalisation(kind="scale", factor=1.0 if factor is None else factor)
    else:
        kind = NORMALISATIONS[_normalisation_name(cfg)]
        normalisation = _normalisation(view, kind, assumptions, invert=True)
    return temporal.TemporalSAE(
        W_dec.T if tied else weights.take("W_enc", d_in, d_sae),
        W_dec,
        weights.take("b_dec", d_in),
        temporal.attention_layers(weights, layers, d_sae, bottleneck),
        temporal.Form(
            heads,
            temporal.chosen_k(cfg, d_sae),
            subtract=biased,
            add=biased or not tied,
            normalisation=normalisation,
        ),
        hook=hook,
        metadata=_metadata(cfg, about, "temporal"),
        assumptions=tuple(assumptions),
    )


def _architecture(view: api.FileView, cfg: api.Fields) -> str:
    """The architecture; before version 6 the activation function could overrule it."""
    named = cfg.text("activation_fn_str", "activation_fn")
    if _old_activation(cfg) == "topk":
        return "topk"
    if named is None and "k" in cfg.inside("activation_fn_kwargs"):
        message = f"{cfg.where}: field 'activation_fn_str' (or 'activation_fn') is missing; expected 'topk', "
        raise api.SAEFileError(message + "since activation_fn_kwargs has k.")
    if "architecture" not in cfg and ("d_out" in cfg or _tensors(view) != STANDARD):
        message = (
            f"{cfg.where}: field 'architecture' is missing; expected one of {', '.join(ARCHITECTURES)}. "
            f"Without it an SAE is standard, with {', '.join(sorted(STANDARD))}; "
            f"{view.file(WEIGHTS)} has {', '.join(sorted(_tensors(view)))[:200]}."
        )
        raise api.SAEFileError(message)
    return cfg.choice("architecture", ARCHITECTURES, default="standard")


def _old_activation(cfg: api.Fields) -> str:
    """The activation function that versions before 6 named beside the architecture."""
    name = "activation_fn_str" if "activation_fn_str" in cfg else "activation_fn"
    found = cfg.choice(name, OLD_ACTIVATIONS, default="relu")
    architecture = cfg.text("architecture") or "standard"
    if found == "tanh-relu" and architecture != "standard":
        message = f"{cfg.where}: field {name!r} is 'tanh-relu' with the architecture {architecture!r}; "
        raise api.SAEFileError(message + "expected it with 'standard' alone.")
    return found


def _tensors(view: api.FileView) -> set[str]:
    """The names in the weights' file, but for the scale that any architecture could have."""
    return set(view.header(WEIGHTS) or ()) - {"scaling_factor"}


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
    if _old_activation(cfg) == "tanh-relu":
        from darkmatter_plugins.adapters._tanh_relu import TanhRelu

        return TanhRelu()
    return api.Relu()


def _rescaled(cfg: api.Fields, architecture: str) -> bool:
    """Whether codes are multiplied by the norms of their decoder rows (before any selection)."""
    if ARCHITECTURES[architecture] not in {"topk", "abstopk", "topk_threshold"}:
        return False
    # The defaults of SAELens's classes differ: only batchtopk rescales unless told not to.
    default = ARCHITECTURES[architecture] == "topk_threshold"
    return cfg.flag("rescale_acts_by_decoder_norm", default=default)


def _scaled_decoder(cfg: api.Fields, weights: api.Weights, W_dec: Tensor) -> Tensor:
    """The decoder of a finetuned SAE, whose codes were multiplied by a factor before it.

    Versions 0.4 to 2 wrote ``scaling_factor`` and always used it; versions 3 to 5 wrote
    ``finetuning_scaling_factor`` and used it where the configuration says so.
    """
    name = next((name for name in FACTORS if name in weights), None)
    factor = weights.take(name, W_dec.shape[0]) if name is not None else None
    if factor is None or bool((factor == 1).all()):
        return W_dec
    if not cfg.flag("finetuning_scaling_factor", default=name == "scaling_factor"):
        message = (
            f"{weights.where}: tensor {name!r} is not all ones, but {cfg.where} does not say "
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
            "normalize_activations is expected_average_only_in but the files do not hold the scaling_factor; "
            "activations are taken unscaled, as SAE.load_from_disk does, so codes and reconstruction are not "
            "those of training unless the scale was folded into the weights."
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
        taken = (
            "architecture not recorded; taken from the activation function (standard where there is none)."
        )
        found.append(api.Assumption(taken))
    head = about.integer("hook_head_index", "hook_point_head_index")
    if head is not None:
        found.append(api.Assumption(f"reads head {head} of its hook point only."))
    if about.number("noise_scale"):
        found.append(api.Assumption("noise_scale is not 0: the library's noise is left out."))
    return found


def _defaults(cfg: api.Fields, architecture: str) -> list[str]:
    """SAELens's defaults of fields that shape numbers, where they are not recorded."""
    kind = ARCHITECTURES[architecture]
    taken = {"normalize_activations": "none"}
    if not architecture.endswith("transcoder"):
        taken["apply_b_dec_to_input"] = "true"
    if kind in {"topk", "abstopk", "topk_threshold"}:
        taken["rescale_acts_by_decoder_norm"] = "true" if kind == "topk_threshold" else "false"
    if kind == "pursuit":
        taken |= {"residual_threshold": "0.01", "max_iterations": "d_in", "stop_on_duplicate_support": "true"}
    return [
        api.Assumption(f"{name} not recorded; taken as {value}, SAELens's default.")
        for name, value in taken.items()
        if name not in cfg
    ]


def _metadata(cfg: api.Fields, about: api.Fields, architecture: str) -> api.SAEMetadata:
    return api.SAEMetadata(
        format="saelens",
        architecture=architecture,
        model=about.text("model_name"),
        context_length=about.integer("context_size"),
        prepend_bos=about.flag("prepend_bos", default=False) if "prepend_bos" in about else None,
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
    layouts=(
        api.Layout(
            name="SAELens 6",
            files=("cfg.json", "sae_weights.safetensors", "activation_scaler.json of a checkpoint"),
            architectures=tuple(ARCHITECTURES),
            known_from="SAELens 6.51 and 6.54, which wrote and evaluated the samples",
            traps=(
                "The skip connection is added in forward only, so decode(encode(x)) lacks it.",
                (
                    "layer_norm divides by the unbiased deviation plus 1e-5, and the output by the deviation "
                    "alone."
                ),
                "abstopk keeps the sign of its codes.",
                (
                    "A training checkpoint of batchtopk holds one topk_threshold for codes multiplied by "
                    "decoder norms; SAELens cannot load it as an SAE."
                ),
                "A checkpoint's scale, or covariance_whitening's matrices, lie in a file of their own.",
                (
                    "expected_average_only_in names a scale that is in no file of a finished run; "
                    "load_from_disk applies none, --override norm_factor=NUMBER does."
                ),
            ),
            samples=("sae_lens/[!l]*", "sae_lens_6_54/[!l]*"),
        ),
        api.Layout(
            name="SAELens before 6",
            files=("cfg.json without metadata", "sae_weights.safetensors"),
            architectures=("standard", "topk", "jumprelu", "gated"),
            known_from="sae-lens 2.1, 3.22 and 5.11, which wrote and evaluated the samples; others by hand",
            traps=(
                "activation_fn_str topk means top-k even where architecture says standard.",
                "activation_fn_str tanh-relu means tanh(relu(h)); SAELens 6 reads it as relu without a word.",
                (
                    "Versions to 2 always multiply codes by scaling_factor; SAELens 6 cannot load one that "
                    "is not all ones."
                ),
                (
                    "Versions 3 to 5 call it finetuning_scaling_factor; neither they nor SAELens 6 can "
                    "load it again."
                ),
                "normalize_activations may be a bool: true means expected_average_only_in.",
            ),
            samples=("sae_lens_legacy/*", "sae_lens/legacy_*", "sae_lens_6_54/legacy_*"),
        ),
    ),
)
