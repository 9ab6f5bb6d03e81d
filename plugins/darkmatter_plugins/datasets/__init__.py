"""Prompts and words with a known meaning: what editing, erasure and feature recovery are tested on."""

from __future__ import annotations

from darkmatter import api

DATASETS: tuple[api.Dataset, ...] = ()
