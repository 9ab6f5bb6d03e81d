"""Which results and metrics are shown, and in which order: sets of results to sets of results."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from darkmatter.errors import UsageError, did_you_mean
from darkmatter.results.captions import evaluator_titles
from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import Place, Source, place_of, source_of
from darkmatter.results.numbers import natural_key
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import Result

Metric = tuple[str, str]
"""An evaluator and one of its metrics."""

_DIRECTIONS = ("asc", "desc")


def select(
    results: ResultSet, *, metrics: Collection[str] = (), saes: Collection[str] = (), controls: bool = True
) -> ResultSet:
    """The results that patterns name; an unknown name raises UsageError with the nearest.

    Args:
        results: what to choose from.
        metrics: patterns of ``metric`` or ``evaluator.metric``; none: all metrics.
        saes: patterns of SAE names; none: all. Controls, the yardstick, stay.
        controls: whether controls stay.
    """
    kept = _of_saes(results, saes) if saes else results.stored
    if not controls:
        kept = [entry for entry in kept if not entry.result.sae.is_control]
    if metrics:
        wanted = find_metrics(results, metrics)
        kept = [chosen for entry in kept for chosen in _of_metrics(entry, wanted)]
    return ResultSet(kept, results.problems, results.order, keep_order=results.keep_order)


def find_metrics(results: Iterable[Result], patterns: Collection[str]) -> set[Metric]:
    """Every metric that a pattern names, as ``metric`` or ``evaluator.metric``.

    A plain name that several evaluators have means the one of them whose headline it is.
    """
    known: dict[Metric, bool] = {}
    for result in results:
        for metric in result.metrics:
            identity = (result.evaluator.name, metric.name)
            known[identity] = known.get(identity, False) or metric.primary
    found: set[Metric] = set()
    for pattern in patterns:
        matching = {each for each in known if _is_named(each, pattern)}
        if not matching:
            names = {name for each in known for name in (each[1], ".".join(each))}
            message = f"there is no metric {pattern!r} among these results. {did_you_mean(pattern, names)}"
            raise UsageError(message)
        headlines = {each for each in matching if known[each] and each[1] == pattern}
        found |= headlines if len(headlines) == 1 else matching
    return found


def find_metric(results: Iterable[Result], name: str) -> Metric:
    """The one metric of this name; one that several evaluators have must be named with its evaluator."""
    found = sorted(find_metrics(results, [name]))
    if len(found) > 1:
        choices = ", ".join(".".join(each) for each in found)
        message = f"{name!r} names {len(found)} metrics where one is needed. Say which: {choices}."
        raise UsageError(message)
    return found[0]


def sort(results: ResultSet, by: str) -> ResultSet:
    """The results in the order of a metric, ``METRIC``, ``METRIC:asc`` or ``METRIC:desc``; controls last.

    Without a direction the best comes first, and the least where a metric has no better direction. SAEs
    without a value come after those with one.
    """
    evaluator, metric, source, direction = _sorted_by(results, by)
    values: dict[tuple[str, Place], float] = {}
    higher = False
    for name, result in zip(results.names, results, strict=True):
        if result.evaluator.name != evaluator or source not in (None, source_of(result)):
            continue
        for each in result.metrics:
            if each.name == metric and each.value is not None:
                values[name, place_of(result)] = each.value
                higher = bool(each.higher_is_better)
    descending = direction == "desc" if direction else higher

    def key(item: tuple[str, StoredResult]) -> tuple[bool, bool, float, list[tuple[int, int, str]]]:
        name, entry = item
        value = values.get((name, place_of(entry.result)))
        signed = 0.0 if value is None else -value if descending else value
        return entry.result.sae.is_control, value is None, signed, natural_key(name)

    ordered = sorted(zip(results.names, results.stored, strict=True), key=key)
    return ResultSet([entry for _, entry in ordered], results.problems, keep_order=True)


def _sorted_by(results: ResultSet, by: str) -> tuple[str, str, Source | None, str]:
    """Evaluator, metric, version and configuration (None: any), and direction (empty: the best first).

    A metric that stands in several columns of one table is named with the heading of its column.
    """
    name, direction = by, ""
    if by.endswith(tuple(f":{each}" for each in _DIRECTIONS)):
        name, _, direction = by.rpartition(":")
    titles = evaluator_titles({source_of(result): result.config for result in results})
    columns: dict[str, tuple[Source, str]] = {}
    together: dict[tuple[Place, Metric], set[str]] = {}
    for result in results:
        source = source_of(result)
        for metric in result.metrics:
            column = f"{titles[source]}.{metric.name}"
            columns[column] = (source, metric.name)
            together.setdefault((place_of(result), (source[0], metric.name)), set()).add(column)
    if name in columns:
        source, metric_name = columns[name]
        return source[0], metric_name, source, direction
    if ":" in name:
        wrong = name.rpartition(":")[2]
        message = f"{by!r}: {wrong!r} is no direction. {did_you_mean(wrong, _DIRECTIONS)}"
        raise UsageError(message)
    wanted = find_metric(results, name)
    choices = {column for (_, metric), found in together.items() if metric == wanted for column in found}
    if any(len(found) > 1 for (_, metric), found in together.items() if metric == wanted):
        said = ", ".join(f"'{column}'" for column in sorted(choices, key=natural_key))
        message = f"{name!r} stands in {len(choices)} columns where one is needed. Say which: {said}."
        raise UsageError(message)
    return *wanted, None, direction


def _of_saes(results: ResultSet, patterns: Collection[str]) -> list[StoredResult]:
    """Results of the SAEs that a pattern names, and of the controls at their hook points."""
    pairs = list(zip(results.names, results.stored, strict=True))
    known = {label for name, entry in pairs for label in (name, entry.result.sae.name)}
    for pattern in patterns:
        if not any(_like(name, pattern) for name in known):
            message = f"there is no SAE {pattern!r} among these results. {did_you_mean(pattern, known)}"
            raise UsageError(message)
    named = [
        any(_like(label, pattern) for label in (name, entry.result.sae.name) for pattern in patterns)
        for name, entry in pairs
    ]
    places = {_hooks(entry) for (_, entry), wanted in zip(pairs, named, strict=True) if wanted}
    return [
        entry
        for (_, entry), wanted in zip(pairs, named, strict=True)
        if wanted or (entry.result.sae.is_control and _hooks(entry) in places)
    ]


def _hooks(entry: StoredResult) -> str:
    """Where an SAE reads and writes."""
    return place_of(entry.result).title


def _of_metrics(entry: StoredResult, wanted: set[Metric]) -> Sequence[StoredResult]:
    """The result with the wanted metrics alone; what failed stays where its evaluator is wanted."""
    result = entry.result
    kept = tuple(metric for metric in result.metrics if (result.evaluator.name, metric.name) in wanted)
    failed = result.status != "ok" and result.evaluator.name in {evaluator for evaluator, _ in wanted}
    if not kept and not failed:
        return []
    return [StoredResult(result.model_copy(update={"metrics": kept}), entry.path, entry.loader)]


def _is_named(metric: Metric, pattern: str) -> bool:
    return _like(metric[1], pattern) or _like(".".join(metric), pattern)


def _like(name: str, pattern: str) -> bool:
    """Whether a pattern names it; names may hold brackets, so equality counts first."""
    return name == pattern or fnmatchcase(name, pattern)
