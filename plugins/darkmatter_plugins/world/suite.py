"""The demo's suite: real trained SAEs of the embedded model, and controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from darkmatter import api

from .catalogue import FAMILY_HOOK, SAES, model_path, sae_path
from .demo import write_stories

NAME, MODEL, TEXT = "demo", "model", "stories"
"""``demo:model``, ``demo:stories`` and ``demo:SAE`` are references that hold on every machine."""

STORIES_FILE = "stories.jsonl"
CONTEXT_LENGTH = 128
CONTEXTS = 400
STORIES = 700
"""About 70,000 tokens: enough for the contexts, little enough to be written in a second."""

CONTROLS = {
    "mean": "baseline:mean",
    "pca-k8": "baseline:pca,k=8",
    "pca-k16": "baseline:pca,k=16",
    "pca-k32": "baseline:pca,k=32",
    "identity": "baseline:identity",
    "zero": "baseline:zero",
    "random": "baseline:random,width=1024,k=16",
    "pca_topk": "baseline:pca_topk,k=16",
    "identity_relu": "baseline:identity_relu",
    "noise": "baseline:noise,scale=0.1",
    "ica": "baseline:ica,k=16,rows=5000,max_iterations=50",
    "pca_nonneg": "baseline:pca_nonneg,k=128",
}


WIDTHS = ("topk-w256-k16", "topk-w1024-k16", "topk-w4096-k16")
ONE = ("topk-w1024-k16",)

MATCHED = ("pca_topk", "random")
"""Controls with the L0 of these SAEs."""
BESIDE = (*WIDTHS, "pca-k16", *MATCHED, "identity")
"""SAEs with the controls that the second paper compares them with."""

ONLY = {
    "gradient_pursuit": WIDTHS,
    "cross_layer": WIDTHS,
    "synthetic_noise": ONE,
    "error_saes": ONE,
    "feature_editing": (*BESIDE, "pca_nonneg"),
    "concept_erasure": (*ONE, "pca_topk"),
    "feature_effects": (*ONE, "pca-k16"),
    "feature_recovery": BESIDE,
}
"""What the demo's costly evaluators measure."""

WORLD: dict[str, dict[str, Any]] = {
    "feature_recovery": {"concepts": "world_concepts"},
    "feature_editing": {"dataset": "world_indirect_object"},
    "concept_erasure": {"dataset": "world_gender"},
}
"""What the full budget knows of the embedded world."""

FULL_ONLY = {
    "cross_layer": WIDTHS,
    "synthetic_noise": WIDTHS,
    "error_saes": ONE,
    "concept_erasure": (*WIDTHS, "pca-k16", *MATCHED),
    "feature_effects": (*WIDTHS, "pca-k16", *MATCHED),
}
"""The same in ``paper.yaml``; the papers have one SAE for most. `cross_layer` on controls says nothing."""

EVERYWHERE = ("mean", "pca-k16")
"""Controls that ``paper.yaml`` has at every hook point, as a leaderboard demands."""

DEMO: dict[str, dict[str, Any]] = {
    "reconstruction": {},
    "density": {},
    "error_decomposition": {},
    "error_norm_baselines": {},
    "error_scaling": {},
    "width_scaling_law": {},
    "ce_attribution": {"contexts": 48, "controls": "none"},
    "gradient_pursuit": {"max_rows": 3000},
    "cross_layer": {"kinds": ["reconstruction", "activation"], "controls": False},
    "synthetic_noise": {"max_rows": 20000, "ablated": [0.0], "pairs": [[1.0, 0.6]], "authors": False},
    "error_saes": {"width": 256, "k": 8, "steps": 150, "batch": 256, "seeds": 1, "latents": 30},
    "fvu_l0_curve": {"points": 24},
    "autointerp": {"latents": 30, "train_fragments": 20, "test_fragments": 10},
    "dictionary_similarity": {"max_matching": 512},
    "feature_recovery": {"concepts": {"name": "world_concepts", "groups": ["name", "gender", "number"]}},
    "feature_editing": {"dataset": {"name": "world_indirect_object", "pairs": 40}, "largest": 32},
    "concept_erasure": {"dataset": "world_gender", "contexts": 8, "random_seeds": 1},
    "feature_effects": {
        "latents": 8,
        "context_positions": 1,
        "context_tokens": 8,
        "effect_contexts": 2,
        "edges": 3,
        "random_edges": 2,
        "top_fragments": 3,
    },
}
"""Every evaluator that the paper's experiments became; options are budgets cut to a laptop's patience."""


def write_demo(folder: Path) -> dict[str, Any]:
    """Write stories, ``suite.yaml`` and ``paper.yaml`` into ``folder``; returns the demo's fields."""
    folder.mkdir(parents=True, exist_ok=True)
    write_stories(folder / STORIES_FILE, STORIES, latents=False)  # to look at, and to use with other SAEs
    demo: dict[str, Any] = {
        "model": f"{NAME}:{MODEL}",
        "text": {"path": f"{NAME}:{TEXT}", "context_length": CONTEXT_LENGTH, "contexts": CONTEXTS},
        "saes": {
            **{sae.name: f"{NAME}:{sae.name}" for sae in SAES},
            **{name: {"ref": ref, "hook": FAMILY_HOOK} for name, ref in CONTROLS.items()},
        },
        "evaluators": DEMO,
        "only": {name: list(saes) for name, saes in ONLY.items()},
        "controls": False,
        "seed": 0,
    }
    only = {name: list(saes) for name, saes in FULL_ONLY.items()}
    paper = {
        **demo,
        "saes": {**demo["saes"], **{name: CONTROLS[name] for name in EVERYWHERE}},
        "evaluators": {name: WORLD.get(name, {}) for name in DEMO},
        "only": only,
    }
    _write(folder / "suite.yaml", "The suite of `darkmatter demo`, with budgets cut to two minutes.", demo)
    full = "The suite of `darkmatter demo` with the evaluators' full budgets: far more than two minutes."
    _write(folder / "paper.yaml", full, paper)
    return demo


def locate(name: str, folder: Path) -> Path:
    """The files that ``demo:NAME`` means; the stories are written anew, into ``folder``."""
    if name == MODEL:
        return model_path()
    if name == TEXT:
        folder.mkdir(parents=True, exist_ok=True)
        return write_stories(folder / STORIES_FILE, STORIES, latents=False)
    found = {sae.name: sae for sae in SAES}
    if name not in found:
        message = (
            f"{NAME}:{name}: the suite has no such part. {api.did_you_mean(name, [MODEL, TEXT, *found])}"
        )
        raise api.ItemError(message)
    return sae_path(found[name])


def _write(path: Path, comment: str, fields: dict[str, Any]) -> None:
    text = f"# {comment} Run it with: darkmatter run {path.name}\n"
    path.write_text(text + yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
