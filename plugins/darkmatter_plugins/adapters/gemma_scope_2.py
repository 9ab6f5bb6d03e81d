"""Gemma Scope 2: ``params.safetensors`` with lower-case names, ``config.json``, the rest in folder names."""

from __future__ import annotations

import re
from typing import NamedTuple

from darkmatter import api
from darkmatter_plugins.adapters._hooks import module_end
from darkmatter_plugins.adapters._layers import chosen_layer, codes_alone, layer_files
from darkmatter_plugins.adapters._names import match_in_folders
from darkmatter_plugins.adapters._unsaid import DATASET

CONFIG = "config.json"
WEIGHTS = "params.safetensors"
LAYER_FILE = re.compile(r"params_layer_(\d{1,4})\.safetensors")
DECODER = "w_dec"
TENSORS = {"w_enc", DECODER, "b_enc", "b_dec", "threshold"}
SKIP = "affine_skip_connection"
REPOSITORY = re.compile(r"gemma-scope-2-(270m|1b|4b|12b|27b)-(pt|it)")
SITE = re.compile(r"(resid_post|attn_out|mlp_out|transcoder|clt|crosscoder)(?:_all)?")
LAYER = re.compile(r"layer_(\d+)_.*")
MLP = ("pre_feedforward_layernorm.output", "post_feedforward_layernorm.output")
SITES = {
    "resid_post": ("output", "output"),
    "attn_out": ("self_attn.o_proj.input", "self_attn.o_proj.input"),
    "mlp_out": (MLP[1], MLP[1]),
    "transcoder": MLP,
    "clt": MLP,
}
"""By folder, the ends of modules below ``model.layers.N`` that are read and predicted."""
HEAD_SIZE = {"27b": 128}
ARCHITECTURES = {"jump_relu": "relu(h) where h exceeds a threshold"}


