"""Which SAEs are on the front of error and L0, and which are dominated by which.

B is dominated where another SAE has no more active latents and a better value of the metric. Whether the
difference exceeds chance is judged as everywhere: paired, on the same units, Holm-adjusted over the SAEs of
the front that are behind another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darkmatter.results.captions import describe_data
from darkmatter.results.collection import ResultSet
from darkmatter.results.numbers import format_plain, format_value, natural_key
from darkmatter.results.sections import comparable
from darkmatter.results.selecting import Metric
from darkmatter.results.table import Block, Cell, Column, Mark, Section, Table, TableRow
from darkmatter.results.ties import Entry, PairedUnits
from darkmatter.stats.paired import Difference, holm_intervals

METRICS = ("fvu", "fvu_nonlinear")
"""What is set against L0 where nothing else is named."""

HOW_TO_READ = (
    "Front: no other SAE has both a smaller (or equal) L0 and a better value. Controls are left out.",
    (
        "Dominated by: of the SAEs with at most this L0, the one with the best value; the paired 95% "
        "interval of the difference, Holm-adjusted over all that are not on the front, excludes 0. How many "
        "more have a better value is counted behind it."
    ),
    (
        "Ties with: behind that SAE by value, but the interval contains 0, or there is none: it cannot be "
        "told apart from the front."
    ),
    "L0, the mean number of active latents per token, is compared as it is shown: four digits.",
)


@dataclass(frozen=True)
class Place:
    """Where one SAE stands: those that have no more latents and a better value, the best of them first."""

    name: str
    entry: Entry
    l0: float
    better: tuple[str, ...] = ()
    is_tie: bool = False

    @property
    def mark(self) -> Mark:
        """On the front, not to be told from it, or behind it."""
        if not self.better:
            return "best"
        return "tie" if self.is_tie else ""


def pareto_table(results: ResultSet, metrics: Sequence[Metric]) -> Table:
    """One section per metric, hook point and data; one row per SAE in the order of L0."""
    paired = PairedUnits()
    sections: list[Section] = []
    missing: list[str] = []
    rows: list[dict[str, Any]] = []
    for metric in metrics:
        for group in comparable(results, metric):
            found = places(group.entries, paired)
            title = f"{group.title}: {metric[1]} and L0"
            if len(found) < 2:
                missing.append(f"{title}: a front needs two SAEs with a value and an L0, here {len(found)}")
                continue
            sections.append(Section(title, describe_data([group.result]), (_block(metric[1], found),)))
            rows.extend(_rows(found))
    return Table("Pareto fronts", tuple(sections), HOW_TO_READ, missing=tuple(missing), rows=rows)


def places(entries: Mapping[str, Entry], paired: PairedUnits) -> list[Place]:
    """Every SAE with a value, an L0 and a better direction, in the order of L0."""
    usable = {
        name: entry
        for name, entry in entries.items()
        if not entry[0].result.sae.is_control
        and entry[0].result.sae.l0 is not None
        and entry[1].value is not None
        and entry[1].higher_is_better is not None
    }
    found = [Place(name, entry, _l0(entry), _better(name, usable)) for name, entry in usable.items()]
    return sorted(_judged(found, usable, paired), key=lambda place: (place.l0, natural_key(place.name)))


def _better(name: str, entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """The SAEs that dominate one by value, the best first."""
    mine = (_l0(entries[name]), _cost(entries[name]))
    others = {
        other: (_l0(entry), _cost(entry))
        for other, entry in entries.items()
        if _l0(entry) <= mine[0] and _cost(entry) <= mine[1] and (_l0(entry), _cost(entry)) != mine
    }
    return tuple(sorted(others, key=lambda other: (others[other][1], others[other][0], natural_key(other))))


def _judged(found: Sequence[Place], entries: Mapping[str, Entry], paired: PairedUnits) -> Iterator[Place]:
    """The same with ties: for each SAE behind another, its difference to the best of those."""
    behind = [place for place in found if place.better]
    drafts = [paired.difference(place.entry, entries[place.better[0]]) for place in behind]
    judged = iter(holm_intervals([draft for draft in drafts if isinstance(draft, Difference)]))
    ties = {
        place.name: bool(next(judged).is_tie) if isinstance(draft, Difference) else True
        for place, draft in zip(behind, drafts, strict=True)
    }
    for place in found:
        yield Place(place.name, place.entry, place.l0, place.better, ties.get(place.name, False))


def _l0(entry: Entry) -> float:
    found = entry[0].result.sae.l0
    assert found is not None
    return float(format_plain(found))


def _cost(entry: Entry) -> float:
    value = entry[1].value
    assert value is not None
    return -value if entry[1].higher_is_better else value


# -- as a table -----------------------------------------------------------------------------------------


def _block(metric: str, found: Sequence[Place]) -> Block:
    arrow = " ↑" if found[0].entry[1].higher_is_better else " ↓"
    columns = (
        Column("", "l0", "L0"),
        Column("", metric, f"{metric}{arrow}"),
        Column("", "front", "front", words=True),
    )
    return Block(f"{metric} and L0", columns, tuple(_row(place) for place in found))


def _row(place: Place) -> TableRow:
    metric = place.entry[1]
    assert metric.value is not None
    value = format_value(metric.value, metric.ci_low, metric.ci_high)
    cells = (
        Cell(format_plain(place.l0), value=place.l0),
        Cell(value, place.mark, value=metric.value),
        Cell(_said(place)),
    )
    return TableRow(place.name, is_control=False, cells=cells)


def _said(place: Place) -> str:
    if not place.better:
        return "front"
    more = f" and {len(place.better) - 1} more" if len(place.better) > 1 else ""
    return f"ties with {place.better[0]}" if place.is_tie else f"dominated by {place.better[0]}{more}"


def _rows(found: Sequence[Place]) -> Iterator[dict[str, Any]]:
    """Tidy rows, one per SAE and metric."""
    for place in found:
        result, metric = place.entry[0].result, place.entry[1]
        yield {
            "sae": place.name,
            "hook": result.sae.hook,
            "l0": place.l0,
            "evaluator": result.evaluator.name,
            "metric": metric.name,
            "value": metric.value,
            "ci_low": metric.ci_low,
            "ci_high": metric.ci_high,
            "front": {"best": "front", "tie": "tie", "": "dominated"}[place.mark],
            "behind": " | ".join(place.better),
            "key": result.key,
        }
