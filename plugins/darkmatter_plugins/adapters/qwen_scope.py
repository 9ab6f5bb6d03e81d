"""Qwen Scope: ``layer{n}.sae.pt``; model, width and k stand only in the repository's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.adapters._names import match_in_path
from darkmatter_plugins.adapters._torch_files import none_found, ours, the_one
from darkmatter_plugins.adapters._unsaid import DATASET

if TYPE_CHECKING:
    from torch import Tensor

TENSORS = {"W_enc", "W_dec", "b_enc", "b_dec"}
FILE = re.compile(r"layer(\d+)\.sae\.pt")
REPOSITORY = re.compile(r"SAE-Res-(.+)-W\d+K-L0_(\d+)")
CONTEXT_LENGTH = 1024


def _names(view: api.FileView) -> list[str]:
    return ours(view, lambda name: (view.saved_header(name) or {}).keys() >= TENSORS)


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A file named layerN.sae.pt with the four tensors of an SAE, and no settings of a training script."""
    names = [name for name in _names(view) if FILE.fullmatch(name)]
    if not names:
        return none_found(view, f"is named layerN.sae.pt and has the tensors {', '.join(sorted(TENSORS))}")
    settings = names[0].removesuffix(".pt") + "_cfg.json"
    if view.has(settings):
        return api.Refusal(f"{settings} lies beside {names[0]}; Qwen Scope's files come without settings")
    return api.Detection(f"{names[0]} has {', '.join(sorted(TENSORS))}")


def load(view: api.FileView, options: api.LoadOptions) -> api.SAE:
    """Codes f = the k largest of relu(x W_enc + b_enc), x̂ = f W_dec + b_dec; no bias is subtracted."""
    name = the_one(view, _names(view))
    weights = view.weights(name)
    b_enc, b_dec = weights.take("b_enc", None), weights.take("b_dec", None)
    W_enc, W_dec = _matrices(weights, b_dec.shape[0], b_enc.shape[0], options)
    repository = match_in_path(view, name, REPOSITORY)
    hook, about_hook = _hook(view, name)
    sae = api.CanonicalSAE(
        W_enc=W_enc,
        W_dec=W_dec,
        b_enc=b_enc,
        b_dec=b_dec,
        activation=api.TopK(_k(view, name, repository, options)),
        hook_in=hook,
        metadata=api.SAEMetadata(
            format="qwen_scope",
            architecture="topk",
            model=f"Qwen/{repository.group(1)}" if repository else None,
            context_length=CONTEXT_LENGTH,
            dtype=str(weights["W_enc"].dtype).removeprefix("torch."),
        ),
        assumptions=(about_hook, *_unsaid(repository)),
    )
    weights.nothing_else()
    return sae


def _matrices(weights: api.Weights, d_in: int, d_sae: int, options: api.LoadOptions) -> tuple[Tensor, Tensor]:
    """(W_enc [d_in, d_sae], W_dec [d_sae, d_in]); both are stored the same way round."""
    shapes = [weights[name].shape for name in ("W_enc", "W_dec")]
    if shapes[0] == shapes[1] and d_in != d_sae:
        message = (
            f"{weights.where}: tensors 'W_enc' and 'W_dec' both have shape {list(shapes[0])}; expected "
            f"[{d_sae}, {d_in}] and [{d_in}, {d_sae}]."
        )
        raise api.SAEFileError(message)
    stored = options.overrides.orientation
    W_enc = weights.encoder("W_enc", d_in, d_sae, stored)
    flipped = stored == "d_sae,d_in" or (stored is None and weights["W_enc"].shape == (d_sae, d_in))
    W_dec = weights.take("W_dec", d_in, d_sae).T if flipped else weights.take("W_dec", d_sae, d_in)
    return W_enc, W_dec


def _k(view: api.FileView, name: str, repository: re.Match[str] | None, options: api.LoadOptions) -> int:
    said = options.overrides.k
    if said is not None:
        return said
    if repository is not None and int(repository.group(2)):
        return int(repository.group(2))
    message = (
        f"{view.file(name)}: does not hold k, the number of active latents per token; Qwen Scope says it "
        "only in the repository's name (SAE-Res-Qwen3-1.7B-Base-W32K-L0_50: k = 50), and no folder above "
        "is named so. Give it: --override k=NUMBER."
    )
    raise api.SAEFileError(message)


def _hook(view: api.FileView, name: str) -> tuple[str | None, api.Assumption]:
    layer = match_in_path(view, name, FILE)
    if layer is None:
        sentence = "hook point not recorded, and the file is not named layerN.sae.pt."
        return None, api.Assumption(sentence, about="hook")
    hook = f"blocks.{layer.group(1)}.hook_resid_post"
    return hook, api.Assumption(
        f"hook point not recorded; took {hook}, the output of layer {layer.group(1)}, from the file's name.",
        about="hook",
    )


def _unsaid(repository: re.Match[str] | None) -> tuple[api.Assumption, ...]:
    model = f"; took Qwen/{repository.group(1)} from the repository's name." if repository else "."
    return (
        api.Assumption(f"model not recorded{model}", about="model"),
        api.Assumption(
            f"context length not recorded; taken as {CONTEXT_LENGTH}, as SAELens does.",
            about="context_length",
        ),
        api.Assumption("BOS policy not recorded.", about="bos"),
        DATASET,
    )


ADAPTER = api.SAEAdapter(
    "qwen_scope",
    "Qwen Scope (layerN.sae.pt)",
    "darkmatter_plugins.adapters.qwen_scope:load",
    filenames=("*.sae.pt",),
    detect=detect,
    formats=frozenset({"pt"}),
    follows=frozenset({"orientation", "k"}),
    layouts=(
        api.Layout(
            name="Qwen Scope",
            files=("SAE-Res-<model>-W<width>K-L0_<k>/layer<n>.sae.pt",),
            architectures=("topk",),
            known_from="SAELens 6.54's reader",
            traps=(
                (
                    "k stands only in the repository's name: a file that is moved elsewhere needs "
                    "--override k=NUMBER."
                ),
                (
                    "W_enc is stored [d_sae, d_in] and W_dec [d_in, d_sae], under the names that SAELens "
                    "uses for their transposes; a square W_enc needs --override orientation=…."
                ),
                "The decoder bias is not subtracted from the input.",
            ),
            samples=("qwen_scope/*",),
        ),
    ),
)
