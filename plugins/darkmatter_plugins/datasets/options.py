"""Options of the built-in datasets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from darkmatter import api
from darkmatter_plugins.pinned import with_hash

WorldGroup = Literal["name", "gender", "pronoun", "number", "kind", "place", "topic", "colour", "feeling"]


class WorldConceptsConfig(api.Config):
    """Options of `world_concepts`."""

    groups: tuple[WorldGroup, ...] = Field(
        ("name", "gender", "pronoun", "number", "kind", "place", "topic", "colour", "feeling"),
        min_length=1,
        description="groups of concepts",
    )


class WordListsConfig(api.Config):
    """Options of `word_lists`."""

    path: str = Field(
        description="YAML or JSON file {group: {concept: [words]}}, relative to the working directory"
    )
    hash: str | None = Field(None, description="hash of the file; found where it is not given")
    long_words: Literal["refuse", "leave_out"] = Field(
        "refuse", description="what happens to words that the tokenizer writes in several tokens"
    )

    @model_validator(mode="before")
    @classmethod
    def _pin(cls, values: Any) -> Any:
        return with_hash(values, "path", "hash")
