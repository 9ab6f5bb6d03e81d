"""Train the embedded language model: `python -m darkmatter_plugins.world.train_model --out DIR`.

A Llama of 1.1 million parameters on stories of `TRAIN_SEED`, one pass, no story seen twice. One thread,
so that the order of floating-point sums, and with it the weights on one machine, is fixed by the seed.
"""

# ruff: noqa: T201 - a command-line program
from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .grammar import HELD_OUT_SEED, TRAIN_SEED
from .tokenizer import BOS, CONTEXT, EOS, PAD, contexts, save_tokenizer, word_ids

STEPS, BATCH, PEAK_LR, WARMUP, WEIGHT_DECAY, INIT_SEED = 2000, 32, 4e-3, 80, 0.05, 0


def new_model() -> Any:
    """The untrained model: 4 layers, width 128, 4 heads, context 128, tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    ids = word_ids()
    config = LlamaConfig(
        vocab_size=len(ids),
        hidden_size=128,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=ids[PAD],
        initializer_range=0.04,
    )
    torch.manual_seed(INIT_SEED)
    return LlamaForCausalLM(config)


def batches(seed: int, size: int) -> Iterator[Tensor]:
    """Endless [size, CONTEXT] batches of token ids."""
    stream = contexts(seed)
    while True:
        yield torch.tensor(list(islice(stream, size)))


def loss_of(model: Any, tokens: Tensor) -> Tensor:
    """Mean next-token loss in nats over all positions but the last."""
    logits = model(tokens).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model: Any, n_contexts: int = 512, seed: int = HELD_OUT_SEED) -> float:
    """Mean loss on contexts of a seed not trained on."""
    stream = batches(seed, 32)
    return sum(loss_of(model, next(stream)).item() for _ in range(n_contexts // 32)) / (n_contexts // 32)


def rate(step: int) -> float:
    """Learning rate: linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < WARMUP:
        return PEAK_LR * (step + 1) / WARMUP
    done = (step - WARMUP) / max(1, STEPS - WARMUP)
    return PEAK_LR * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def train(out: Path) -> None:
    """Train from scratch and write the model, its tokenizer and the log of the run."""
    torch.set_num_threads(1)
    model = new_model()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}],
        lr=PEAK_LR,
        betas=(0.9, 0.98),
    )
    stream, begun = batches(TRAIN_SEED, BATCH), time.monotonic()
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        loss = loss_of(model, next(stream))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step} loss {loss.item():.4f} {time.monotonic() - begun:.0f}s", flush=True)
        if step % 250 == 249:
            print(f"step {step} held out {held_out_loss(model, 128):.4f}", flush=True)
    model.eval()
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out, safe_serialization=True)
    save_tokenizer(out)
    record = {
        "steps": STEPS,
        "batch_tokens": BATCH * CONTEXT,
        "train_seed": TRAIN_SEED,
        "init_seed": INIT_SEED,
        "held_out_seed": HELD_OUT_SEED,
        "held_out_loss": held_out_loss(model),
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
    }
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    train(parser.parse_args().out)


if __name__ == "__main__":
    main()
