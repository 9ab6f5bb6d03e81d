"""What other evaluators found of a latent, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from darkmatter.cards.parts import CardSection, Facts
from darkmatter.descriptors import NAME_GRAMMAR
from darkmatter.results.schema import Result

_SHOWN = 12
"""Numbers of another evaluator's row at most that are shown."""

_MEANINGS = {
    "autointerp": {
        "firings": "training rows on which it fires",
        "top": "score on the fragments where it fires most (correlation)",
        "random": "score on random fragments (correlation)",
        "both": "score on both together (correlation)",
        "auroc": "detection of fragments on which it fires (AUROC)",
        "auprc": "detection of fragments on which it fires (average precision)",
        "base_rate": "share of these fragments on which it fires",
        "unrelated": "score of its simulation on another latent (correlation)",
        "unrelated_latent": "that other latent",
    },
    "concept_erasure": {
        "cosine": "cosine of its decoder row with the class difference",
        "rate": "active on this share of the prompts' training rows",
        "accuracy": "probe accuracy without it",
    },
}
"""Words for columns of tables ``latents``; others are shown under their names."""

_CHOICES = {"autointerp": ("simulator", "Simulated by {}."), "concept_erasure": ("dataset", "Concept of {}.")}
"""The option of an evaluator without which its numbers say little, and how a note says it."""


def rows_of_latents(result: Result) -> dict[int, dict[str, Any]]:
    """The rows of a result's table ``latents`` by latent."""
    rows = result.tables.get("latents", [])
    return {row["latent"]: dict(row) for row in rows if isinstance(row, Mapping) and "latent" in row}


def found_beside(latent: int, beside: Iterable[Result]) -> Iterable[CardSection]:
    """A section per evaluator that has the latent in its table."""
    for other in beside:
        name = other.evaluator.name
        words = _MEANINGS.get(name, {})
        facts = [
            (words.get(column, column.replace("_", " ")), _text(value))
            for column, value in rows_of_latents(other).get(latent, {}).items()
            if column != "latent" and isinstance(value, str | int | float) and value != ""
        ]
        if facts:
            yield CardSection(f"From {name}", Facts(facts[:_SHOWN]), _note(other))


def _text(value: str | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _note(other: Result) -> str:
    option, sentence = _CHOICES.get(other.evaluator.name, ("", ""))
    chosen = other.config.get(option)
    # Notes stand outside of code blocks: only what can be a plugin's name goes into them.
    name = chosen.get("name") if isinstance(chosen, Mapping) else None
    return sentence.format(name) if isinstance(name, str) and NAME_GRAMMAR.fullmatch(name) else ""
