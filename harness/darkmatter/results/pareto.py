"""Which SAEs are on the front of error and L0, and which are dominated by which.

B is dominated where another SAE has no more active latents and a better value of the metric. Whether the
difference exceeds chance is judged as everywhere: paired, on the same units, Holm-adjusted over all pairs of
these SAEs, since the data choose which of them are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from darkmatter.printable import brief
from darkmatter.results.captions import describe_rows
from darkmatter.results.collection import ResultSet
from darkmatter.results.missing import failures, grouped, unmeasured, unused
from darkmatter.results.numbers import format_plain, format_value, natural_key
from darkmatter.results.sections import comparable
from darkmatter.results.selecting import Metric
from darkmatter.results.table import Block, Cell, Column, Mark, Section, Table, TableRow
from darkmatter.results.ties import Entry, PairedUnits, tested_ties
from darkmatter.stats.front import dominated

METRICS = ("fvu", "fvu_nonlinear")
"""What is set against L0 where nothing else is named."""

HOW_TO_READ = (
    (
        "Front (bold), by value alone: no other SAE is as good or better in both L0 and value, and better in "
        "one. Equal SAEs share it. Controls are left out."
    ),
    (
        "Dominated by: of the SAEs with at most this L0, the one with the best value; the paired 95% "
        "interval of the difference, Holm-adjusted over all pairs of these SAEs, excludes 0. How many more "
        "dominate it is counted behind it."
    ),
    (
        "Ties with: behind that SAE by value, but the interval contains 0, or there is none: it cannot be "
        "told apart from the front."
    ),
    "L0, the mean number of active latents per token, is compared as it is shown: four digits.",
)


@dataclass(frozen=True)
class Standing:
    """Where one SAE stands: the best of those that dominate it by value, and how many these are."""

    name: str
    entry: Entry
    l0: float
    best: str = ""
    better: int = 0
    is_tie: bool = False

    @property
    def mark(self) -> Mark:
        """On the front, not to be told from it, or behind it."""
        if not self.better:
            return "best"
        return "tie" if self.is_tie else ""


def pareto_table(results: ResultSet, metrics: Sequence[Metric]) -> Table:
    """One section per metric, hook point and data; one row per SAE in the order of L0."""
    sections: list[Section] = []
    missing: list[str] = failures(results, {evaluator for evaluator, _ in metrics})
    absent: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []
    for metric in metrics:
        missing.extend(unmeasured(results, metric))
        for group in comparable(results, metric):
            found = standings(group.entries)
            title = f"{group.title}: {metric[1]} and L0"
            absent.extend((name, f"{why}, in {title}") for name, why in _absent(group.entries))
            if len(found) < 2:
                missing.append(f"{title}: a front needs two SAEs with a value and an L0, here {len(found)}")
                continue
            sections.append(Section(title, describe_rows(group.named), (_block(metric[1], found),)))
            rows.extend(_rows(found))
    return Table(
        "Pareto fronts",
        tuple(sections),
        HOW_TO_READ,
        missing=(*missing, *grouped(absent)),
        problems=unused(results.problems),
        rows=rows,
    )


def standings(entries: Mapping[str, Entry]) -> list[Standing]:
    """Every SAE with a value, an L0 and a better direction, in the order of L0."""
    names = sorted((name for name, entry in entries.items() if not _why_not(entry)), key=natural_key)
    names = [name for name in names if not entries[name][0].result.sae.is_control]
    behind = dominated([_l0(entries[name]) for name in names], [_cost(entries[name]) for name in names])
    pairs = [
        (entries[name], entries[names[each.best]])
        for name, each in zip(names, behind, strict=True)
        if each is not None
    ]
    ties = iter(tested_ties(pairs, PairedUnits(), among=len(names)))
    found = []
    for name, each in zip(names, behind, strict=True):
        place = Standing(name, entries[name], _l0(entries[name]))
        if each is not None:
            is_tie = next(ties) is not False
            place = replace(place, best=names[each.best], better=each.count, is_tie=is_tie)
        found.append(place)
    return sorted(found, key=lambda place: (float(format_plain(place.l0)), natural_key(place.name)))


def _absent(entries: Mapping[str, Entry]) -> Iterator[tuple[str, str]]:
    """SAEs that can stand on no front, and why."""
    for name, entry in entries.items():
        why = _why_not(entry)
        if why and not entry[0].result.sae.is_control:
            yield name, why


def _why_not(entry: Entry) -> str:
    """What an SAE lacks for a front; empty where it lacks nothing."""
    metric = entry[1]
    if metric.value is None:
        return f"{metric.name} {metric.status}: {brief(metric.reason or 'no reason given')}"
    if entry[0].result.sae.l0 is None:
        return "no L0 is known"
    return f"{metric.name} has no better direction" if metric.higher_is_better is None else ""


def _l0(entry: Entry) -> float:
    found = entry[0].result.sae.l0
    assert found is not None
    return found


def _cost(entry: Entry) -> float:
    value = entry[1].value
    assert value is not None
    return -value if entry[1].higher_is_better else value


# -- as a table -----------------------------------------------------------------------------------------


def _block(metric: str, found: Sequence[Standing]) -> Block:
    arrow = " ↑" if found[0].entry[1].higher_is_better else " ↓"
    columns = (
        Column("", "l0", "L0"),
        Column("", metric, f"{metric}{arrow}"),
        Column("", "front", "front", words=True),
    )
    return Block(f"{metric} and L0", columns, tuple(_row(place) for place in found))


def _row(place: Standing) -> TableRow:
    metric = place.entry[1]
    assert metric.value is not None
    value = format_value(metric.value, metric.ci_low, metric.ci_high)
    cells = (
        Cell(format_plain(place.l0), value=place.l0),
        Cell(value, place.mark, value=metric.value),
        Cell(_said(place)),
    )
    return TableRow(place.name, is_control=False, cells=cells)


def _said(place: Standing) -> str:
    if not place.better:
        return "front"
    more = f" and {place.better - 1} more" if place.better > 1 else ""
    return f"ties with {place.best}" if place.is_tie else f"dominated by {place.best}{more}"


def _rows(found: Sequence[Standing]) -> Iterator[dict[str, Any]]:
    """Tidy rows, one per SAE and metric."""
    for place in found:
        result, metric = place.entry[0].result, place.entry[1]
        yield {
            "sae": place.name,
            "hook": result.sae.hook,
            "hook_out": result.sae.hook_out,
            "l0": place.l0,
            "evaluator": result.evaluator.name,
            "metric": metric.name,
            "value": metric.value,
            "ci_low": metric.ci_low,
            "ci_high": metric.ci_high,
            "front": {"best": "front", "tie": "tie", "": "dominated"}[place.mark],
            "behind": place.best,
            "n_better": place.better,
            "key": result.key,
        }
