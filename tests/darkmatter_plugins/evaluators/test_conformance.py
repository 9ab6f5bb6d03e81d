"""Every built-in evaluator keeps the rules that plugin authors are held to."""

import pytest

from darkmatter.testing import check_evaluator
from darkmatter_plugins.evaluators import EVALUATORS

SMALL = {
    "autointerp": {
        "latents": 4,
        "min_firings": 2,
        "fragment": 4,
        "train_fragments": 8,
        "test_fragments": 4,
    },
    "error_saes": {
        "k": 2,
        "width": 12,
        "steps": 3,
        "batch": 16,
        "seeds": 1,
        "latents": 2,
        "fragment": 4,
        "train_fragments": 8,
        "test_fragments": 4,
    },
}
"""Options for evaluators whose default budget is no test's."""

NEEDS_A_FILE = {"feature_recovery"}
"""Checked beside its other tests, with known features."""


@pytest.mark.parametrize("name", [each.name for each in EVALUATORS if each.name not in NEEDS_A_FILE])
def test_built_in_evaluators_conform(name):
    """The numbers of a built-in evaluator are declared, bounded, repeatable and undisturbing."""
    check_evaluator(name, config=SMALL.get(name))
