"""Results that may stand beside each other in one view: by what they were measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import config_text, data_signature, is_unread, measured_by, short_names
from darkmatter.results.numbers import natural_key
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import Result
from darkmatter.results.selecting import Metric
from darkmatter.results.ties import Entry


@dataclass(frozen=True)
class Comparable:
    """One metric of SAEs at one place, on one set of activations, by one version and configuration."""

    title: str
    entries: dict[str, Entry]
    """By SAE, the result and its metric; undefined ones among them."""

    @property
    def result(self) -> Result:
        """Any of the results."""
        return next(iter(self.entries.values()))[0].result


def comparable(
    results: ResultSet, metric: Metric, place: Callable[[Result], str] = lambda result: result.sae.hook
) -> Iterator[Comparable]:
    """The values of a metric, apart for every place (a hook point), data, version and configuration."""
    evaluator, name = metric
    unread = {result.sae.name for result in results if is_unread(result)}
    groups: dict[tuple[str, ...], list[tuple[str, StoredResult]]] = {}
    for label, entry in zip(results.names, results.stored, strict=True):
        result = entry.result
        if result.evaluator.name == evaluator and any(each.name == name for each in result.metrics):
            source = (str(result.evaluator.version), config_text(result.config))
            groups.setdefault((place(result), *data_signature(result), *source), []).append((label, entry))
    for key in sorted(groups, key=lambda key: (natural_key(key[0]), key)):
        members = short_names(groups[key], unread)
        found = {
            label: (entry, next(each for each in entry.result.metrics if each.name == name))
            for label, entry in sorted(members, key=lambda item: natural_key(item[0]))
        }
        other = measured_by(members[0][1].result)
        yield Comparable((key[0] or "activations") + (f" ({other})" if other != "darkmatter" else ""), found)
