"""circuit-tracer: ``layer_N.safetensors`` is a per-layer transcoder; ``W_enc_N`` a cross-layer one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.adapters._layers import chosen_layer, codes_alone, layer_files
from darkmatter_plugins.adapters._unsaid import DATASET

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.yaml"
FILE = re.compile(r"(layer|W_enc)_(\d{1,4})\.safetensors")
THRESHOLD = "activation_function.threshold"
HOOKS = ("feature_input_hook", "feature_output_hook")


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A file named after its layer, with the tensors of a per-layer or of a cross-layer transcoder."""
    files = layer_files(view, FILE)
    if not files:
        return api.Refusal("no file is named layer_N.safetensors or W_enc_N.safetensors")
    layer, name = next(iter(files.items()))
    header = view.header(name) or {}
    wanted = (
        {"W_enc", "W_dec", "b_enc", "b_dec"}
        if name.startswith("layer")
        else {f"{tensor}_{layer}" for tensor in ("W_enc", "b_enc", "b_dec")}
    )
    missing = wanted - set(header)
    if missing:
        return api.Refusal(f"{name} has no tensor {', '.join(sorted(missing))}")
    return api.Detection(f"{name} has the tensors {', '.join(sorted(wanted))}")


def load(view: api.FileView, options: api.LoadOptions) -> api.SAE:
    """Read one per-layer transcoder, or the encoder of one layer of a cross-layer transcoder."""
    layer, name = chosen_layer(view, FILE)
    weights = view.weights(name)
    stored = options.overrides.orientation
    read = _per_layer if name.startswith("layer") else _cross_layer
    return read(weights, layer, _config(view), stored)


def _per_layer(weights: api.Weights, layer: int, config: api.Fields, stored: str | None) -> api.SAE:
    b_enc, b_dec = weights.take("b_enc", None), weights.take("b_dec", None)
    d_sae, d_model = b_enc.shape[0], b_dec.shape[0]
    threshold = _threshold(weights, THRESHOLD, d_sae)
    skip = weights.maybe("W_skip", d_model, d_model)
    kind = ("jumprelu_" if threshold is not None else "") + ("skip_" if skip is not None else "")
    hook_in, hook_out = (_hook(config, field, layer) for field in HOOKS)
    if hook_in is not None and hook_out is None:
        message = f"{config.where}: field {HOOKS[1]!r} is missing; expected the hook point it predicts."
        raise api.SAEFileError(message)
    sae = api.CanonicalSAE(
        W_enc=weights.encoder("W_enc", d_model, d_sae, stored),
        W_dec=weights.take("W_dec", d_sae, d_model),
        b_enc=b_enc,
        b_dec=b_dec,
        activation=_activation(threshold),
        W_skip=None if skip is None else skip.T,
        hook_in=hook_in,
        hook_out=hook_out,
        metadata=_metadata(f"{kind}transcoder", config, weights["W_enc"], layer),
        assumptions=_assumptions(config),
    )
    weights.nothing_else()
    return sae


def _cross_layer(weights: api.Weights, layer: int, config: api.Fields, stored: str | None) -> api.SAE:
    """The encoder; the decoders, by far the larger files, change no code and are left unread."""
    b_enc, b_dec = weights.take(f"b_enc_{layer}", None), weights.take(f"b_dec_{layer}", None)
    d_sae, d_model = b_enc.shape[0], b_dec.shape[0]
    threshold = _threshold(weights, f"threshold_{layer}", d_sae)
    kind = "" if threshold is None else "jumprelu_"
    sae = api.EncodeOnlySAE(
        W_enc=weights.encoder(f"W_enc_{layer}", d_model, d_sae, stored),
        b_enc=b_enc,
        activation=_activation(threshold),
        reason=codes_alone(layer),
        hook=_hook(config, HOOKS[0], layer),
        metadata=_metadata(f"{kind}cross_layer_transcoder", config, weights[f"W_enc_{layer}"], layer),
        assumptions=_assumptions(config),
    )
    weights.nothing_else()
    return sae


