"""Prompts and words with a known meaning: what editing, erasure and feature recovery are tested on."""

from __future__ import annotations

from darkmatter import api
from darkmatter_plugins.datasets.options import WordListsConfig, WorldConceptsConfig

DATASETS: tuple[api.Dataset, ...] = (
    api.Dataset(
        "world_concepts",
        "Concepts of the embedded world: names, gender, number, places, topics and others.",
        "darkmatter_plugins.datasets.world_concepts:make",
        config=WorldConceptsConfig,
        gives="concepts",
    ),
    api.Dataset(
        "word_lists",
        "Concepts by lists of words in a YAML or JSON file, for any tokenizer.",
        "darkmatter_plugins.datasets.word_lists:make",
        config=WordListsConfig,
        gives="concepts",
    ),
)
