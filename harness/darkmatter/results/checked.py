"""What a check says of each metric, and whether all of it is good enough."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from darkmatter.results.limits import Limit
from darkmatter.results.reading import Problem, StoredResult
from darkmatter.results.schema import MetricValue

Verdict = Literal["red", "error", "green", "not compared", "left out"]
"""``not compared`` could have been, had the baseline what it takes; ``left out`` is never checked."""


@dataclass(frozen=True)
class CheckedMetric:
    """One metric of one SAE; without a metric, what is said of a result or of the SAE as a whole.

    ``worse``, ``low`` and ``high`` are the worsening and its interval in the metric's unit, positive
    where it became worse.
    """

    sae: str
    hook: str
    evaluator: str
    metric: str
    verdict: Verdict
    reason: str = ""
    baseline: float | None = None
    current: float | None = None
    worse: float | None = None
    low: float | None = None
    high: float | None = None
    limit: Limit | None = None
    unit: str = ""
    higher_is_better: bool | None = None
    ci_method: str = ""

    @classmethod
    def of(
        cls, entry: StoredResult, metric: MetricValue | None, verdict: Verdict, reason: str = ""
    ) -> CheckedMetric:
        """What is said of a metric of a result, or of the result as a whole; without numbers."""
        result = entry.result
        row = cls(result.sae.name, result.sae.hook, result.evaluator.name, "", verdict, reason)
        if metric is None:
            return row
        return replace(row, metric=metric.name, unit=metric.unit, higher_is_better=metric.higher_is_better)

    @property
    def called(self) -> str:
        """``evaluator.metric``, as ``--metric`` names it."""
        return f"{self.evaluator}.{self.metric}" if self.metric else ""

    @property
    def why(self) -> str:
        """The reason without its details: what many metrics share."""
        return self.reason.partition(": ")[0]

    def to_json(self) -> dict[str, Any]:
        """As a row; the limit as it is written."""
        return asdict(self) | {"limit": None if self.limit is None else str(self.limit)}


@dataclass(frozen=True)
class Check:
    """Everything that was found, and whether it is good enough."""

    metrics: tuple[CheckedMetric, ...]
    limit: Limit
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def having(self, *verdicts: Verdict) -> list[CheckedMetric]:
        """The metrics with one of these verdicts."""
        return [metric for metric in self.metrics if metric.verdict in verdicts]

    @property
    def passed(self) -> bool:
        """Something was compared, and nothing of it is red or could not be judged."""
        return bool(self.having("green")) and not self.having("red", "error") and not self.problems

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        counts = Counter(metric.verdict for metric in self.metrics)
        return {
            "passed": self.passed,
            "max_regression": str(self.limit),
            "counts": dict(sorted(counts.items())),
            "metrics": [metric.to_json() for metric in self.metrics],
            "notes": list(self.notes),
            "problems": [asdict(problem) for problem in self.problems],
        }