def _threshold(weights: api.Weights, name: str, d_sae: int) -> Tensor | None:
    return weights.take(name, d_sae, infinite=True) if name in weights else None


def _activation(threshold: Tensor | None) -> api.Activation:
    """ReLU, or h · [h > threshold]: the library puts no ReLU before or behind its threshold."""
    if threshold is None:
        return api.Relu()
    return api.Threshold(threshold) if bool((threshold < 0).any()) else api.JumpRelu(threshold)


def _config(view: api.FileView) -> api.Fields:
    """The configuration of all layers beside them; without one, no fields."""
    values = view.yaml(CONFIG) if view.has(CONFIG) else {}
    return api.Fields(values, str(view.file(CONFIG)))


def _hook(config: api.Fields, field: str, layer: int) -> str | None:
    name = config.text(field)
    return None if name is None else f"blocks.{layer}.{name}"


def _metadata(architecture: str, config: api.Fields, encoder: Tensor, layer: int) -> api.SAEMetadata:
    return api.SAEMetadata(
        format="circuit_tracer",
        architecture=architecture,
        model=config.text("model_name"),
        dtype=str(encoder.dtype).removeprefix("torch."),
        extra={"layer": layer} | config.some(*HOOKS, "scan"),
    )


def _assumptions(config: api.Fields) -> tuple[api.Assumption, ...]:
    said = [
        api.Assumption("context length not recorded.", about="context_length"),
        api.Assumption("BOS policy not recorded.", about="bos"),
        DATASET,
        api.Assumption(
            "position 0 is encoded like any other; circuit-tracer sets its codes to 0 unless told otherwise.",
            to_be_sure="whether position 0 shall count; --skip-first 1 leaves it out",
        ),
    ]
    if "model_name" not in config:
        said.insert(
            0, api.Assumption(f"model not recorded ({CONFIG} beside the weights says it).", about="model")
        )
    if HOOKS[0] not in config:
        what = f"hook points not recorded ({CONFIG} beside the weights says them)."
        said.insert(0, api.Assumption(what, about="hook"))
    return tuple(said)


ADAPTER = api.SAEAdapter(
    "circuit_tracer",
    "circuit-tracer transcoders (layer_N.safetensors, W_enc_N.safetensors)",
    "darkmatter_plugins.adapters.circuit_tracer:load",
    filenames=("layer_*.safetensors", "W_enc_*.safetensors"),
    detect=detect,
    follows=frozenset({"orientation"}),
    layouts=(
        api.Layout(
            "per-layer transcoder",
            files=("layer_N.safetensors", CONFIG),
            architectures=(
                "transcoder",
                "skip_transcoder",
                "jumprelu_transcoder",
                "jumprelu_skip_transcoder",
            ),
            known_from="circuit-tracer 0.5.0 (classes that save and load it); SAELens 6.54",
            traps=(
                "W_enc is stored [d_sae, d_in]; a square one is refused unless you say which way it lies.",
                "A threshold cuts h without a ReLU: below 0 it lets negative codes through.",
                "The skip connection W_skip [d_out, d_in] belongs to the reconstruction: x W_skip^T.",
                "circuit-tracer sets all codes of position 0 to zero by default; they are not zero here.",
                "SAELens takes the training batch size for the context length; it is not recorded.",
            ),
            samples=("per_layer_transcoder/*", "circuit_tracer/per_layer_*"),
        ),
        api.Layout(
            "cross-layer transcoder",
            files=("W_enc_N.safetensors", "W_dec_N.safetensors", CONFIG),
            architectures=("cross_layer_transcoder", "jumprelu_cross_layer_transcoder"),
            known_from="circuit-tracer 0.5.0 (class that saves and loads it)",
            traps=(
                "One layer gives codes alone: a layer's output is written by all layers up to it.",
                "SAELens sums the decoders of one layer, which reconstructs nothing.",
                "SAELens drops the thresholds of such a file and applies a ReLU.",
            ),
            samples=("circuit_tracer/cross_layer_*",),
        ),
    ),
)
