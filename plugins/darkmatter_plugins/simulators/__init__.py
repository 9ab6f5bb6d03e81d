"""What predicts activations from text: n-grams, language models."""

from __future__ import annotations

from darkmatter import api

SIMULATORS: tuple[api.Simulator, ...] = ()