class Place(NamedTuple):
    """What the names of repository and folders say."""

    model: str | None
    size: str
    site: str | None
    layer: int | None


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """The five tensors of a JumpReLU SAE, with lower-case matrices."""
    name = WEIGHTS if WEIGHTS in view.names() else next(iter(layer_files(view, LAYER_FILE).values()), None)
    if name is None:
        return api.Refusal(f"no file is named {WEIGHTS} or params_layer_N.safetensors")
    missing = TENSORS - set(view.header(name) or {})
    if missing:
        return api.Refusal(f"{name} has no tensor {', '.join(sorted(missing))}")
    return api.Detection(f"{name} has {', '.join(sorted(TENSORS))}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE or transcoder, or the encoder of one layer of a cross-layer transcoder."""
    config = api.Fields(view.json(CONFIG) if view.has(CONFIG) else {}, str(view.file(CONFIG)))
    config.choice("architecture", ARCHITECTURES, default="jump_relu")
    place = _place(view)
    if "crosscoder" in {config.text("type"), place.site}:
        message = (
            f"{view}: is a crosscoder (its configuration or a folder's name says so): it reads several "
            f"layers at once, and an SAE reads one hook point. Supported: {', '.join(SITES)}."
        )
        raise api.SAEFileError(message)
    if WEIGHTS in view.names():
        return _single(view.weights(WEIGHTS), config, place)
    layer, name = chosen_layer(view, LAYER_FILE)
    weights = view.weights(name, only=TENSORS - {DECODER})
    return _cross_layer(weights, config, place._replace(layer=layer))


def _single(weights: api.Weights, config: api.Fields, place: Place) -> api.SAE:
    threshold, b_dec = weights.take("threshold", None, infinite=True), weights.take("b_dec", None)
    d_sae = threshold.shape[0]
    d_in = b_dec.shape[0]  # transcoders too: the model's width on both sides
    skip = weights.maybe(SKIP, d_in, d_in)
    if config.flag("affine_connection", default=False) and skip is None:
        message = (
            f"{weights.where}: has no tensor {SKIP!r}, though {config.where} has affine_connection: true."
        )
        raise api.SAEFileError(message)
    hook_in, hook_out, assumptions = _hooks(config, place)
    transcodes = hook_in != hook_out or "transcoder" in {config.text("type"), place.site}
    kind = ("skip_transcoder" if skip is not None else "transcoder") if transcodes else ""
    sae = api.CanonicalSAE(
        W_enc=weights.take("w_enc", d_in, d_sae),
        W_dec=weights.take(DECODER, d_sae, d_in),
        b_enc=weights.take("b_enc", d_sae),
        b_dec=b_dec,
        activation=api.JumpRelu(threshold),
        W_skip=skip,
        head_shape=_head_shape(hook_in, place.size, d_in),
        hook_in=hook_in,
        hook_out=hook_out,
        metadata=_metadata("_".join(filter(None, ("jumprelu", kind))), config, place, weights),
        assumptions=(*assumptions, *_common(config, place)),
    )
    weights.nothing_else()
    return sae


def _cross_layer(weights: api.Weights, config: api.Fields, place: Place) -> api.SAE:
    """The encoder; the decoder [d_sae, layers, d_in] is checked for its shape and left unread."""
    assert place.layer is not None
    threshold = weights.take("threshold", None, infinite=True)
    d_sae, d_in = threshold.shape[0], weights.take("b_dec", None).shape[0]
    weights.sized(DECODER, d_sae, None, d_in)
    hook_in, _, assumptions = _hooks(config, place._replace(site=place.site or "clt"))
    sae = api.EncodeOnlySAE(
        W_enc=weights.take("w_enc", d_in, d_sae),
        b_enc=weights.take("b_enc", d_sae),
        activation=api.JumpRelu(threshold),
        reason=codes_alone(place.layer),
        hook=hook_in,
        metadata=_metadata("jumprelu_cross_layer_transcoder", config, place, weights),
        assumptions=(*assumptions, *_common(config, place)),
    )
    weights.nothing_else(SKIP)
    return sae


def _place(view: api.FileView) -> Place:
    """Read the names of the folders, innermost first, the repository's among them."""
    repository, named, folder = (match_in_folders(view, pattern) for pattern in (REPOSITORY, SITE, LAYER))
    site, layer = named[1] if named else None, int(folder[1]) if folder else None
    if repository is None:
        return Place(None, "", site, layer)
    return Place(_model(f"gemma-3-{repository[1]}-{repository[2]}"), repository[1], site, layer)


def _model(name: str) -> str:
    """A model's repository: configurations also say gemma-v3-…, and one model has no -pt in its name."""
    name = "google/" + name.removeprefix("google/").replace("gemma-v3-", "gemma-3-")
    return name.removesuffix("-pt") if name.endswith("-270m-pt") else name


def _hooks(config: api.Fields, place: Place) -> tuple[str | None, str | None, list[api.Assumption]]:
    """Hook points from the configuration; where it says nothing, from the folders' names."""
    said = config.text("hf_hook_point_in")
    if said is not None:
        out = config.text("hf_hook_point_out")
        if out is None and place.site != "clt" and said.endswith(MLP[0]):
            message = (
                f"{config.where}: field 'hf_hook_point_out' is missing; expected the place that a transcoder "
                "predicts."
            )
            raise api.SAEFileError(message)
        ends = [said, out or said]
        found = [module_end(end.replace("{all}", str(place.layer))) for end in ends]
        if None not in found:
            return found[0], found[1], []
        what = f"hook points {' and '.join(dict.fromkeys(ends))} have no TransformerLens name that we know."
        return None, None, [api.Assumption(what, about="hook")]
    if place.layer is None or place.site not in SITES:
        what = (
            f"hook point not recorded: no {CONFIG}, and no folders like resid_post/layer_7_width_16k_l0_big."
        )
        return None, None, [api.Assumption(what, about="hook")]
    before, after = (module_end(f"model.layers.{place.layer}.{end}") for end in SITES[place.site])
    what = f"hook point not recorded; took {before} from the folders' names."
    return before, after, [api.Assumption(what, about="hook")]


def _head_shape(hook: str | None, size: str, d_in: int) -> tuple[int, int] | None:
    """(heads, head size) of an attention SAE of a known model."""
    width = HEAD_SIZE.get(size, 256)
    if hook is None or not hook.endswith("hook_z") or not size or d_in % width:
        return None
    return d_in // width, width


def _metadata(architecture: str, config: api.Fields, place: Place, weights: api.Weights) -> api.SAEMetadata:
    name = config.text("model_name")
    return api.SAEMetadata(
        format="gemma_scope_2",
        architecture=architecture,
        model=place.model if name is None else _model(name),
        context_length=1024,
        prepend_bos=True,
        dtype=str(weights["w_enc"].dtype).removeprefix("torch."),
        extra=config.some("l0", "type", "hf_hook_point_in", "hf_hook_point_out"),
    )


def _common(config: api.Fields, place: Place) -> list[api.Assumption]:
    said = [
        api.Assumption("context length not recorded; took 1,024, as SAELens does.", about="context_length"),
        api.Assumption("BOS policy not recorded; took contexts that begin with BOS.", about="bos"),
        DATASET,
    ]
    if "model_name" in config:
        return said
    source = (
        f"took {place.model} from the repository's name" if place.model else "no folder is named after it"
    )
    return [api.Assumption(f"model not recorded; {source}.", about="model"), *said]


HAND_WRITTEN = "files written by hand to the layout of SAELens 6.54's loader, and evaluated by it"

ADAPTER = api.SAEAdapter(
    "gemma_scope_2",
    "Gemma Scope 2 (params.safetensors with w_enc, w_dec)",
    "darkmatter_plugins.adapters.gemma_scope_2:load",
    filenames=(WEIGHTS, "params_layer_*.safetensors"),
    detect=detect,
    layouts=(
        api.Layout(
            "SAE or transcoder",
            files=(
                f"{{resid_post,attn_out,mlp_out,transcoder}}[_all]/layer_N_width_W_l0_X/{WEIGHTS}",
                CONFIG,
            ),
            architectures=("jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder"),
            known_from=HAND_WRITTEN,
            traps=(
                "affine_skip_connection is stored [d_in, d_out]; SAELens before 6.54 applied its transpose.",
                "A transcoder reads the output of the norm before the MLP, mlp.hook_in.",
                "SAELens names that hook_mlp_in, which in TransformerLens stands before the norm.",
                "attn_out reads the input of the output projection, hook_z with heads side by side.",
                "The model may be spelled gemma-v3-1b-pt; the repository of gemma-3-270m has no -pt.",
            ),
            samples=(
                "gemma_scope_2/resid_post*",
                "gemma_scope_2/attn_out",
                "gemma_scope_2/mlp_out",
                "gemma_scope_2/transcoder*",
            ),
        ),
        api.Layout(
            "cross-layer transcoder",
            files=("clt/width_W_l0_X/params_layer_N.safetensors", CONFIG),
            architectures=("jumprelu_cross_layer_transcoder",),
            known_from=HAND_WRITTEN,
            traps=(
                "One layer gives codes alone: a layer's output is written by all layers up to it.",
                "SAELens sums the decoders of one layer, which reconstructs nothing.",
                "A crosscoder's files have the same names; it reads several layers and is refused.",
            ),
            samples=("gemma_scope_2/clt*",),
        ),
    ),
)
