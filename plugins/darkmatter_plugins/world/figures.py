"""Measure what is shipped: `python -m darkmatter_plugins.world.figures [--json FILE]`.

Written independently of the harness, with the plainest float64 arithmetic, as a check of it: its own
readers, one dense pass, ordinary least squares from normal equations. Prints the tables of
docs/embedded-world.md.
"""

# ruff: noqa: T201 - a command-line program
from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .activations import batches, load_model
from .catalogue import SAES, ShippedSae, data_dir, model_path, sae_path
from .grammar import HELD_OUT_SEED, entropy_bound, stories
from .sae_training import Weights
from .tokenizer import BOS, SPECIAL, word_ids
from .train_model import held_out_loss

CONTEXTS, SKIP_FIRST, SKIP_LAST, TRAIN_SHARE = 600, 8, 1, 0.6


def read_sae(sae: ShippedSae, root: Path | None = None) -> Weights:
    """A shipped SAE as float64 weights of one form, whatever its layout."""
    from safetensors.torch import load_file

    folder = sae_path(sae, root)
    if sae.layout == "gemma_scope":
        with np.load(folder / "params.npz", allow_pickle=False) as file:
            t = {name: torch.from_numpy(file[name]).double() for name in file.files}
        t["b_enc"] = t["b_enc"] + t["b_dec"] @ t["W_enc"]
    else:
        name = "sae.safetensors" if sae.layout == "sparsify" else "sae_weights.safetensors"
        t = {key: tensor.double() for key, tensor in load_file(folder / name).items()}
        if sae.layout == "sparsify":
            t["W_enc"], t["b_enc"] = t["encoder.weight"].T, t["encoder.bias"]
    k = sae.l0 if sae.kind == "topk" else None
    return Weights(t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], k, t.get("threshold"))


def codes(weights: Weights, x: Tensor) -> Tensor:
    """Dense codes of rows."""
    h = (x - weights.b_dec) @ weights.W_enc + weights.b_enc
    if weights.k is not None:
        values, indices = h.topk(weights.k)
        return torch.zeros_like(h).scatter_(1, indices, values.relu())
    assert weights.threshold is not None
    return h.relu() * (h > weights.threshold)


def held_out_residual(x: Tensor, y: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """On the test rows: the residual of y on [1, x] fitted on the training rows, and y centred."""
    mean_x, mean_y = x[train].mean(0), y[train].mean(0)
    a, b = x[train] - mean_x, y[train] - mean_y
    beta = torch.linalg.lstsq(a.T @ a, a.T @ b, driver="gelsd").solution
    target = y[~train]
    return target - mean_y - (x[~train] - mean_x) @ beta, target - target.mean(0)


def measure(weights: Weights, x: Tensor, train: Tensor) -> dict[str, float]:
    """FVU, L0, dead fraction and the linear predictability of the error, on the test rows."""
    errors, l0, alive = [], 0.0, torch.zeros(weights.W_dec.shape[0], dtype=torch.bool)
    for begin in range(0, len(x), 4096):
        part = slice(begin, begin + 4096)
        f = codes(weights, x[part])
        errors.append(x[part] - f @ weights.W_dec - weights.b_dec)
        test = f[~train[part]] > 0
        l0 += float(test.sum())
        alive |= (f > 0).any(0)
    error = torch.cat(errors)
    residual, centred = held_out_residual(x, error, train)
    norm_residual, norm_centred = held_out_residual(x, error.pow(2).sum(1, keepdim=True), train)
    total = (x[~train] - x[~train].mean(0)).pow(2).sum()
    return {
        "fvu": float(error[~train].pow(2).sum() / total),
        "l0": l0 / int((~train).sum()),
        "dead_fraction": float((~alive).float().mean()),
        "error_r2": float(1 - residual.pow(2).sum() / centred.pow(2).sum()),
        "fvu_nonlinear": float(residual.pow(2).sum() / total),
        "error_norm_r2": float(1 - norm_residual.pow(2).sum() / norm_centred.pow(2).sum()),
    }


def rows_of(model: Any, hooks: list[str]) -> tuple[dict[str, Tensor], Tensor]:
    """Held-out float64 rows per hook, and which of them belong to training contexts (the first 60%)."""
    kept: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
    train, seen = [], 0
    for tokens, found in batches(model, hooks, CONTEXTS, HELD_OUT_SEED):
        keep = tokens >= len(SPECIAL)
        keep[:, :SKIP_FIRST] = False
        keep[:, tokens.shape[1] - SKIP_LAST :] = False
        for hook in hooks:
            kept[hook].append(found[hook][keep].double())
        is_train = torch.arange(seen, seen + len(tokens)) < TRAIN_SHARE * CONTEXTS
        train.append(is_train[:, None].expand_as(keep)[keep])
        seen += len(tokens)
    return {hook: torch.cat(parts) for hook, parts in kept.items()}, torch.cat(train)


def unigram_entropy(n_stories: int = 20_000) -> float:
    """Entropy in nats of the token frequencies, the separator included."""
    counts = Counter(word for story in islice(stories(HELD_OUT_SEED), n_stories) for word in story.words)
    counts[BOS] = n_stories
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


@torch.no_grad()
def story_loss(model: Any, n_stories: int = 1000) -> tuple[float, float]:
    """Loss of whole stories each in a context of its own, and the bound on the same stories and tokens.

    Stories longer than the context are left out of both; the end of a story (predicting BOS) counts.
    """
    ids, loss, nats, tokens = word_ids(), 0.0, 0.0, 0
    for story in islice(stories(HELD_OUT_SEED), n_stories):
        sequence = torch.tensor([[ids[BOS], *(ids[word] for word in story.words), ids[BOS]]])
        if sequence.shape[1] > 128:
            continue
        logits = model(sequence[:, :-1]).logits[0]
        loss += float(torch.nn.functional.cross_entropy(logits, sequence[0, 1:], reduction="sum"))
        nats += math.fsum(story.nats)
        tokens += sequence.shape[1] - 1
    return loss / tokens, nats / tokens


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=model_path())
    parser.add_argument("--saes", type=Path, default=data_dir() / "saes")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(args.model)
    whole, bound = story_loss(model)
    result: dict[str, Any] = {
        "model": {
            "held_out_loss": held_out_loss(model),
            "story_loss": whole,
            "story_bound": bound,
            "entropy_bound": entropy_bound(20_000),
            "unigram_entropy": unigram_entropy(),
        },
        "saes": {},
    }
    print(json.dumps(result["model"]))
    rows, train = rows_of(model, sorted({sae.hook for sae in SAES}))
    print(
        "| SAE | hook | FVU | L0 | dead | error R² | nonlinear FVU | R² of error norm² |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for sae in SAES:
        if sae_path(sae, args.saes).exists():
            m = measure(read_sae(sae, args.saes), rows[sae.hook], train)
            result["saes"][sae.name] = m
            print(
                f"| `{sae.name}` | `{sae.hook}` | {m['fvu']:.4f} | {m['l0']:.2f} | {m['dead_fraction']:.3f} "
                f"| {m['error_r2']:.3f} | {m['fvu_nonlinear']:.4f} | {m['error_norm_r2']:.3f} |",
                flush=True,
            )
    result["rows"] = {"train": int(train.sum()), "test": int((~train).sum())}
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
