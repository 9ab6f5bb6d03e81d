"""Cross-entropy with an SAE: one run shared by all replacements against a full forward pass for each.

Both give the losses [B, P] of the same contexts: clean, and with three replacements at a middle layer
(reconstruction, with the linear error added back, with the nonlinear error added back).

- ours: ``resume_at`` once, the blocks after the hook point for each replacement, losses in slices of
  the logits. "Next SAE" is what a second SAE at the hook point costs: the clean run is shared.
- reference: what the papers' script does: four forward passes of the whole model, with a hook, each of
  which gives the losses of all positions at once.

The model is a Llama of random weights; replacements are random vectors.

    python benchmarks/cross_entropy.py --vocabulary 4096 50257
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from timing import alternate
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from darkmatter.sources import ModelSpec, Resumed, token_losses
from darkmatter_plugins.sources.transformer_lens import BridgedModel, TransformerLensProvider
from darkmatter_plugins.world.catalogue import model_path


def make_model(vocabulary: int, layers: int, d: int, length: int) -> BridgedModel:
    """A bridged Llama of random weights; it borrows a tokenizer, which is not used."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=d,
        intermediate_size=4 * d,
        num_hidden_layers=layers,
        num_attention_heads=d // 64,
        max_position_embeddings=length,
    )
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(config).save_pretrained(folder)
        for file in Path(model_path()).glob("tokenizer*"):
            shutil.copy(file, folder)
        return TransformerLensProvider().load(ModelSpec(name=folder, device="cpu"))


def compare(vocabulary: int, arguments: argparse.Namespace) -> None:
    """Print the ratios for one size of vocabulary."""
    model = make_model(vocabulary, arguments.layers, arguments.d, arguments.length)
    generator = torch.Generator().manual_seed(1)
    shape = (arguments.contexts, arguments.length)
    tokens = torch.randint(vocabulary, shape, generator=generator)
    hook = f"blocks.{arguments.layer}.hook_resid_post"
    patches = [torch.randn(*shape, arguments.d, generator=generator) for _ in range(3)]

    def patched_losses(resumed: Resumed) -> list[Tensor]:
        return [token_losses(resumed.logits(patch), tokens) for patch in patches]

    def run_ours() -> list[Tensor]:
        resumed = model.resume_at(tokens, hook)
        return [token_losses(resumed.logits(), tokens), *patched_losses(resumed)]

    def run_reference() -> list[Tensor]:
        options = {"return_type": "loss", "loss_per_token": True}
        hooked = [[(hook, lambda _there, hook, patch=patch: patch)] for patch in patches]  # noqa: ARG005 - TransformerLens' signature
        with torch.no_grad():
            return [
                model.bridge.run_with_hooks(tokens, fwd_hooks=hooks, **options) for hooks in ([], *hooked)
            ]

    first = alternate(run_ours, run_reference, arguments.runs)
    resumed = model.resume_at(tokens, hook)
    following = alternate(lambda: patched_losses(resumed), run_reference, arguments.runs)
    apart = max(
        float((ours[:, :-1] - reference[:, : ours.shape[1] - 1]).abs().max())
        for ours, reference in zip(run_ours(), run_reference(), strict=True)
    )
    print(f"vocabulary {vocabulary:6}, first SAE: {first}")
    print(f"{'':17}, next SAE:  {following}")
    print(f"{'':17}  max |Δ loss| {apart:.1e} nats")


def main() -> None:
    """Print all sizes of vocabulary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[4096, 50257])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--layer", type=int, default=5, help="the layer after which is patched")
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--contexts", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    print(f"{arguments.layers} layers, d = {arguments.d}, patched after layer {arguments.layer}, one thread")
    for vocabulary in arguments.vocabulary:
        compare(vocabulary, arguments)


if __name__ == "__main__":
    main()
