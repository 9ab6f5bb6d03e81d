"""Results apart for every choice of versions and options, so that no view mixes numbers of two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from darkmatter.results.captions import evaluator_titles
from darkmatter.results.comparable import Source, source_of
from darkmatter.results.schema import Result

NamedResult = tuple[str, Result]
"""A result under the name that it has beside others."""


@dataclass(frozen=True)
class Configuration:
    """Results in which every evaluator has one version and one configuration.

    Attributes:
        options: the versions and options in which they differ from the others, in words; empty where there
            is no other configuration.
        results: the results by the names of SAEs, in the given order.
    """

    options: str
    results: tuple[NamedResult, ...]


def configurations(results: Sequence[NamedResult], evaluators: Sequence[str]) -> Iterator[Configuration]:
    """One set of results for each choice of versions and configurations of some evaluators.

    Args:
        results: results of one place, such as those of a ``Section``.
        evaluators: whose results are wanted; those that have none are left out.
    """
    by_source: dict[Source, list[tuple[int, NamedResult]]] = {}
    for index, entry in enumerate(results):
        by_source.setdefault(source_of(entry[1]), []).append((index, entry))
    titles = evaluator_titles({source: members[0][1][1].config for source, members in by_source.items()})
    choices = [sorted(source for source in by_source if source[0] == name) for name in evaluators]
    choices = [choice for choice in choices if choice]
    for chosen in product(*choices) if choices else ():
        found = sorted((item for source in chosen for item in by_source[source]), key=lambda item: item[0])
        options = ", ".join(titles[source] for source in chosen if titles[source] != source[0])
        yield Configuration(options, tuple(entry for _, entry in found))
