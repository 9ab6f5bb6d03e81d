"""The words around a table, so that a stranger understands its numbers."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from darkmatter.descriptors import Metric
from darkmatter.results.comparable import flat
from darkmatter.results.schema import MetricValue, Result
from darkmatter.results.table import UNDEFINED

HOW_TO_READ = (
    "One row is one SAE; controls, which are fitted by simple rules on the same training rows, come last.",
    "↑: higher is better, ↓: lower is better. [low, high]: 95% interval over held-out data.",
    (
        "Bold: the best SAE of a column, controls aside. =: cannot be told apart from the best (a paired "
        "95% interval of the difference, Holm-adjusted within the column, contains 0)."
    ),
    f"{UNDEFINED}: no value, for the reason in the note.",
)

_HASH = re.compile(r"[0-9a-f]{16,}")
_MAX_ITEMS = 14


def describe_data(results: Sequence[Result]) -> str:
    """One line on the activations and the analysis behind comparable results."""
    first = results[0]
    said = first.cache.get("description")
    parts = [said] if isinstance(said, str) else list(_scalars(first.cache))
    parts.extend(_scalars(first.analysis))
    held_out = [metric.n for result in results for metric in result.metrics if metric.n]
    if held_out:
        parts.append(f"{max(held_out)} held-out rows")
    return ", ".join(parts)


def _scalars(values: Mapping[str, Any]) -> Iterable[str]:
    """What a reader can use of a description: short scalars, no hashes."""
    shown = [(name, value) for name, value in flat(values).items() if _is_readable(name, value)]
    return [f"{name.replace('_', ' ')} {_text(value)}" for name, value in shown[:_MAX_ITEMS]]


def _is_readable(name: str, value: Any) -> bool:
    if name == "key" or value is None or isinstance(value, list | tuple | dict):
        return False
    return not (isinstance(value, str) and (_HASH.search(value) or len(value) > 80 or not value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def describe_metric(metric: MetricValue, described: Metric | None) -> str:
    """One line on what a column shows."""
    meaning = described.meaning.rstrip(".") if described else "not described by any installed plugin"
    extras = []
    if metric.unit:
        extras.append(f"in {metric.unit}")
    if described and (described.low is not None or described.high is not None):
        low = "-inf" if described.low is None else f"{described.low:g}"
        high = "inf" if described.high is None else f"{described.high:g}"
        extras.append(f"from {low} to {high}")
    if metric.higher_is_better is not None:
        extras.append("higher is better" if metric.higher_is_better else "lower is better")
    return f"{meaning} ({', '.join(extras)})." if extras else f"{meaning}."


def evaluator_titles(
    sources: Mapping[tuple[str, int, str], Mapping[str, Any]],
) -> dict[tuple[str, int, str], str]:
    """A heading for each (evaluator, version, config): version and options only where several exist."""
    by_name: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for source in sources:
        by_name[source[0]].append(source)
    titles = {}
    for name, members in by_name.items():
        versions = {version for _, version, _ in members}
        options = [flat(sources[member]) for member in members]
        differing = sorted(
            key
            for key in {key for option in options for key in option}
            if len({json.dumps(option.get(key)) for option in options}) > 1
        )
        for member, option in zip(members, options, strict=True):
            extras = [f"v{member[1]}"] if len(versions) > 1 else []
            extras += [f"{key}={_text(option[key])}" for key in differing if key in option]
            titles[member] = f"{name} ({', '.join(extras)})" if extras else name
    return titles
