"""Values against the sums that they were stored with."""

import numpy as np
import pytest

from darkmatter.results.follows import why_not_from_sums
from darkmatter.results.schema import Estimator, MetricValue
from darkmatter.results.units import Units

IDS = np.arange(4)
COLUMNS = {"top": np.array([1.0, 2.0, 3.0, 4.0]), "rows": np.full(4, 10.0), "zero": np.zeros(4)}


def why(value, **estimator):
    units = Units("contexts", IDS, COLUMNS, {"x": Estimator(**estimator)})
    return why_not_from_sums(MetricValue(name="x", value=value), units)


@pytest.mark.parametrize(("value", "complement"), [(0.25, False), (0.75, True)])
def test_a_ratio_is_that_of_its_sums(value, complement):
    """Up to round-off the value is the ratio, or one minus it; anything else is said with both numbers."""
    fields = {"numerator": "top", "denominator": "rows", "complement": complement}

    assert why(value, **fields) == why(value * (1 + 1e-12), **fields) == ""
    assert why(value + 1e-6, **fields) != ""
    assert why(0.5, **fields) == f"it is stated as 0.5, its sums give {value}"


def test_a_ratio_without_denominator_is_a_mean():
    """Sums alone are divided by the number of units."""
    assert why(2.5, numerator="top") == ""
    assert why(10.0, numerator="top") != ""


def test_a_value_that_its_sums_do_not_define_does_not_follow():
    """A denominator of zero gives no number, so every stated one is wrong."""
    assert why(0.25, numerator="top", denominator="zero") == "it is stated as 0.25, its sums give nan"


def test_contributions_add_up_to_zero():
    """What is no ratio of sums cannot be made again, and its contributions must cancel."""
    assert why(0.7, kind="influence", numerator="zero") == ""
    assert why(0.7, kind="influence", numerator="top") == "its contributions add up to 10, not to 0"


def test_what_has_no_sums_or_no_value_is_not_judged():
    """Nothing is said where nothing can be compared."""
    units = Units("contexts", IDS, COLUMNS, {})
    missing = MetricValue(name="x", value=None, status="undefined", reason="none")

    assert why_not_from_sums(MetricValue(name="x", value=1.0), units) == ""
    assert why_not_from_sums(missing, units) == ""
