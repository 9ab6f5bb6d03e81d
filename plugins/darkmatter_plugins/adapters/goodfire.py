"""Goodfire's SAEs: one ``.pth`` or ``.pt`` file with the weights of two linear layers."""

from __future__ import annotations

import re

from darkmatter import api
from darkmatter_plugins.adapters._names import match_in_path
from darkmatter_plugins.adapters._torch_files import none_found, ours, the_one
from darkmatter_plugins.adapters._unsaid import DATASET

TENSORS = {"encoder_linear.weight", "encoder_linear.bias", "decoder_linear.weight", "decoder_linear.bias"}
REPOSITORY = re.compile(r"(Llama-[\d.]+-\d+B-Instruct)-SAE-l(\d+)(?:\.pth?)?")


def _names(view: api.FileView) -> list[str]:
    return ours(view, lambda name: (view.saved_header(name) or {}).keys() >= TENSORS)


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A file with the four tensors; no other format calls them so."""
    names = _names(view)
    if not names:
        return none_found(view, f"has all of the tensors {', '.join(sorted(TENSORS))}")
    return api.Detection(f"{names[0]} has {', '.join(sorted(TENSORS))}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Codes f = relu(x W_enc + b_enc), x̂ = f W_dec + b_dec; the input has no bias subtracted."""
    name = the_one(view, _names(view))
    weights = view.weights(name)
    b_enc, b_dec = weights.take("encoder_linear.bias", None), weights.take("decoder_linear.bias", None)
    d_in, d_sae = b_dec.shape[0], b_enc.shape[0]
    model, hook, assumptions = _place(view, name)
    sae = api.CanonicalSAE(
        W_enc=weights.take("encoder_linear.weight", d_sae, d_in).T,
        W_dec=weights.take("decoder_linear.weight", d_in, d_sae).T,
        b_enc=b_enc,
        b_dec=b_dec,
        activation=api.Relu(),
        hook_in=hook,
        metadata=api.SAEMetadata(
            format="goodfire",
            architecture="standard",
            model=model,
            dtype=str(weights["encoder_linear.weight"].dtype).removeprefix("torch."),
        ),
        assumptions=(*assumptions, DATASET),
    )
    weights.nothing_else()
    return sae


def _place(view: api.FileView, name: str) -> tuple[str | None, str | None, tuple[api.Assumption, ...]]:
    """(model, hook point, assumptions) from the name of the file or of the repository's folder."""
    unsaid = (
        api.Assumption("context length not recorded.", about="context_length"),
        api.Assumption("BOS policy not recorded.", about="bos"),
    )
    match = match_in_path(view, name, REPOSITORY)
    if match is None:
        return (
            None,
            None,
            (
                api.Assumption("model not recorded.", about="model"),
                api.Assumption(
                    "hook point not recorded, and no name is like Llama-3.1-8B-Instruct-SAE-l19.",
                    about="hook",
                ),
                *unsaid,
            ),
        )
    model, layer = match.groups()
    hook = f"blocks.{layer}.hook_resid_post"
    taken = api.Assumption(
        f"hook point not recorded; took {hook}, the residual stream after layer {layer}, from the name "
        f"{match.group(0)}.",
        about="hook",
    )
    named = api.Assumption(f"model not recorded; took {model} from the name.", about="model")
    return f"meta-llama/{model}", hook, (named, taken, *unsaid)


ADAPTER = api.SAEAdapter(
    "goodfire",
    "Goodfire's Llama SAEs (one .pth or .pt file)",
    "darkmatter_plugins.adapters.goodfire:load",
    filenames=("*.pth", "*.pt"),
    detect=detect,
    formats=frozenset({"pt"}),
    layouts=(
        api.Layout(
            name="Goodfire",
            files=("Llama-3.1-8B-Instruct-SAE-l19.pth", "Llama-3.3-70B-Instruct-SAE-l50.pt"),
            architectures=("standard",),
            known_from="SAELens 6.54's reader",
            traps=(
                "The decoder bias is not subtracted from the input.",
                "Model, layer and hook point stand only in the name of the file and of its repository.",
            ),
            samples=("goodfire/*",),
        ),
    ),
)
