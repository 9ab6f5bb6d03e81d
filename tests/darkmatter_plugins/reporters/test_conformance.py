"""Every built-in reporter keeps the rules that plugin authors are held to."""

import pytest

from darkmatter.testing import check_reporter
from darkmatter_plugins.reporters import REPORTERS


@pytest.mark.parametrize("name", [reporter.name for reporter in REPORTERS])
def test_built_in_reporters_conform(name):
    """A built-in reporter renders every table and lets no control character through."""
    check_reporter(name)
