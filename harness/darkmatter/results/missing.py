"""What a table does not show and why: no SAE, failure or file is dropped without a word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from darkmatter.printable import brief
from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import is_unread
from darkmatter.results.numbers import natural_key
from darkmatter.results.reading import Problem
from darkmatter.results.sections import by_place, title_of
from darkmatter.results.selecting import Metric


def failures(results: ResultSet, evaluators: Collection[str] | None = None) -> list[str]:
    """What failed or was skipped, with the same reason said once and briefly; results have it in full.

    Of ``evaluators`` alone where these are given, and of SAEs that no evaluator could read.
    """
    by_name: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, result in zip(results.names, results, strict=True):
        is_wanted = evaluators is None or result.evaluator.name in evaluators or is_unread(result)
        if result.status != "ok" and is_wanted:
            by_name[result.status, brief(result.reason or "no reason given"), name].append(
                result.evaluator.name
            )
    return grouped(
        (name, f"{', '.join(sorted(found))} {status}: {reason}")
        for (status, reason, name), found in by_name.items()
    )


def unmeasured(results: ResultSet, metric: Metric) -> list[str]:
    """SAEs without a result that has the metric, and without a failure that says why."""
    evaluator, name = metric
    found: list[tuple[str, str]] = []
    for place, members in by_place(results):
        saes: dict[str, bool] = {}
        for label, entry in members:
            result = entry.result
            if result.sae.is_control or result.sae.members or is_unread(result):
                continue
            of_evaluator = result.evaluator.name == evaluator
            has_it = any(each.name == name for each in result.metrics) or result.status != "ok"
            saes[label] = saes.get(label, False) or (of_evaluator and has_it)
        where = title_of(place, members[0][1].result)
        found += [(label, f"no {evaluator}.{name} at {where}") for label, known in saes.items() if not known]
    return grouped(found)


def grouped(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Names with the reason why each is not shown: one line per reason."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons:
        by_reason[reason].append(name)
    return [f"{', '.join(sorted(names, key=natural_key))}: {reason}" for reason, names in by_reason.items()]


def unused(problems: Iterable[Problem]) -> tuple[str, ...]:
    """Files that were not trusted, with the reason."""
    return tuple(f"{problem.path} {problem.reason}" for problem in problems)
