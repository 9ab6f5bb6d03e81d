"""Prompts and words with a known meaning: what editing, erasure and feature recovery are tested on.

Descriptors alone; what writes each dataset stands beside them.
"""

from __future__ import annotations

from pydantic import Field

from darkmatter import api
from darkmatter_plugins.datasets.options import WordListsConfig, WorldConceptsConfig

_HERE = "darkmatter_plugins.datasets"


class PairsConfig(api.Config):
    """How many minimal pairs."""

    pairs: int = Field(100, ge=2, description="number of pairs of prompts")


class GenderConfig(api.Config):
    """Options of the datasets on the gender of names."""

    names: int | None = Field(None, ge=10, description="names of either gender, drawn by the seed; null: all")


def _pairs(name: str, summary: str, make: str) -> api.Dataset:
    return api.Dataset(
        name=name,
        summary=summary,
        implementation=f"{_HERE}.{make}",
        config=PairsConfig,
        reaches=(),
        gives="minimal_pairs",
    )


def _genders(name: str, summary: str, make: str) -> api.Dataset:
    return api.Dataset(
        name=name,
        summary=summary,
        implementation=f"{_HERE}.{make}",
        config=GenderConfig,
        reaches=(),
        gives="labelled_prompts",
    )


DATASETS: tuple[api.Dataset, ...] = (
    _pairs(
        "ioi",
        "Who receives? Two names, one gives; counterfactual: a third name for the receiver's.",
        "ioi:make",
    ),
    _pairs(
        "world_indirect_object",
        "Who receives? Prompts of the embedded world; counterfactual: the other one gives.",
        "world_pairs:indirect_object",
    ),
    _pairs(
        "world_pronoun",
        "She or he? Prompts of the embedded world; counterfactual: a name of the other gender.",
        "world_pairs:pronoun",
    ),
    _genders(
        "gender_names",
        "She or he? Common English names in sentences that a pronoun may follow; for any tokenizer.",
        "gender:english",
    ),
    _genders(
        "world_gender",
        "She or he? The embedded world's names in sentences that a pronoun follows.",
        "gender:world",
    ),
    api.Dataset(
        name="world_concepts",
        summary="Concepts of the embedded world: names, gender, number, places, topics and others.",
        implementation=f"{_HERE}.world_concepts:make",
        config=WorldConceptsConfig,
        reaches=(),
        gives="concepts",
    ),
    api.Dataset(
        name="word_lists",
        summary="Concepts by lists of words in a YAML or JSON file, for any tokenizer.",
        implementation=f"{_HERE}.word_lists:make",
        config=WordListsConfig,
        reaches=(api.Reach("files", option="path"),),
        gives="concepts",
    ),
)
