"""Every built-in plugin of darkmatter, through the same door as everyone's.

Importing this module imports no torch: descriptors name their implementations as strings.
"""

from __future__ import annotations

from collections.abc import Iterable

from darkmatter import api
from darkmatter_plugins.adapters import ADAPTERS
from darkmatter_plugins.baselines import BASELINES
from darkmatter_plugins.catalogues import CATALOGUES
from darkmatter_plugins.datasets import DATASETS
from darkmatter_plugins.evaluators import EVALUATORS
from darkmatter_plugins.figures import FIGURES
from darkmatter_plugins.reporters import REPORTERS
from darkmatter_plugins.simulators import SIMULATORS
from darkmatter_plugins.sources import SOURCES


@api.hookimpl
def darkmatter_sae_adapters() -> Iterable[api.SAEAdapter]:
    """Readers of the field's file formats."""
    return ADAPTERS


@api.hookimpl
def darkmatter_sae_catalogues() -> Iterable[api.SAECatalogue]:
    """Names under which published SAEs are known."""
    return CATALOGUES


@api.hookimpl
def darkmatter_evaluators() -> Iterable[api.Evaluator]:
    """The built-in evaluators."""
    return EVALUATORS


@api.hookimpl
def darkmatter_baselines() -> Iterable[api.Baseline]:
    """The built-in controls."""
    return BASELINES


@api.hookimpl
def darkmatter_activation_sources() -> Iterable[api.ActivationSource]:
    """Language models."""
    return SOURCES


@api.hookimpl
def darkmatter_reporters() -> Iterable[api.Reporter]:
    """Renderers of tables."""
    return REPORTERS


@api.hookimpl
def darkmatter_datasets() -> Iterable[api.Dataset]:
    """Prompts and words with a known meaning."""
    return DATASETS


@api.hookimpl
def darkmatter_simulators() -> Iterable[api.Simulator]:
    """What predicts activations from text."""
    return SIMULATORS


@api.hookimpl
def darkmatter_figures() -> Iterable[api.Figure]:
    """The figures of the papers."""
    return FIGURES


@api.hookimpl
def darkmatter_suites() -> Iterable[api.EmbeddedSuite]:
    """The demo."""
    return (
        api.EmbeddedSuite(
            name="demo",
            summary="Trained SAEs of a small language model of generated stories, and controls.",
            implementation="darkmatter_plugins.world.suite:write_demo",
            locate="darkmatter_plugins.world.suite:locate",
        ),
    )
