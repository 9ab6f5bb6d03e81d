"""How much worse a metric may become: ``2%`` of the baseline's value, or ``0.01`` in its own unit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from darkmatter.errors import UsageError
from darkmatter.results.numbers import format_plain

_LIMIT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(%?)")


@dataclass(frozen=True)
class Limit:
    """A bound on a worsening; ``amount`` is as written, so 2 for ``2%``."""

    amount: float
    relative: bool

    def allowed(self, baseline: float) -> float:
        """The largest worsening that is allowed, in the metric's unit."""
        return self.amount / 100.0 * abs(baseline) if self.relative else self.amount

    def __str__(self) -> str:
        return f"{format_plain(self.amount)}{'%' if self.relative else ''}"


SPARSITY = "reconstruction.l0"
STANDING_LIMITS = {SPARSITY: Limit(5.0, relative=True)}
"""Limits that hold unless others are given.

An SAE with more active latents reconstructs better, so the other metrics say little where L0 moved. Top-k
SAEs have the same L0 with every seed; where L0 is learned, small differences are no other SAE.
"""


def parse_limit(text: str, option: str) -> Limit:
    """``2%`` or ``0.01``; anything else is wrong usage."""
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        message = (
            f"{option} {text!r}: expected a share of the baseline's value such as 2%, or a plain number "
            "such as 0.01 in the metric's own unit."
        )
        raise UsageError(message)
    return Limit(float(found[1]), relative=bool(found[2]))


def parse_max_regression(text: str) -> Limit:
    """The limit of every metric that has none of its own: always a share, metrics differ in scale."""
    limit = parse_limit(text, "--max-regression")
    if not limit.relative:
        as_share = format_plain(limit.amount * 100)
        message = (
            f"--max-regression {text}: expected a share with its percent sign, such as 2%. For {as_share}% "
            f"write {as_share}%; a limit in a metric's own unit goes to --metric EVALUATOR.METRIC=LIMIT."
        )
        raise UsageError(message)
    return limit


def parse_metric_limits(given: Iterable[str]) -> dict[str, Limit]:
    """``EVALUATOR.METRIC=LIMIT`` by ``EVALUATOR.METRIC``."""
    limits: dict[str, Limit] = {}
    for text in given:
        name, equals, limit = text.rpartition("=")
        if not (equals and name):
            message = f"--metric {text!r}: expected EVALUATOR.METRIC=LIMIT, such as reconstruction.fvu=5%."
            raise UsageError(message)
        if name in limits:
            message = f"--metric {text!r}: {name} is given twice; leave one of them out."
            raise UsageError(message)
        limits[name] = parse_limit(limit, f"--metric {name}=")
    return limits
