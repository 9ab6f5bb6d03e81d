"""Text for the demo: stories as a JSONL file, made anew from a seed instead of being shipped."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from .grammar import HELD_OUT_SEED, stories


def write_stories(path: Path, n_stories: int = 600, seed: int = HELD_OUT_SEED, latents: bool = True) -> Path:
    """Write stories, one JSON object a line: `text`, `words`, `latents` and `entities`.

    Without `latents` only the text. Word i of a story is token i of the shipped tokenizer (special tokens
    left out), so latents are token labels. A hundred stories are about ten thousand tokens; six hundred
    take well under a second.
    """
    with path.open("w", encoding="utf-8") as file:
        for story in islice(stories(seed), n_stories):
            row: dict[str, object] = {"text": story.text}
            if latents:
                row |= {"words": story.words, "latents": story.latents, "entities": story.entities}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path
