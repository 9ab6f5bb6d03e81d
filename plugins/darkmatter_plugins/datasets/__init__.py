"""Prompts and words with a known meaning: what editing, erasure and feature recovery are tested on."""

from __future__ import annotations

from pydantic import Field

from darkmatter import api


class GenderConfig(api.Config):
    """Options of the datasets on the gender of names."""

    names: int | None = Field(None, ge=10, description="names of either gender, drawn by the seed; null: all")


DATASETS: tuple[api.Dataset, ...] = (
    api.Dataset(
        "gender_names",
        "She or he? Common English names in sentences that a pronoun may follow; for any tokenizer.",
        "darkmatter_plugins.datasets.gender:english",
        config=GenderConfig,
        gives="labelled_prompts",
    ),
    api.Dataset(
        "world_gender",
        "She or he? The embedded world's names in sentences that a pronoun follows.",
        "darkmatter_plugins.datasets.gender:world",
        config=GenderConfig,
        gives="labelled_prompts",
    ),
)
