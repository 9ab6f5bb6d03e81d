"""Concepts from a file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darkmatter import api, sources
from darkmatter_plugins.datasets.options import WordListsConfig
from darkmatter_plugins.datasets.words import concepts_of

FORM = "{group: {concept: [words]}} with two or more concepts in a group"


def make(config: WordListsConfig, tokenizer: sources.TextTokenizer, seed: int) -> api.Concepts:  # noqa: ARG001 - nothing is drawn
    """The concepts of a file; JSON is YAML, too."""
    path = Path(config.path)
    content: Any = api.FileView(path).yaml(path.name)
    if not content or not all(_is_group(each) for each in content.values()):
        message = f"{path}: expected {FORM}"
        raise api.ItemError(message)
    return concepts_of(path.name, content, tokenizer, leave_out=config.long_words == "leave_out")


def _is_group(group: Any) -> bool:
    return (
        isinstance(group, dict)
        and len(group) > 1
        and all(isinstance(key, str) for key in group)
        and all(isinstance(words, list) and words for words in group.values())
        and all(isinstance(word, str) and word for words in group.values() for word in words)
    )
