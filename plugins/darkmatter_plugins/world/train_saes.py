"""Train the shipped SAEs: `python -m darkmatter_plugins.world.train_saes --model DIR --out DIR`.

Activations of half a million tokens (a seed neither trained nor tested on) are held in memory, one hook at
a time, and each SAE of the catalogue is trained on them in turn, on one thread.
"""

# ruff: noqa: T201 - a command-line program
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from .activations import collect, load_model
from .catalogue import SAES, ShippedSae
from .grammar import TRAIN_SEED
from .sae_formats import save_gemma_scope, save_saelens, save_sparsify
from .sae_training import Weights, train_jumprelu, train_topk

SAE_TEXT_SEED, CONTEXTS, STEPS = TRAIN_SEED + 1, 4096, 800
SAVERS: dict[str, Callable[[Weights, Path, str], None]] = {
    "saelens": save_saelens,
    "sparsify": save_sparsify,
    "gemma_scope": save_gemma_scope,
}


def train_one(sae: ShippedSae, rows: torch.Tensor, out: Path) -> None:
    """Train one SAE of the catalogue and save it in its layout."""
    begun = time.monotonic()
    steps = STEPS * max(1, sae.width // 1024)  # a rare latent needs more rows to be seen as often
    train = train_topk if sae.kind == "topk" else train_jumprelu
    SAVERS[sae.layout](train(rows, sae.width, sae.l0, steps, sae.seed), out / sae.folder, sae.hook)
    print(f"{sae.name} {time.monotonic() - begun:.0f}s", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="short names to train (default: all)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(args.model)
    wanted = [sae for sae in SAES if not args.only or sae.name in args.only]
    for hook in dict.fromkeys(sae.hook for sae in wanted):
        rows = collect(model, [hook], CONTEXTS, SAE_TEXT_SEED)[hook]
        for sae in wanted:
            if sae.hook == hook:
                train_one(sae, rows, args.out)


if __name__ == "__main__":
    main()
