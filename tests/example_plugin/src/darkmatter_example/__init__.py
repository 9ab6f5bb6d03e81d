"""An example plugin: the hooks. Importing this imports no torch."""

import logging

from darkmatter import api
from darkmatter_example import toysae
from darkmatter_example.descriptors import (
    BASELINE,
    CATALOGUE,
    DATASET,
    EVALUATOR,
    FIGURE,
    REPORTER,
    SIMULATOR,
    SOURCE,
    SUITE,
)

_log = logging.getLogger(__name__)


@api.hookimpl
def darkmatter_evaluators() -> list[api.Evaluator]:
    """What we measure."""
    return [EVALUATOR]


@api.hookimpl
def darkmatter_sae_adapters() -> list[api.SAEAdapter]:
    """What we read."""
    return [toysae.ADAPTER]


@api.hookimpl
def darkmatter_sae_catalogues() -> list[api.SAECatalogue]:
    """What published SAEs are called."""
    return [CATALOGUE]


@api.hookimpl
def darkmatter_baselines() -> list[api.Baseline]:
    """What we compare with."""
    return [BASELINE]


@api.hookimpl
def darkmatter_activation_sources() -> list[api.ActivationSource]:
    """Where activations come from."""
    return [SOURCE]


@api.hookimpl
def darkmatter_datasets() -> list[api.Dataset]:
    """What models are asked."""
    return [DATASET]


@api.hookimpl
def darkmatter_simulators() -> list[api.Simulator]:
    """Who guesses when a latent fires."""
    return [SIMULATOR]


@api.hookimpl
def darkmatter_reporters() -> list[api.Reporter]:
    """How we show it."""
    return [REPORTER]


@api.hookimpl
def darkmatter_figures() -> list[api.Figure]:
    """How we draw it."""
    return [FIGURE]


@api.hookimpl
def darkmatter_suites() -> list[api.EmbeddedSuite]:
    """What is ready to run."""
    return [SUITE]


@api.hookimpl
def darkmatter_run_event(event: api.RunEvent) -> None:
    """Log every finished result; what an observer raises never breaks a run."""
    if isinstance(event, api.ResultWritten):
        _log.info("%s of %s is done", event.evaluator, event.sae)
