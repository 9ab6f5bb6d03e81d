"""The demo's suite: real trained SAEs of the embedded model, and controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .catalogue import FAMILY_HOOK, SAES, model_path, sae_path
from .demo import write_stories

CONTEXT_LENGTH = 128
CONTEXTS = 400
STORIES = 700
"""About 70,000 tokens: enough for the contexts, little enough to be written in a second."""

CONTROLS = {
    "identity": "baseline:identity",
    "zero": "baseline:zero",
    "random": "baseline:random,width=1024,k=16",
    "pca_topk": "baseline:pca_topk,k=16",
    "identity_relu": "baseline:identity_relu",
    "noise": "baseline:noise,scale=0.1",
    "ica": "baseline:ica,k=16,rows=5000,max_iterations=50",
}


def write_demo(folder: Path) -> dict[str, Any]:
    """Write stories and ``suite.yaml`` into ``folder``; returns the suite's fields."""
    folder.mkdir(parents=True, exist_ok=True)
    stories = write_stories(folder / "stories.jsonl", STORIES, latents=False)
    fields: dict[str, Any] = {
        "model": str(model_path()),
        "text": {"path": str(stories), "context_length": CONTEXT_LENGTH, "contexts": CONTEXTS},
        "hooks": [FAMILY_HOOK],
        "saes": {
            **{sae.name: str(sae_path(sae)) for sae in SAES if sae.hook == FAMILY_HOOK},
            **CONTROLS,
        },
        "seed": 0,
    }
    text = "# The suite of `darkmatter demo`; darkmatter run suite.yaml runs it again.\n"
    (folder / "suite.yaml").write_text(text + yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
    return fields
