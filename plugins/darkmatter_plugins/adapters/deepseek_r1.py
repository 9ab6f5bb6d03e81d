"""qresearch's DeepSeek-R1 SAEs: one ``.pt`` file with the weights of two linear layers."""

from __future__ import annotations

import re

from darkmatter import api
from darkmatter_plugins.adapters._torch_files import none_found, ours, the_one
from darkmatter_plugins.adapters._two_layers import TwoLayers

FORM = TwoLayers(
    format="deepseek_r1",
    encoder="encoder",
    decoder="decoder",
    publisher="deepseek-ai",
    pattern=re.compile(r"(DeepSeek-R1-Distill-[\w.]+-\d+B)-SAE-l(\d+)(?:\.pt)?"),
    example="DeepSeek-R1-Distill-Llama-8B-SAE-l19",
)
CONTEXT_LENGTH = 1024


def _names(view: api.FileView) -> list[str]:
    return ours(view, lambda name: (view.saved_header(name) or {}).keys() == FORM.tensors)


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """The four tensors and nothing else; other code saves the same four, so a name must confirm it."""
    names = _names(view)
    more = [] if names else ours(view, lambda name: (view.saved_header(name) or {}).keys() > FORM.tensors)
    if more:
        others = sorted((view.saved_header(more[0]) or {}).keys() - FORM.tensors)
        return api.Refusal(f"{more[0]} has {', '.join(others)[:200]} beside the four tensors expected")
    if not names:
        return none_found(view, f"has exactly the tensors {', '.join(sorted(FORM.tensors))}")
    found = f"{names[0]} has exactly {', '.join(sorted(FORM.tensors))}"
    if FORM.named(view, names[0]):
        return api.Detection(f"{found}, and the name of a DeepSeek-R1 SAE")
    return api.Detection(f"{found}, but no name like {FORM.example}", confidence="likely")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one SAE; without a published name the form is a guess, and nothing says the context length."""
    name = the_one(view, _names(view))
    if FORM.named(view, name):
        taken = f"context length not recorded; taken as {CONTEXT_LENGTH}, as SAELens does."
        unsaid = (api.Assumption(taken, about="context_length"),)
        return FORM.load(view, name, context_length=CONTEXT_LENGTH, unsaid=unsaid)
    guessed = api.Assumption(
        "activation not recorded; taken as relu(x W_enc + b_enc), as in qresearch's DeepSeek-R1 SAEs, though "
        "no name says that it is one.",
        to_be_sure="the training script",
    )
    unknown = api.Assumption("context length not recorded.", about="context_length")
    return FORM.load(view, name, context_length=None, unsaid=(guessed, unknown))


ADAPTER = api.SAEAdapter(
    "deepseek_r1",
    "qresearch's DeepSeek-R1 SAEs (one .pt file)",
    "darkmatter_plugins.adapters.deepseek_r1:load",
    filenames=("*.pt",),
    detect=detect,
    formats=frozenset({"pt"}),
    layouts=(
        api.Layout(
            name="DeepSeek-R1 (qresearch)",
            files=("DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt",),
            architectures=("standard",),
            known_from="SAELens 6.54's reader",
            traps=(
                "The decoder bias is not subtracted from the input.",
                (
                    "Tensor names are those of any two linear layers: without the published name the "
                    "format is only likely."
                ),
            ),
            samples=("deepseek_r1/*",),
        ),
    ),
)
