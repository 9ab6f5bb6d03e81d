"""The words around a table, so that a stranger understands its numbers."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from darkmatter.descriptors import Metric
from darkmatter.results.comparable import flat
from darkmatter.results.schema import MetricValue, Result
from darkmatter.results.table import UNDEFINED

HOW_TO_READ = (
    (
        "x is an activation of the model, Sae(x) its reconstruction, e = x - Sae(x) the error, the SAE's "
        "dark matter. FVU is the fraction of variance unexplained, x̄ the mean activation."
    ),
    "One row is one SAE; controls, which are fitted by simple rules on the same training rows, come last.",
    (
        "↑: higher is better, ↓: lower is better. [low, high]: 95% interval over fresh held-out text, for "
        "what was fitted on these training rows."
    ),
    (
        "Bold: the best SAE of a column, controls aside. =: cannot be told apart from the best (a paired "
        "95% interval of the difference, Holm-adjusted within the column, contains 0). More active latents "
        "reconstruct better: compare at equal l0."
    ),
    f"{UNDEFINED}: no value, for the reason in the note.",
)

_DATA = (
    ("model {}", ("model.name", "model")),
    ("text {}", ("text.path", "text")),
    ("measured by {}", ("measured_by",)),
    ("activations {}", ("source", "path", "file")),
    ("{} contexts", ("text.contexts", "contexts", "n_contexts")),
    ("{} positions each", ("text.context_length", "context_length", "positions", "n_positions")),
    ("{} texts", ("text.packing", "packing")),
)
_ANALYSIS = (
    ("{} training rows", ("train_rows",)),
    ("{} held-out rows", ("test_rows",)),
    ("split by {}", ("split",)),
    ("first {} positions skipped", ("skip_first",)),
    ("last {} skipped", ("skip_last",)),
    ("intervals over {}", ("units",)),
    ("seed {}", ("seed",)),
    ("{}", ("dtype",)),
    ("on {}", ("device",)),
)
"""How a caption says the fields of a result's ``cache`` and ``analysis``, in order of interest."""

_HASH = re.compile(r"[0-9a-f]{16,}")
_MAX_TEXT = 80


def describe_data(results: Sequence[Result]) -> str:
    """One line on the activations and the analysis behind comparable results."""
    first = results[0]
    parts = [*_said(first.cache, _DATA), *_said(first.analysis, _ANALYSIS)]
    held_out = [metric.n for result in results for metric in result.metrics if metric.n]
    if held_out and "test_rows" not in first.analysis:
        parts.append(f"{max(held_out)} held-out rows")
    return ", ".join(parts)


def _said(values: Mapping[str, Any], templates: Sequence[tuple[str, tuple[str, ...]]]) -> Iterable[str]:
    """The fields that a caption knows how to say; hashes, long texts and "0 skipped" say nothing."""
    known = flat(values)
    for template, names in templates:
        value = next((known[name] for name in names if name in known), None)
        if value == 0 and "skipped" in template:
            continue
        if isinstance(value, str | int) and value != "" and not _is_noise(str(value)):
            yield template.format(_short(value))


def _short(value: str | int) -> str | int:
    """The end of a path: what is above it says nothing to a reader elsewhere."""
    return "/".join(Path(value).parts[-2:]) if isinstance(value, str) and "/" in value else value


def _is_noise(text: str) -> bool:
    return len(text.rpartition("/")[2]) > _MAX_TEXT or _HASH.search(text) is not None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def describe_metric(metric: MetricValue, described: Metric | None) -> str:
    """One line on what a column shows."""
    meaning = described.meaning.rstrip(".") if described else "not described by any installed plugin"
    extras = []
    if metric.unit:
        extras.append(f"in {metric.unit}")
    if described and (described.low is not None or described.high is not None):
        extras.append(_range(described.low, described.high))
    if metric.higher_is_better is not None:
        extras.append("higher is better" if metric.higher_is_better else "lower is better")
    return f"{meaning} ({', '.join(extras)})." if extras else f"{meaning}."


def _range(low: float | None, high: float | None) -> str:
    if high is None:
        return f"at least {low:g}"
    return f"at most {high:g}" if low is None else f"from {low:g} to {high:g}"


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
