"""Which results may stand in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from darkmatter.figures.measured import FigureResults, Measured, NothingToDraw
from darkmatter.results.captions import describe_data, evaluator_titles
from darkmatter.results.comparable import config_text, data_signature, is_unread, short_names
from darkmatter.results.numbers import natural_key
from darkmatter.results.schema import Result

if TYPE_CHECKING:
    from darkmatter.descriptors import Figure
    from darkmatter.results.collection import ResultSet
    from darkmatter.results.reading import StoredResult

Entry = tuple[str, Result]
"""A result under the name that it has beside others."""


def groups(results: ResultSet, figure: Figure) -> Iterator[FigureResults]:
    """Every set of results from which the figure may be drawn as one; raises NothingToDraw without any."""
    wanted = (*figure.evaluators, *figure.uses)
    lacking: dict[str, None] = {}
    found = False
    for entries in _comparable(results):
        mine = [(name, result) for name, result in entries if result.evaluator.name in wanted]
        why_not = _lacks(figure, [result for _, result in mine])
        if why_not:
            lacking.update(dict.fromkeys(why_not if mine else ()))
            continue
        found = True
        yield from _by_configuration(wanted, [entry for entry in mine if entry[1].status == "ok"])
    if not found:
        raise NothingToDraw("; ".join(lacking) or _needs(figure.evaluators))


def _comparable(results: ResultSet) -> list[list[Entry]]:
    """Results by hook point and data, in the natural order of hook points, with their names there."""
    by_data: dict[tuple[str, tuple[str, str]], list[tuple[str, StoredResult]]] = {}
    for name, entry in zip(results.names, results.stored, strict=True):
        by_data.setdefault((entry.result.sae.hook, data_signature(entry.result)), []).append((name, entry))
    unread = {result.sae.name for result in results if is_unread(result)}
    ordered = sorted(by_data, key=lambda key: (natural_key(key[0]), key[1]))
    return [[(name, entry.result) for name, entry in short_names(by_data[key], unread)] for key in ordered]


def _lacks(figure: Figure, results: Sequence[Result]) -> list[str]:
    """Why these results are not enough; nothing where they are."""
    there = {result.evaluator.name for result in results if result.status == "ok"}
    absent = [name for name in figure.evaluators if name not in there]
    said = [
        f"{result.evaluator.name} {result.status}: {result.reason or 'no reason given'}"
        for result in results
        if result.evaluator.name in absent
    ]
    known = {result.evaluator.name for result in results}
    never = [name for name in absent if name not in known]
    return [*([_needs(never)] if never else []), *dict.fromkeys(said)]


def _needs(evaluators: Sequence[str]) -> str:
    return f"needs results of {' and '.join(evaluators)}"


def _by_configuration(wanted: Sequence[str], entries: Sequence[Entry]) -> Iterator[FigureResults]:
    """One set for each choice of versions and configurations: numbers of two do not mix."""
    by_source: dict[tuple[str, int, str], list[Entry]] = {}
    for entry in entries:
        by_source.setdefault(_source(entry[1]), []).append(entry)
    titles = evaluator_titles({source: members[0][1].config for source, members in by_source.items()})
    choices = [sorted(source for source in by_source if source[0] == name) for name in wanted]
    for chosen in product(*(choice for choice in choices if choice)):
        results = [result for source in chosen for _, result in by_source[source]]
        yield FigureResults(
            hook=results[0].sae.hook,
            found={
                source[0]: tuple(
                    Measured.of(name, result) for name, result in sorted(by_source[source], key=_place)
                )
                for source in chosen
            },
            options=", ".join(titles[source] for source in chosen if titles[source] != source[0]),
            data=_data(results),
        )


def _data(results: Sequence[Result]) -> str:
    """What these results were measured on, and on how much of it where an evaluator takes a sample."""
    every = results[0].analysis.get("test_rows")
    taken = {
        result.evaluator.name: max((metric.n or 0 for metric in result.metrics), default=0)
        for result in results
        if _on_rows(result)
    }
    sampled = [f"{name} on {n} held-out rows" for name, n in taken.items() if every and 0 < n < every]
    return ", ".join([describe_data(results), *sampled])


def _on_rows(result: Result) -> bool:
    """Whether all its intervals are over the units of the text; of names or pairs its figure speaks."""
    unit = str(result.analysis.get("units", "")).rpartition(" ")[2]
    methods = [metric.ci_method or "" for metric in result.metrics]
    over = [method.partition(" over ")[2].partition(",")[0] for method in methods if " over " in method]
    return all(each.rpartition(" ")[2] == unit for each in over)


def _source(result: Result) -> tuple[str, int, str]:
    return result.evaluator.name, result.evaluator.version, config_text(result.config)


def _place(entry: Entry) -> tuple[bool, list[tuple[int, int, str]]]:
    name, result = entry
    return result.sae.is_control, natural_key(name)
