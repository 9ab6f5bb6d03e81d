"""Goodfire's SAEs: one ``.pth`` or ``.pt`` file with the weights of two linear layers."""

from __future__ import annotations

import re

from darkmatter import api
from darkmatter_plugins.adapters._torch_files import none_found, ours, the_one
from darkmatter_plugins.adapters._two_layers import TwoLayers

FORM = TwoLayers(
    format="goodfire",
    encoder="encoder_linear",
    decoder="decoder_linear",
    publisher="meta-llama",
    pattern=re.compile(r"(Llama-[\d.]+-\d+B-Instruct)-SAE-l(\d+)(?:\.pth?)?"),
    example="Llama-3.1-8B-Instruct-SAE-l19",
)


def _names(view: api.FileView) -> list[str]:
    return ours(view, lambda name: (view.saved_header(name) or {}).keys() >= FORM.tensors)


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A file with the four tensors; no other format calls them so."""
    names = _names(view)
    if not names:
        return none_found(view, f"has all of the tensors {', '.join(sorted(FORM.tensors))}")
    return api.Detection(f"{names[0]} has {', '.join(sorted(FORM.tensors))}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE; nothing says its context length."""
    unsaid = api.Assumption("context length not recorded.", about="context_length")
    return FORM.load(view, the_one(view, _names(view)), context_length=None, unsaid=(unsaid,))


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
