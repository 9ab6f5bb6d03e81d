"""What predicts activations from text: n-grams, language models."""

from __future__ import annotations

from darkmatter import api
from darkmatter_plugins.simulators.endpoint.descriptor import SIMULATOR as ENDPOINT
from darkmatter_plugins.simulators.local.descriptor import SIMULATOR as LOCAL


class NoConfig(api.Config):
    """No options."""


TOKEN = api.Simulator(
    name="token",
    summary="Mean activation at the same token in training fragments; offline.",
    implementation="darkmatter_plugins.simulators.ngram:token",
    config=NoConfig,
    reaches=(),
)

NGRAM = api.Simulator(
    name="ngram",
    summary="Mean activation at the same last two tokens where seen in training, else at the token; offline.",
    implementation="darkmatter_plugins.simulators.ngram:ngram",
    config=NoConfig,
    reaches=(),
)

SIMULATORS: tuple[api.Simulator, ...] = (NGRAM, TOKEN, LOCAL, ENDPOINT)
