"""Every built-in evaluator keeps the rules that plugin authors are held to."""

import pytest

from darkmatter.testing import check_evaluator
from darkmatter_plugins.evaluators import EVALUATORS


@pytest.mark.parametrize("name", [evaluator.name for evaluator in EVALUATORS])
def test_built_in_evaluators_conform(name):
    """The numbers of a built-in evaluator are declared, bounded, repeatable and undisturbing."""
    check_evaluator(name)
