"""Whether results became worse than a baseline: what ``darkmatter check`` decides.

A metric is red where the lower bound of the paired 95% interval of its worsening, over the same
contexts, exceeds its limit. Each metric has its own interval; they are not adjusted for their number,
because a limit above 0 already asks for more than a difference. What was in the baseline and cannot be
compared now is never green, and what the baseline lacks is counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from darkmatter.errors import UsageError, nearest
from darkmatter.results.checked import Check, CheckedMetric
from darkmatter.results.collection import ResultSet
from darkmatter.results.judging import Judge
from darkmatter.results.limits import Limit
from darkmatter.results.matching import Matching
from darkmatter.results.numbers import natural_key
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue

_MEANT = 4
"""The most names that a message proposes."""


def check_regression(
    baseline: ResultSet,
    current: ResultSet,
    limit: Limit,
    named: Mapping[str, Limit] | None = None,
    *,
    require_all: bool = False,
) -> Check:
    """Compare what a baseline says of SAEs with what is found now, SAE by SAE of the same name.

    With ``require_all`` whatever the baseline lacks to be compared is red.
    """
    limits = named or {}
    require_checkable(baseline, limits)
    matching = Matching(_of_saes(baseline), _of_saes(current), Judge(limit, limits))
    metrics = [*matching.of_baseline(), *matching.of_now_alone()]
    if require_all:
        metrics = [_required(metric) for metric in metrics]
    metrics.sort(key=lambda metric: (natural_key(metric.sae), metric.evaluator, metric.hook))
    problems = (*baseline.problems, *current.problems)
    return Check(tuple(metrics), limit, tuple(dict.fromkeys(matching.notes)), problems)


def require_checkable(baseline: ResultSet, limits: Mapping[str, Limit]) -> None:
    """Refuse a baseline without SAEs, and a limit that could never turn anything red.

    The baseline alone tells, so that it can be said before anything is run.
    """
    before = _of_saes(baseline)
    if not before:
        message = (
            "the baseline has no results of SAEs. `darkmatter run SUITE.yaml --out DIR` makes them; keep "
            "that folder and name it with --baseline."
        )
        raise UsageError(message)
    found: dict[str, list[MetricValue]] = {}
    for entry in before:
        for metric in entry.result.metrics:
            found.setdefault(f"{entry.result.evaluator.name}.{metric.name}", []).append(metric)
    for name in limits:
        if name not in found:
            message = f"--metric {name}: the baseline has no such metric. {_meant(name, found)}"
            raise UsageError(message)
        if all(metric.value is None for metric in found[name]):
            reason = found[name][0].reason
            message = (
                f"--metric {name}: it cannot be checked, since it has no value in the baseline ({reason})."
            )
            raise UsageError(message)


def _of_saes(results: ResultSet) -> list[StoredResult]:
    return [entry for entry in results.stored if not entry.result.sae.is_control]


def _required(metric: CheckedMetric) -> CheckedMetric:
    return replace(metric, verdict="red") if metric.verdict == "not compared" else metric


def _meant(name: str, known: Collection[str]) -> str:
    """The nearest metrics, also of a name without its evaluator; never all of them."""
    evaluator, _, asked = name.partition(".")
    evaluators = sorted({each.partition(".")[0] for each in known})
    pool = [each for each in sorted(known) if evaluator not in evaluators or each.startswith(f"{evaluator}.")]
    parts = {each: each.partition(".")[2] for each in pool}
    wanted = asked or name
    close = [wanted] if wanted in parts.values() else nearest(wanted, dict.fromkeys(parts.values()))
    names = [repr(each) for near in close for each, part in parts.items() if part == near]
    if names:
        return f"Did you mean {' or '.join(names[:_MEANT])}?"
    shown = "`darkmatter table BASELINE --all` shows its metrics"
    return f"Its evaluators are {', '.join(evaluators)}; {shown}."
