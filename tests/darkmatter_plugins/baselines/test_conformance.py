"""Every built-in baseline keeps the rules that plugin authors are held to."""

import pytest

from darkmatter.testing import check_baseline
from darkmatter_plugins.baselines import BASELINES


@pytest.mark.parametrize("name", [baseline.name for baseline in BASELINES])
def test_built_in_baselines_conform(name):
    """A built-in control is a sound SAE, and the same one for the same rows and seed."""
    check_baseline(name)
