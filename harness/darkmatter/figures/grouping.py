"""Which results may stand in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkmatter.figures.measured import FigureResults, Measured, NothingToDraw
from darkmatter.results.captions import describe_data
from darkmatter.results.comparable import Place
from darkmatter.results.configurations import NamedResult, configurations
from darkmatter.results.numbers import natural_key
from darkmatter.results.schema import Result
from darkmatter.results.sections import by_place

if TYPE_CHECKING:
    from darkmatter.descriptors import Figure
    from darkmatter.results.collection import ResultSet


def groups(results: ResultSet, figure: Figure) -> Iterator[FigureResults]:
    """Every set of results from which the figure may be drawn as one; raises NothingToDraw without any."""
    wanted = (*figure.evaluators, *figure.uses)
    lacking: dict[str, None] = {}
    found = False
    for place, entries in by_place(results):
        mine = [(name, entry.result) for name, entry in entries if entry.result.evaluator.name in wanted]
        why_not = _lacks(figure, [result for _, result in mine])
        if why_not:
            lacking.update(dict.fromkeys(why_not if mine else ()))
            continue
        found = True
        yield from _by_configuration(place, wanted, [entry for entry in mine if entry[1].status == "ok"])
    if not found:
        raise NothingToDraw("; ".join(lacking) or _needs(figure.evaluators))


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


def _by_configuration(
    place: Place, wanted: Sequence[str], entries: Sequence[NamedResult]
) -> Iterator[FigureResults]:
    """One set for each choice of versions and configurations: numbers of two do not mix."""
    for each in configurations(sorted(entries, key=_order), wanted):
        found: dict[str, list[Measured]] = {}
        for name, result in each.results:
            found.setdefault(result.evaluator.name, []).append(Measured.of(name, result))
        yield FigureResults(
            hook=place.title if place.hook else "",
            found={evaluator: tuple(measured) for evaluator, measured in found.items()},
            options=each.options,
            data=_data([result for _, result in each.results]),
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


def _order(entry: NamedResult) -> tuple[bool, list[tuple[int, int, str]]]:
    name, result = entry
    return result.sae.is_control, natural_key(name)
