"""qresearch's DeepSeek-R1 SAEs: one ``.pt`` file with the weights of two linear layers."""

from __future__ import annotations

import re

from darkmatter import api
from darkmatter_plugins.adapters._names import match_in_path
from darkmatter_plugins.adapters._torch_files import none_found, ours, the_one
from darkmatter_plugins.adapters._unsaid import DATASET

TENSORS = {"encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"}
REPOSITORY = re.compile(r"(DeepSeek-R1-Distill-[\w.]+-\d+B)-SAE-l(\d+)(?:\.pt)?")
CONTEXT_LENGTH = 1024


def _names(view: api.FileView) -> list[str]:
    return ours(view, lambda name: (view.saved_header(name) or {}).keys() == TENSORS)


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """The four tensors and nothing else; other code saves the same four, so a name must confirm it."""
    names = _names(view)
    more = [] if names else ours(view, lambda name: (view.saved_header(name) or {}).keys() > TENSORS)
    if more:
        others = sorted((view.saved_header(more[0]) or {}).keys() - TENSORS)
        return api.Refusal(f"{more[0]} has {', '.join(others)[:200]} beside the four tensors expected")
    if not names:
        return none_found(view, f"has exactly the tensors {', '.join(sorted(TENSORS))}")
    found = f"{names[0]} has exactly {', '.join(sorted(TENSORS))}"
    if match_in_path(view, names[0], REPOSITORY):
        return api.Detection(f"{found}, and the name of a DeepSeek-R1 SAE")
    return api.Detection(
        f"{found}, but no name like DeepSeek-R1-Distill-Llama-8B-SAE-l19", confidence="likely"
    )


def load(view: api.FileView, _options: object) -> api.SAE:
    """Codes f = relu(x W_enc + b_enc), x̂ = f W_dec + b_dec; the input has no bias subtracted."""
    name = the_one(view, _names(view))
    weights = view.weights(name)
    b_enc, b_dec = weights.take("encoder.bias", None), weights.take("decoder.bias", None)
    d_in, d_sae = b_dec.shape[0], b_enc.shape[0]
    model, hook, assumptions = _place(view, name)
    sae = api.CanonicalSAE(
        W_enc=weights.take("encoder.weight", d_sae, d_in).T,
        W_dec=weights.take("decoder.weight", d_in, d_sae).T,
        b_enc=b_enc,
        b_dec=b_dec,
        activation=api.Relu(),
        hook_in=hook,
        metadata=api.SAEMetadata(
            format="deepseek_r1",
            architecture="standard",
            model=model,
            context_length=CONTEXT_LENGTH if model else None,
            dtype=str(weights["encoder.weight"].dtype).removeprefix("torch."),
        ),
        assumptions=(*assumptions, DATASET),
    )
    weights.nothing_else()
    return sae


def _place(view: api.FileView, name: str) -> tuple[str | None, str | None, tuple[api.Assumption, ...]]:
    """(model, hook point, assumptions) from the name of the file or of the repository's folder."""
    bos = api.Assumption("BOS policy not recorded.", about="bos")
    match = match_in_path(view, name, REPOSITORY)
    if match is None:
        return (
            None,
            None,
            (
                api.Assumption(
                    "activation not recorded; taken as relu(x W_enc + b_enc), as in qresearch's DeepSeek-R1 "
                    "SAEs, though no name says that it is one.",
                    to_be_sure="the training script",
                ),
                api.Assumption("model not recorded.", about="model"),
                api.Assumption("hook point not recorded; none taken.", about="hook"),
                api.Assumption("context length not recorded.", about="context_length"),
                bos,
            ),
        )
    model, layer = match.groups()
    hook = f"blocks.{layer}.hook_resid_post"
    return (
        f"deepseek-ai/{model}",
        hook,
        (
            api.Assumption(f"model not recorded; took {model} from the name.", about="model"),
            api.Assumption(
                f"hook point not recorded; took {hook}, the residual stream after layer {layer}, from the "
                f"name {match.group(0)}.",
                about="hook",
            ),
            api.Assumption(
                f"context length not recorded; taken as {CONTEXT_LENGTH}, as SAELens does.",
                about="context_length",
            ),
            bos,
        ),
    )


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
