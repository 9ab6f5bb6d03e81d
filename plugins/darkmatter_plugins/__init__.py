"""Every built-in plugin of darkmatter, through the same door as everyone's.

Importing this module imports no torch: descriptors name their implementations as strings.
"""

from __future__ import annotations

from collections.abc import Iterable

from darkmatter import api
from darkmatter_plugins.baselines import BASELINES
from darkmatter_plugins.evaluators import EVALUATORS
from darkmatter_plugins.reporters import REPORTERS


@api.hookimpl
def darkmatter_evaluators() -> Iterable[api.Evaluator]:
    """The built-in evaluators."""
    return EVALUATORS


@api.hookimpl
def darkmatter_baselines() -> Iterable[api.Baseline]:
    """The built-in controls."""
    return BASELINES


@api.hookimpl
def darkmatter_reporters() -> Iterable[api.Reporter]:
    """The built-in renderers of tables."""
    return REPORTERS
