"""The words around a table, so that a stranger understands its numbers."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from darkmatter.descriptors import Metric
from darkmatter.results.comparable import Source, flat, hardware
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
        "Bold: the best SAE of a column, controls aside. =: cannot be told apart from the best: the paired "
        "95% interval of the difference, Holm-adjusted over all pairs of the column, contains 0, or there is "
        "none. A column without any such interval has no best: no difference in it was tested. More active "
        "latents reconstruct better: compare at equal l0."
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
)
_HARDWARE = (("{}", "dtype"), ("on {}", "device"))
"""How a caption says the fields of a result's ``cache`` and ``analysis``, in order of interest."""

_MAX_NAMES = 4
"""Of more names than these, only the first are said."""

_HASH = re.compile(r"[0-9a-f]{16,}")
_MAX_TEXT = 80


def describe_data(results: Sequence[Result]) -> str:
    """One line on the activations and the analysis behind comparable results."""
    first = results[0]
    parts = [*_said(first.cache, _DATA), *_said(first.analysis, _ANALYSIS), *_hardware(results)]
    held_out = [metric.n for result in results for metric in result.metrics if metric.n]
    if held_out and "test_rows" not in first.analysis:
        parts.append(f"{max(held_out)} held-out rows")
    return ", ".join(parts)


def describe_rows(named: Sequence[tuple[str, Result]]) -> str:
    """The same for the rows of a table, with a sentence where they differ in device or precision."""
    data, differing = describe_data([result for _, result in named]), _by_hardware(named)
    return f"{data}. Device or precision differ, which may move numbers: {differing}" if differing else data


def _hardware(results: Sequence[Result]) -> Iterable[str]:
    """Every precision and device among the results."""
    for template, name in _HARDWARE:
        found = {str(value) for result in results if (value := hardware(result).get(name))}
        known = sorted(value for value in found if not _is_noise(value))
        if known:
            yield template.format(" or ".join(known))


def _by_hardware(named: Sequence[tuple[str, Result]]) -> str:
    """Which rows were measured with which of several devices and precisions; empty where there is one."""
    found = [(name, hardware(result)) for name, result in named]
    options = sorted({option for _, mine in found for option in mine})
    differing = [name for name in options if len({_text(mine.get(name)) for _, mine in found}) > 1]
    rows: dict[str, dict[str, None]] = defaultdict(dict)
    for name, mine in found:
        said = ", ".join(f"{option}={_text(mine[option])}" for option in differing if option in mine)
        rows[said or "unknown"][name] = None
    if len(rows) < 2:
        return ""
    return "; ".join(f"{said}: {_names(list(rows[said]))}" for said in sorted(rows))


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


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
    sources: Mapping[Source, Mapping[str, Any]],
) -> dict[Source, str]:
    """A heading for each (evaluator, version, config): version and options only where several exist."""
    by_name: dict[str, list[Source]] = defaultdict(list)
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
