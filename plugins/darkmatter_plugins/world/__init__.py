"""The embedded world: stories with known latents, a small language model of them, and trained SAEs.

Importing this package imports nothing heavy. `data_dir`, `model_path`, `sae_paths`, `sae_hooks` say
what is shipped; `stories`, `write_stories` and `minimal_pairs` make text, whose latents (`LATENTS`) are
known. The recipes are `python -m darkmatter_plugins.world.train_model` and `...train_saes`;
`...figures` measures the result.
"""

from __future__ import annotations

from .catalogue import FAMILY_HOOK, SAES, ShippedSae, data_dir, model_path, sae_hooks, sae_path, sae_paths
from .demo import write_stories
from .grammar import (
    HELD_OUT_SEED,
    LATENTS,
    TRAIN_SEED,
    MinimalPair,
    Story,
    entropy_bound,
    minimal_pairs,
    stories,
    vocabulary,
)

__all__ = [
    "FAMILY_HOOK",
    "HELD_OUT_SEED",
    "LATENTS",
    "SAES",
    "TRAIN_SEED",
    "MinimalPair",
    "ShippedSae",
    "Story",
    "data_dir",
    "entropy_bound",
    "minimal_pairs",
    "model_path",
    "sae_hooks",
    "sae_path",
    "sae_paths",
    "stories",
    "vocabulary",
    "write_stories",
]
