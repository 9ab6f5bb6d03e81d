"""Numbers with no more digits than their interval supports."""

import pytest

from darkmatter.results.numbers import format_plain, format_value, natural_key


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.022123, 0.021689, 0.022567, "0.0221 [0.0217, 0.0226]"),
        (0.5, 0.4831, 0.5169, "0.500 [0.483, 0.517]"),
        (16.0, 16.0, 16.0, "16"),
        (16.25, None, None, "16.25"),
        (-0.00004, -0.003, 0.003, "-0.00004 [-0.003, 0.003]"),
        (0.08, 0.00042, 0.16, "0.08 [0.0004, 0.16]"),
        (-0.08, -0.16, -0.00096, "-0.08 [-0.16, -0.001]"),
        (0.08, 0.0, 0.16, "0.08 [0.00, 0.16]"),
        (0.08, 1e-17, 0.16, "0.08 [0.00, 0.16]"),
        (0.3, -14.0, 15.0, "0.3 [-14, 15]"),
        (3.4e-8, -0.003, 0.003, "3e-08 [-0.003, 0.003]"),
        (0.9999998, 0.9999996, 0.9999999, "0.9999998 [0.9999996, 0.9999999]"),
        (1234567.0, 1234560.0, 1234574.0, "1234567 [1234560, 1234574]"),
        (2.5e7, 2.4e7, 2.6e7, "2.5e+07 [2.4e+07, 2.6e+07]"),
        (1e-13, -0.5, 0.5, "0.0 [-0.5, 0.5]"),
        (-0.0, -1e-9, 1e-9, "0 [-1e-09, 1e-09]"),
        (0.0, 0.0, 5e-324, "0"),
        (1.0, 0.99999998, 1.0, "1"),
        (123456.7, 120000.0, 127000.0, "123457 [120000, 127000]"),
        (2.5e9, 2.4e9, 2.6e9, "2.5e+09 [2.4e+09, 2.6e+09]"),
        (1.0, 1.0 - 1e-15, 1.0, "1"),
        (1e-9, 0.9e-9, 1.1e-9, "1e-09 [9e-10, 1.1e-09]"),
    ],
)
def test_values_are_rounded_to_their_interval(value, low, high, text):
    """The half width decides the decimals; no number but 0 reads as zeros; without width one stands alone."""
    assert format_value(value, low, high) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (16.0, "16"), (0.012345678, "0.01235"), (1234.5678, "1235"), (0.5, "0.5"), (1e-7, "1e-07")],
)
def test_values_without_interval_have_four_digits(value, text):
    """Whole numbers stay whole, others get four significant digits."""
    assert format_plain(value) == text


def test_natural_order_counts_numbers():
    """Widths and layers sort as numbers."""
    names = ["w10", "w9", "blocks.10", "blocks.2", "Alpha", "²"]

    assert sorted(names, key=natural_key) == ["Alpha", "blocks.2", "blocks.10", "w9", "w10", "²"]


def test_digits_of_any_length_sort_as_numbers():
    """A run of digits may be longer than Python turns into a number; zeros before it do not count."""
    names = ["w" + "9" * 5000, "w1" + "0" * 5000, "w" + "0" * 5000 + "8", "w12"]

    assert sorted(names, key=natural_key) == [names[2], names[3], names[0], names[1]]
    assert natural_key("w007") == natural_key("w7")
