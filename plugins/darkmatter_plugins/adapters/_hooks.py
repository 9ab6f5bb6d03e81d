"""From a module's path in a Hugging Face model to TransformerLens hook points."""

from __future__ import annotations

import re

LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)(?:\.(.+))?$")
EMBEDDINGS = {"embed_tokens", "wte", "embed_in", "word_embeddings"}
MLP = {"mlp", "feed_forward", "ffn", "block_sparse_moe"}
ATTENTION = {"attn", "attention", "self_attn", "self_attention"}


def module_output(path: str) -> str | None:
    """The hook point at a module's output; None where the path says nothing we know."""
    match = LAYER.search(path)
    if match is None:
        return "hook_embed" if path.rpartition(".")[2] in EMBEDDINGS else None
    layer, part = match.groups()
    if part is None:
        return f"blocks.{layer}.hook_resid_post"
    if part in MLP:
        return f"blocks.{layer}.hook_mlp_out"
    return f"blocks.{layer}.hook_attn_out" if part in ATTENTION else None


def module_input(path: str) -> str | None:
    """The hook point at a module's input: for an MLP or attention, behind the norm before it."""
    match = LAYER.search(path)
    if match is None:
        return None
    layer, part = match.groups()
    if part is None:
        return f"blocks.{layer}.hook_resid_pre"
    if part in MLP:
        return f"blocks.{layer}.ln2.hook_normalized"
    return f"blocks.{layer}.ln1.hook_normalized" if part in ATTENTION else None
