"""Limits as one writes them on the command line."""

import pytest

from darkmatter.errors import UsageError
from darkmatter.results.limits import Limit, parse_limit, parse_max_regression, parse_metric_limits


def test_a_percent_sign_makes_a_share_of_the_baseline():
    """2% of a baseline of -0.5 is 0.01; a plain number is what it says, whatever the baseline."""
    assert parse_limit("2%", "x").allowed(-0.5) == pytest.approx(0.01)
    assert parse_limit("0.03", "x").allowed(100.0) == 0.03
    assert str(parse_limit("2.50%", "x")) == "2.5%"


@pytest.mark.parametrize("text", ["", "%", "-1%", "two", "nan", "inf%", "1e9", "2 %%", "9" * 400])
def test_anything_else_is_wrong_usage(text):
    """No text becomes a limit that is negative, infinite or no number."""
    with pytest.raises(UsageError, match="expected"):
        parse_limit(text, "--metric")


def test_the_common_limit_needs_its_percent_sign():
    """0.02 could mean 2% or 0.02%: it is refused, and the message says what to write."""
    with pytest.raises(UsageError, match="write 2%"):
        parse_max_regression("0.02")


def test_limits_of_metrics_are_read_from_the_right():
    """A metric's name may hold dots, brackets and equals signs."""
    found = parse_metric_limits(["a.share[x=1]=3%", "b.kl=0.5"])

    assert found == {"a.share[x=1]": Limit(3.0, relative=True), "b.kl": Limit(0.5, relative=False)}


@pytest.mark.parametrize("given", [["fvu"], ["=2%"], ["a.b=1%", "a.b=2%"]])
def test_a_limit_needs_one_metric(given):
    """A name is needed, and naming one twice would leave one limit unused."""
    with pytest.raises(UsageError):
        parse_metric_limits(given)
