"""Numbers as a reader wants them: no more digits than the interval supports.

What the interval's digits would show as zeros has one digit of its own: ``0.08 [0.0004, 0.16]``.
"""

from __future__ import annotations

import math
import re
import sys
from decimal import Decimal

_PLAIN = 4
"""Significant digits where there is no interval."""
_MAX_DECIMALS = 6
_NOTHING = 1e-12
"""Smaller values are what rounding leaves of zero."""
_ROUND_OFF = 1e-7
"""An interval narrower than this share of the value is what float32 leaves of none."""


def format_value(value: float, low: float | None = None, high: float | None = None) -> str:
    """A value with its interval, as ``0.0221 [0.0217, 0.0226]``; without width, the value alone."""
    if value != 0 and max(abs(value), abs(low or 0.0), abs(high or 0.0)) < _NOTHING:
        return "≈ 0"
    if low is None or high is None or high - low <= max(_ROUND_OFF * abs(value), sys.float_info.min):
        return format_plain(value)
    largest = max(abs(value), abs(low), abs(high))
    if largest >= 1e6 or _decimals(high - low) > _MAX_DECIMALS:
        digits = max(3, math.floor(math.log10(largest)) + _decimals(high - low) + 1)
        texts = [f"{number + 0.0:.{digits}g}" for number in (value, low, high)]
        return f"{texts[0]} [{texts[1]}, {texts[2]}]"
    decimals = max(0, _decimals(high - low))
    texts = [_nonzero(number, decimals, high - low) for number in (value, low, high)]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def format_plain(value: float) -> str:
    """A number of unknown precision: four significant digits, whole numbers as they are."""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    text = f"{value:.{_PLAIN}g}"
    return text if "e" in text or "." not in text else text.rstrip("0").rstrip(".")


def _decimals(width: float) -> int:
    """Decimals that show half the width with one digit, with two where the first would be 1 or 2."""
    half = width / 2.0
    exponent = math.floor(math.log10(half))
    leading = half / 10.0**exponent
    return -exponent + (1 if leading < 3.0 else 0)


def _nonzero(value: float, decimals: int, width: float) -> str:
    """Fixed decimals, or one digit where these would show zeros: an end near 0 tells on which side it is."""
    text = f"{value:.{decimals}f}"
    if float(text) != 0.0:
        return text
    if abs(value) <= _ROUND_OFF * width:
        return text.removeprefix("-")
    digit = f"{value:.0e}"
    return digit if abs(value) < 10.0**-_MAX_DECIMALS else f"{Decimal(digit):f}"


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key under which ``width2`` comes before ``width10``."""
    return [_part_key(part) for part in re.split(r"([0-9]+)", text) if part]


def _part_key(part: str) -> tuple[int, int, str]:
    """A run of digits by length, then as text: a stranger's may be too long for a number."""
    if part[0] not in "0123456789":
        return (1, 0, part.lower())
    digits = part.lstrip("0")
    return (0, len(digits), digits)
