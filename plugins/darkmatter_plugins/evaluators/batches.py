"""How much text is run through a language model together."""

from __future__ import annotations

from darkmatter import sources

BATCH_LOGITS = 1 << 26
"""Logits of one run at most (256 MB of float32), one context at least."""


def at_once(model: sources.LanguageModel, positions: int, most: int | None = None) -> int:
    """Texts of so many positions that are run together: their logits are bounded."""
    fit = max(1, BATCH_LOGITS // (positions * model.n_vocab))
    return fit if most is None else min(most, fit)
