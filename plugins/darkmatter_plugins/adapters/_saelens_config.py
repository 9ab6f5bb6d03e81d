"""What every SAELens configuration says, whatever the architecture: normalisation, metadata, defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from darkmatter import api
from darkmatter_plugins.adapters._unsaid import DATASET

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
SCALER = "activation_scaler.json"

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

NORMALISATIONS = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm",
    "expected_average_only_in": "scale",
    "covariance_whitening": "whitening",
}
TEMPORAL = {
    "n_heads": "8",
    "n_attn_layers": "1",
    "bottleneck_factor": "64",
    "sae_diff_type": "topk",
    "tied_weights": "true",
}
"""Defaults of temporal SAEs."""

EXTRA = (
    *("hook_head_index", "hf_hook_name", "neuronpedia_id", "seqpos_slice", "exclude_special_tokens"),
    *("model_from_pretrained_kwargs", "sae_lens_version", "sae_lens_training_version"),
    *("training_architecture", "training_architecture_details"),
)


def normalisation_name(cfg: api.Fields) -> str:
    """One of ``NORMALISATIONS``."""
    value: Any = cfg.values.get("normalize_activations")
    if isinstance(value, bool):  # versions before 4
        value = "expected_average_only_in" if value else "none"
    name = "normalize_activations"
    return api.Fields({name: value}, cfg.where).choice(name, NORMALISATIONS, default="none")


def normalisation(
    view: api.FileView, kind: str, assumptions: list[api.Assumption], *, invert: bool
) -> api.Normalisation:
    """The normalisation of a kind; a checkpoint's scale that is in no file is said in ``assumptions``."""
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


def assumptions_of(cfg: api.Fields, about: api.Fields, hook: str | None) -> list[api.Assumption]:
    """What a file of any architecture may leave open."""
    found: list[api.Assumption] = []
    if hook is None:
        found.append(api.Assumption("hook point not recorded; none taken.", about="hook"))
    if "prepend_bos" not in about:
        likely = "BOS policy not recorded; SAELens's default, a BOS before each context, is likely."
        found.append(api.Assumption(likely, about="bos"))
    if "context_size" not in about:
        found.append(api.Assumption("context length not recorded.", about="context_length"))
    if "dataset_path" not in about:
        found.append(DATASET)
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


def defaults_of(cfg: api.Fields, architecture: str) -> list[api.Assumption]:
    """SAELens's defaults of fields that shape numbers, where they are not recorded."""
    kind = ARCHITECTURES[architecture]
    taken = {"normalize_activations": "none"}
    if not architecture.endswith("transcoder"):
        taken["apply_b_dec_to_input"] = "true"
    if kind in {"topk", "abstopk", "topk_threshold"}:
        taken["rescale_acts_by_decoder_norm"] = "true" if kind == "topk_threshold" else "false"
    if kind == "pursuit":
        taken |= {"residual_threshold": "0.01", "max_iterations": "d_in", "stop_on_duplicate_support": "true"}
    if kind == "temporal":
        taken |= TEMPORAL
        if cfg.text("sae_diff_type") != "relu":
            taken["kval_topk"] = "no limit"
        if cfg.values.get("normalize_activations") == "constant_scalar_rescale":
            taken["activation_normalization_factor"] = "1"
    return [
        api.Assumption(f"{name} not recorded; taken as {value}, SAELens's default.")
        for name, value in taken.items()
        if name not in cfg
    ]


def metadata_of(cfg: api.Fields, about: api.Fields, architecture: str) -> api.SAEMetadata:
    """What the configuration says of the SAE."""
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
