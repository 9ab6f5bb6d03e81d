"""What predicts activations from text: n-grams, language models."""

from __future__ import annotations

from darkmatter import api
from darkmatter_plugins.simulators.endpoint.descriptor import SIMULATOR as OPENAI
from darkmatter_plugins.simulators.local.descriptor import SIMULATOR as LOCAL

SIMULATORS: tuple[api.Simulator, ...] = (LOCAL, OPENAI)
