"""Results that may stand beside each other in one view: by what they were measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import (
    Place,
    Source,
    is_unread,
    measured_by,
    place_of,
    short_names,
    source_of,
)
from darkmatter.results.numbers import natural_key
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import Result
from darkmatter.results.selecting import Metric
from darkmatter.results.ties import Entry

Named = tuple[str, StoredResult]
"""A result under the name that it has beside others of its place."""


@dataclass(frozen=True)
class Comparable:
    """One metric of SAEs at one place, on one set of activations, by one version and configuration."""

    title: str
    entries: dict[str, Entry]
    """By SAE, the result and its metric; undefined ones among them."""

    @property
    def named(self) -> list[tuple[str, Result]]:
        """The results with their names."""
        return [(name, stored.result) for name, (stored, _) in self.entries.items()]


def by_place(
    results: ResultSet, place: Callable[[Result], Place] = place_of
) -> Iterator[tuple[Place, list[Named]]]:
    """Results apart for every hook point (two for a transcoder), data and analysis, hook points naturally."""
    unread = {result.sae.name for result in results if is_unread(result)}
    groups: dict[Place, list[Named]] = {}
    for label, entry in zip(results.names, results.stored, strict=True):
        groups.setdefault(place(entry.result), []).append((label, entry))
    for found in sorted(groups, key=lambda each: natural_key(each.title)):
        yield found, short_names(groups[found], unread)


def title_of(place: Place, result: Result) -> str:
    """What stands over the results of a place, of which this is one."""
    other = measured_by(result)
    return place.title + (f" ({other})" if other != "darkmatter" else "")


def comparable(
    results: ResultSet, metric: Metric, place: Callable[[Result], Place] = place_of
) -> Iterator[Comparable]:
    """The values of a metric, apart for every place, version and configuration."""
    evaluator, name = metric
    for where, members in by_place(results, place):
        found: dict[Source, dict[str, Entry]] = {}
        for label, entry in sorted(members, key=lambda item: natural_key(item[0])):
            value = next((each for each in entry.result.metrics if each.name == name), None)
            if entry.result.evaluator.name == evaluator and value is not None:
                found.setdefault(source_of(entry.result), {})[label] = (entry, value)
        for source in sorted(found):
            yield Comparable(title_of(where, members[0][1].result), found[source])
