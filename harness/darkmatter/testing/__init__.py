"""Checks and fixtures for people who write plugins.

One call per plugin object, in an ordinary test::

    from darkmatter.testing import check_evaluator

    def test_my_evaluator_conforms():
        check_evaluator("my_evaluator")

A check raises ``AssertionError`` with the rule that was broken, what was seen, and how to mend it.
It returns what it could not check here, one sentence each. Fixtures for pytest are in
``darkmatter.testing.fixtures``. Importing this package imports neither torch nor pytest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darkmatter.testing.adapters import check_adapter as check_adapter
    from darkmatter.testing.baselines import check_baseline as check_baseline
    from darkmatter.testing.catalogues import check_catalogue as check_catalogue
    from darkmatter.testing.datasets import check_dataset as check_dataset
    from darkmatter.testing.evaluators import check_evaluator as check_evaluator
    from darkmatter.testing.figures import check_figure as check_figure
    from darkmatter.testing.imports import check_imports as check_imports
    from darkmatter.testing.reporters import check_reporter as check_reporter
    from darkmatter.testing.simulators import check_simulator as check_simulator
    from darkmatter.testing.synthetic import synthetic_activations as synthetic_activations
    from darkmatter.testing.synthetic import synthetic_saes as synthetic_saes
    from darkmatter.testing.words import WordTokenizer as WordTokenizer

_HOMES = {
    "WordTokenizer": "darkmatter.testing.words",
    "check_adapter": "darkmatter.testing.adapters",
    "check_baseline": "darkmatter.testing.baselines",
    "check_catalogue": "darkmatter.testing.catalogues",
    "check_dataset": "darkmatter.testing.datasets",
    "check_evaluator": "darkmatter.testing.evaluators",
    "check_figure": "darkmatter.testing.figures",
    "check_imports": "darkmatter.testing.imports",
    "check_reporter": "darkmatter.testing.reporters",
    "check_simulator": "darkmatter.testing.simulators",
    "synthetic_activations": "darkmatter.testing.synthetic",
    "synthetic_saes": "darkmatter.testing.synthetic",
}

__all__ = [
    "WordTokenizer",
    "check_adapter",
    "check_baseline",
    "check_catalogue",
    "check_dataset",
    "check_evaluator",
    "check_figure",
    "check_imports",
    "check_reporter",
    "check_simulator",
    "synthetic_activations",
    "synthetic_saes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module 'darkmatter.testing' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)
