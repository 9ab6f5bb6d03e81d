"""From a module's path in a Hugging Face model to TransformerLens hook points."""

from __future__ import annotations

import re

LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)(?:\.(.+))?$")
EMBEDDINGS = {"embed_tokens", "wte", "embed_in", "word_embeddings"}
MLP = {"mlp", "feed_forward", "ffn", "block_sparse_moe"}
ATTENTION = {"attn", "attention", "self_attn", "self_attention"}

NORM_BEHIND = re.compile(r"gemma-?[23]|gemma-v[23]", re.IGNORECASE)
"""Models with a norm behind MLP and attention: what TransformerLens calls mlp_out lies behind that norm."""


def module_output(path: str, model: str | None = None) -> str | None:
    """The hook point at a module's output; None where the path says nothing we know."""
    match = LAYER.search(path)
    if match is None:
        return "hook_embed" if path.rpartition(".")[2] in EMBEDDINGS else None
    layer, part = match.groups()
    if part is None:
        return f"blocks.{layer}.hook_resid_post"
    own = NORM_BEHIND.search(model or "") is not None
    if part in MLP:
        return f"blocks.{layer}.{'mlp.hook_out' if own else 'hook_mlp_out'}"
    if part in ATTENTION:
        return f"blocks.{layer}.{'attn.hook_out' if own else 'hook_attn_out'}"
    return None


def module_input(path: str) -> str | None:
    """The hook point at a module's input: for an MLP or attention, what the norm before it puts out.

    ``ln2.hook_normalized`` is not that: there activations have not met the norm's weight and bias yet.
    """
    match = LAYER.search(path)
    if match is None:
        return None
    layer, part = match.groups()
    if part is None:
        return f"blocks.{layer}.hook_resid_pre"
    if part in MLP:
        return f"blocks.{layer}.mlp.hook_in"
    return f"blocks.{layer}.attn.hook_in" if part in ATTENTION else None


ENDS = {
    "output": "hook_resid_post",
    "self_attn.o_proj.input": "attn.hook_z",
    "pre_feedforward_layernorm.output": "mlp.hook_in",
    "post_feedforward_layernorm.output": "hook_mlp_out",
}
"""Ends of modules below a layer of Gemma 2 and 3, whose MLP has a norm before and one behind it."""


def module_end(path: str) -> str | None:
    """The hook point at ``model.layers.N.….input`` or ``….output``; None for one we do not know."""
    match = LAYER.search(path)
    name = ENDS.get(match[2] or "") if match else None
    return f"blocks.{match[1]}.{name}" if match and name else None
