"""Figures of a curve over the number of features, against curves whose area and crossing are known."""

from __future__ import annotations

import numpy as np
import pytest

from darkmatter_plugins.evaluators.feature_editing.curves import Crossing, area, sizes

SIZES = [0, 1, 2, 4, 8, 16]
PLACES = np.log2(1 + np.array(SIZES))


def test_sizes_are_powers_of_two_with_none_the_largest_and_the_fixed_number():
    """0, the powers of two, the largest even if it is none, and the number of the single figures."""
    assert sizes(20, 6) == [0, 1, 2, 4, 6, 8, 16, 20]
    assert sizes(4, 8) == [0, 1, 2, 4, 8]


def test_area_of_a_line_is_its_middle():
    """1 everywhere has area 1; a line from 1 to 0 in log2(1 + m) has one half; beyond largest is not seen."""
    curves = np.stack([np.ones(6), 1 - PLACES / PLACES[-1]])
    assert area(curves, SIZES, 16) == pytest.approx([1, 0.5])
    assert area(curves, SIZES, 8)[1] == pytest.approx(1 - PLACES[4] / PLACES[-1] / 2)


def test_crossing_is_the_first_and_between_two_sizes_a_line():
    """From 1 at m = 1 to -1 at m = 2, half way in log2(1 + m): sqrt(2 * 3) - 1; later rises do not matter."""
    curve = np.array([[2.0, 1.0, -1.0, 3.0, -2.0, -2.0]])
    assert Crossing(curve, SIZES).linearised().value == pytest.approx(6**0.5 - 1)
    assert Crossing(curve + 5, SIZES).linearised() is None
    assert np.isnan(Crossing(curve + 5, SIZES).at(np.ones((1, 1))))[0]


def test_contributions_are_the_derivative_of_the_crossing_in_the_weights():
    """Moving one unit's weight by a little moves the crossing by its contribution."""
    rng = np.random.default_rng(0)
    curves = 1.0 - PLACES / 2 + 0.2 * rng.standard_normal((7, 6))
    crossing = Crossing(curves, SIZES)
    found = crossing.linearised()
    weights = np.ones((7, 7)) + 1e-6 * np.eye(7)
    assert (crossing.at(weights) - found.value) / 1e-6 == pytest.approx(found.contributions, rel=1e-4)
