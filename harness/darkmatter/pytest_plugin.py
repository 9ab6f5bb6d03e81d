"""For pytest: the fixture ``darkmatter``, so that a project's own tests hold its SAEs to numbers.

pytest imports this module whenever it starts, in every project of an environment that has darkmatter;
so nothing is imported here but pytest itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from darkmatter.results.asserting import Asserting


@pytest.fixture(scope="session")
def darkmatter(pytestconfig: pytest.Config) -> Asserting:
    """Assertions on evaluated SAEs: ``darkmatter.assert_metric("runs/my_sae", "fvu", max=0.12)``."""
    from darkmatter.results.asserting import Asserting

    return Asserting(pytestconfig.rootpath)
