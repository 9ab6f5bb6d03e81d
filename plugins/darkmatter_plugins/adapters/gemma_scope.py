"""Gemma Scope (the first): ``params.npz``, everything else in the names of repository and folders."""

from __future__ import annotations

import itertools
import math
import re
from typing import NamedTuple

from darkmatter import api
from darkmatter_plugins.adapters._names import folders, match_in_folders
from darkmatter_plugins.adapters._unsaid import DATASET

WEIGHTS = "params.npz"
REPOSITORY = re.compile(r"gemma-scope-(2b|9b|27b)-(pt|it)-(res|mlp|att|transcoders)")
LAYER = re.compile(r"layer_(\d+)")
L0 = re.compile(r"average_l0_(\d+)")
NAMES = {"w_enc": "W_enc", "w_dec": "W_dec"}
TENSORS = {"W_enc", "W_dec", "b_enc", "b_dec", "threshold"}
SITES = {
    "res": ("hook_resid_post", "hook_resid_post"),
    "mlp": ("hook_mlp_out", "hook_mlp_out"),
    "att": ("attn.hook_z", "attn.hook_z"),
    "transcoders": ("ln2.hook_normalized", "hook_mlp_out"),
}
"""Hook points read and predicted. Transcoders were trained with the gain of the norm before the MLP folded
into the MLP (arXiv 2408.05147, section on the language model): they read what the norm gives without it."""
HEAD_SIZE = {"2b": 256, "9b": 256, "27b": 128}


class Place(NamedTuple):
    """What the names above the file say."""

    model: str | None
    size: str | None
    site: str | None
    layer: int | None
    embedding: bool
    average_l0: int | None


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """An npz with the five tensors of a JumpReLU SAE."""
    header = view.header(WEIGHTS) or {}
    names = {NAMES.get(name, name) for name in header}
    if not names >= TENSORS:
        return api.Refusal(
            f"{WEIGHTS} has the arrays {', '.join(sorted(names)[:10])}; expected {', '.join(sorted(TENSORS))}"
        )
    return api.Detection(f"{WEIGHTS} has {', '.join(sorted(TENSORS))}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE or transcoder."""
    tensors = {NAMES.get(name, name): tensor for name, tensor in view.tensors(WEIGHTS).items()}
    weights = api.Weights(tensors, str(view.file(WEIGHTS)))
    place = _place(view)
    threshold = weights.take("threshold", None, infinite=True)
    d_sae = threshold.shape[0]
    b_dec = weights.take("b_dec", None)
    d_in = b_dec.shape[0]  # transcoders too: the model's width on both sides
    W_enc, W_dec = weights.take("W_enc", d_in, d_sae), weights.take("W_dec", d_sae, d_in)
    if place.embedding:  # trained on embeddings as the model scales them
        scale = math.sqrt(d_in)
        W_enc, W_dec = W_enc / scale, W_dec * scale
    hook_in, hook_out, assumptions = _hooks(place)
    sae = api.CanonicalSAE(
        W_enc=W_enc,
        W_dec=W_dec,
        b_enc=weights.take("b_enc", d_sae),
        b_dec=b_dec,
        activation=api.JumpRelu(threshold),
        head_shape=_head_shape(place, d_in),
        hook_in=hook_in,
        hook_out=hook_out,
        metadata=api.SAEMetadata(
            format="gemma_scope",
            architecture="jumprelu_transcoder" if place.site == "transcoders" else "jumprelu",
            model=place.model,
            context_length=1024,
            prepend_bos=True,
            dtype=str(tensors["W_enc"].dtype).removeprefix("torch."),
            extra={} if place.average_l0 is None else {"average_l0": place.average_l0},
        ),
        assumptions=(*assumptions, *_common(place)),
    )
    weights.nothing_else()
    return sae


def _place(view: api.FileView) -> Place:
    """Read the names of the folders, innermost first, the repository's among them."""
    repository, layer, average = (match_in_folders(view, pattern) for pattern in (REPOSITORY, LAYER, L0))
    inside = itertools.takewhile(lambda name: not REPOSITORY.fullmatch(name), folders(view))
    size, kind, site = repository.groups() if repository else (None, None, None)
    return Place(
        model=f"google/gemma-2-{size}{'-it' if kind == 'it' else ''}" if size else None,
        size=size,
        site=site,
        layer=int(layer[1]) if layer is not None else None,
        embedding="embedding" in inside,
        average_l0=int(average[1]) if average is not None else None,
    )


def _hooks(place: Place) -> tuple[str | None, str | None, list[api.Assumption]]:
    if place.embedding:
        return "hook_embed", "hook_embed", _about_hook("; taken from the folder's name: hook_embed.")
    if place.layer is None:
        return None, None, _about_hook(", and no folder is named layer_N.")
    before, after = (f"blocks.{place.layer}.{name}" for name in SITES[place.site or "res"])
    taken = before if before == after else f"{before} to {after}"
    source = "the names of repository and folder"
    if place.site == "transcoders":
        source += ": what the norm before the MLP gives without its gain, which training folded into the MLP"
    if place.site is None:
        source = f"the folder's name layer_{place.layer}; the residual stream is a guess, since no folder is "
        source += "named after the repository (gemma-scope-2b-pt-res, …-mlp, …-att, …-transcoders)"
    return before, after, _about_hook(f"; took {taken} from {source}.")


def _about_hook(what: str) -> list[api.Assumption]:
    return [api.Assumption(f"hook point not recorded{what}", about="hook")]


def _head_shape(place: Place, d_in: int) -> tuple[int, int] | None:
    """(heads, head size) of an attention SAE, where the model's head size divides its input."""
    size = HEAD_SIZE.get(place.size or "")
    if place.site != "att" or size is None or d_in % size:
        return None
    return d_in // size, size


def _common(place: Place) -> list[api.Assumption]:
    unsaid: list[api.Assumption] = [
        api.Assumption("context length not recorded; took 1,024 tokens.", about="context_length"),
        api.Assumption("BOS policy not recorded; took a BOS, not trained on.", about="bos"),
        DATASET,
    ]
    return unsaid if place.model else [api.Assumption("model not recorded.", about="model"), *unsaid]


ADAPTER = api.SAEAdapter(
    "gemma_scope",
    "Gemma Scope 1 (params.npz)",
    "darkmatter_plugins.adapters.gemma_scope:load",
    filenames=(WEIGHTS,),
    detect=detect,
    formats=frozenset({"npz"}),
    layouts=(
        api.Layout(
            name="Gemma Scope 1",
            files=("gemma-scope-<size>-<pt|it>-<site>/layer_<l>/width_<w>/average_l0_<n>/params.npz",),
            architectures=("jumprelu", "jumprelu_transcoder"),
            known_from="SAELens 6.54's reader",
            traps=(
                "The decoder bias is not subtracted from the input.",
                (
                    "Embedding SAEs read embeddings as the model scales them: W_enc / sqrt(d_in), "
                    "W_dec * sqrt(d_in)."
                ),
                "Attention SAEs read hook_z with all heads side by side, not attention's output.",
                (
                    "Transcoders read ln2.hook_normalized, the norm's output without its gain, which their "
                    "training folded into the MLP; the MLP's own input in the unfolded model, mlp.hook_in, "
                    "is another vector."
                ),
                "Some repositories write w_enc and w_dec in lower case.",
            ),
            samples=("gemma_scope/*",),
        ),
    ),
)
