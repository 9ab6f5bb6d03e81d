"""Activations of the embedded model at TransformerLens hook names, read with plain PyTorch hooks.

The recipes need no TransformerLens: for this Llama a hook point is the input or the output of one module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .tokenizer import SPECIAL, contexts

_SUFFIXES = {"hook_resid_post": "", "hook_mlp_out": "mlp", "attn.hook_z": "self_attn.o_proj"}


def load_model(folder: Path) -> Any:
    """The language model in float32."""
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _listen(model: Any, hook: str, into: dict[str, Tensor]) -> Any:
    """Store at each forward what stands at the hook; z is the input of the output projection."""
    _, layer, suffix = hook.split(".", 2)
    block = model.model.layers[int(layer)]
    module = block.get_submodule(_SUFFIXES[suffix]) if _SUFFIXES[suffix] else block

    def save_input(_module: Any, args: tuple[Tensor, ...]) -> None:
        into[hook] = args[0]

    def save_output(_module: Any, _args: Any, output: Any) -> None:
        into[hook] = output[0] if isinstance(output, tuple) else output

    if suffix == "attn.hook_z":
        return module.register_forward_pre_hook(save_input)
    return module.register_forward_hook(save_output)


@torch.no_grad()
def batches(
    model: Any, hooks: Sequence[str], n_contexts: int, seed: int
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Token ids [b, 128] and activations [b, 128, 128] of each hook, 32 contexts at a time."""
    stream, seen = contexts(seed), dict[str, Tensor]()
    handles = [_listen(model, hook, seen) for hook in hooks]
    try:
        for start in range(0, n_contexts, 32):
            tokens = torch.tensor(list(islice(stream, min(32, n_contexts - start))))
            model.model(tokens)
            yield tokens, dict(seen)
    finally:
        for handle in handles:
            handle.remove()


def collect(model: Any, hooks: Sequence[str], n_contexts: int, seed: int) -> dict[str, Tensor]:
    """All rows [n, 128] per hook, without the special tokens (theirs are constant and very long)."""
    parts: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
    for tokens, seen in batches(model, hooks, n_contexts, seed):
        keep = tokens >= len(SPECIAL)
        for hook in hooks:
            parts[hook].append(seen[hook][keep])
    return {hook: torch.cat(rows) for hook, rows in parts.items()}
