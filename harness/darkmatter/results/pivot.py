"""One metric over two traits of SAEs: width, L0, layer, architecture."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from darkmatter.errors import UsageError, did_you_mean
from darkmatter.results.build import cut
from darkmatter.results.captions import describe_rows
from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import Place, place_of
from darkmatter.results.missing import failures, unmeasured, unused
from darkmatter.results.numbers import format_plain, format_value, natural_key
from darkmatter.results.schema import MetricValue, Result
from darkmatter.results.sections import Comparable, comparable
from darkmatter.results.selecting import Metric
from darkmatter.results.table import UNDEFINED, Cell, Column, Mark, Section, Table
from darkmatter.results.ties import Entry, PairedUnits, marks

UNKNOWN = "unknown"

_LAYER = re.compile(r"(?<![A-Za-z0-9_])\d+(?![A-Za-z0-9_])")
_SAME = 0.05
"""L0s that differ by less, relative, are one column."""


def _layer(result: Result) -> str:
    found = _LAYER.search(result.sae.hook)
    return found[0] if found else UNKNOWN


TRAITS: Mapping[str, Callable[[Result], str]] = {
    "width": lambda result: str(result.sae.d_sae or UNKNOWN),
    "l0": lambda result: UNKNOWN if result.sae.l0 is None else format_plain(result.sae.l0),
    "layer": _layer,
    "architecture": lambda result: str(result.sae.metadata.get("architecture") or UNKNOWN),
}
"""What SAEs can be laid out by."""


def axes_of(text: str) -> tuple[str, str]:
    """``ROWS`` or ``ROWS,COLUMNS``; columns are L0 where they are not named, and width where rows are L0."""
    rows, _, columns = (part.strip() for part in text.partition(","))
    columns = columns or ("width" if rows == "l0" else "l0")
    for name in (rows, columns):
        if name not in TRAITS:
            message = f"--pivot {text!r}: there is no trait {name!r}. {did_you_mean(name, TRAITS)}"
            raise UsageError(message)
    if rows == columns:
        message = f"--pivot {text!r}: rows and columns are the same. Name two of {', '.join(TRAITS)}."
        raise UsageError(message)
    return rows, columns


def pivot_table(results: ResultSet, axes: tuple[str, str], metric: Metric) -> Table:
    """SAEs by two traits; controls, which have neither width nor training, are left out."""
    over_layers = "layer" in axes
    footnotes: dict[str, int] = {}
    sections: list[Section] = []
    rows: list[dict[str, object]] = []
    for group in comparable(results, metric, _kind if over_layers else place_of):
        entries = {name: entry for name, entry in group.entries.items() if not entry[0].result.sae.is_control}
        if entries:
            marked = {} if over_layers else marks(entries, PairedUnits())
            sections.append(_section(group, entries, axes, marked, footnotes))
            rows.extend(_rows(entries, axes, metric))
    return Table(
        title=f"{'.'.join(metric)} by {axes[0]} and {axes[1]}",
        sections=tuple(sections),
        how_to_read=tuple(_how_to_read(axes, over_layers=over_layers)),
        footnotes=tuple(footnotes),
        missing=(*failures(results, {metric[0]}), *unmeasured(results, metric)),
        problems=unused(results.problems),
        rows=rows,
    )


def _how_to_read(axes: tuple[str, str], *, over_layers: bool) -> Iterator[str]:
    yield "A cell is the one SAE of these traits, with its 95% interval where it has one."
    yield (
        "Where several SAEs share a cell it says how many, and from where to where their values range; the "
        "note names each. Nothing is averaged."
    )
    if "l0" in axes:
        yield "SAEs whose L0 is within 5% of the one before, in ascending order, stand under one L0."
    if over_layers:
        yield "Layers are different data: no value is marked as best."
    else:
        yield (
            "Bold: the best value. =: cannot be told apart from it (paired, Holm-adjusted), or could not be "
            "tested. Where nothing could be tested, nothing is bold."
        )
    yield "Controls are left out."


def _kind(result: Result) -> Place:
    """The place without its layer: what repeats from layer to layer."""
    place = place_of(result)
    hook, hook_out = (_LAYER.sub("*", each, count=1) for each in (place.hook, place.hook_out))
    return place._replace(hook=hook, hook_out=hook_out)


# -- one section --------------------------------------------------------------------------------------


def _section(
    group: Comparable,
    entries: Mapping[str, Entry],
    axes: tuple[str, str],
    marked: Mapping[str, Mark],
    footnotes: dict[str, int],
) -> Section:
    traits = _traits(entries, axes)
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in entries:
        cells[traits[name]].append(name)
    rows = _ordered({row for row, _ in cells})
    metric = next(iter(entries.values()))[1]
    title = metric.name + {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
    columns = [
        (
            Column(title, metric.name, f"{axes[1]} {column}"),
            {row: _cell(cells.get((row, column), []), entries, marked, footnotes) for row in rows},
        )
        for column in _ordered({column for _, column in cells})
    ]
    blocks = (replace(block, heading=axes[0]) for block in cut(columns, dict.fromkeys(rows, False)))
    return Section(
        group.title,
        describe_rows([(name, entry[0].result) for name, entry in entries.items()]),
        tuple(blocks),
    )


def _cell(
    names: Sequence[str], entries: Mapping[str, Entry], marked: Mapping[str, Mark], footnotes: dict[str, int]
) -> Cell:
    if not names:
        return Cell()
    if len(names) == 1:
        metric = entries[names[0]][1]
        reason = (footnotes.setdefault(metric.reason, len(footnotes) + 1),) if metric.reason else ()
        return Cell(_value(metric), marked.get(names[0], ""), reason, value=metric.value)
    said = "; ".join(f"{name}: {_value(entries[name][1])}" for name in names)
    reasons = [metric.reason for name in names if (metric := entries[name][1]).reason]
    notes = tuple(footnotes.setdefault(text, len(footnotes) + 1) for text in dict.fromkeys([said, *reasons]))
    values = [entry.value for name in names if (entry := entries[name][1]).value is not None]
    if not values:
        return Cell(f"{len(names)} SAEs: {UNDEFINED}", notes=notes)
    low, high = format_plain(min(values)), format_plain(max(values))
    ranged = low if low == high else f"{low} to {high}"
    mark: Mark = next((each for each in ("best", "tie") if each in {marked.get(name) for name in names}), "")
    return Cell(f"{len(names)} SAEs: {ranged}", mark, notes)


def _value(metric: MetricValue) -> str:
    return UNDEFINED if metric.value is None else format_value(metric.value, metric.ci_low, metric.ci_high)


def _traits(entries: Mapping[str, Entry], axes: tuple[str, str]) -> dict[str, tuple[str, str]]:
    """By SAE, its row and its column."""
    results = {name: stored.result for name, (stored, _) in entries.items()}
    places = _l0_places([result.sae.l0 for result in results.values() if result.sae.l0 is not None])

    def trait(axis: str, result: Result) -> str:
        return places.get(result.sae.l0, UNKNOWN) if axis == "l0" else TRAITS[axis](result)

    return {name: (trait(axes[0], result), trait(axes[1], result)) for name, result in results.items()}


def _l0_places(values: Sequence[float]) -> dict[float | None, str]:
    """What stands over each L0: chains of nearly equal ones share it, and it says from where to where."""
    chains: list[list[float]] = []
    for value in sorted(set(values)):
        if not chains or value > chains[-1][-1] * (1 + _SAME):
            chains.append([])
        chains[-1].append(value)
    found: dict[float | None, str] = {}
    for chain in chains:
        ends = dict.fromkeys(f"{value:.3g}" for value in (chain[0], chain[-1]))
        found.update(dict.fromkeys(chain, " to ".join(ends)))
    return found


def _ordered(names: set[str]) -> list[str]:
    """Numbers by size, then words; what is unknown comes last."""
    return sorted(names, key=lambda name: (name == UNKNOWN, natural_key(name)))


def _rows(entries: Mapping[str, Entry], axes: tuple[str, str], metric: Metric) -> Iterator[dict[str, object]]:
    """Tidy rows, one per SAE."""
    for name, (stored, value) in entries.items():
        result = stored.result
        yield {
            "sae": name,
            **{trait: TRAITS[trait](result) for trait in axes},
            "evaluator": metric[0],
            "metric": metric[1],
            "value": value.value,
            "ci_low": value.ci_low,
            "ci_high": value.ci_high,
            "reason": value.reason,
            "hook": result.sae.hook,
            "hook_out": result.sae.hook_out,
            "key": result.key,
        }
