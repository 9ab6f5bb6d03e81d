"""A comparison as a table that every reporter can render."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkmatter.results.captions import evaluator_titles
from darkmatter.results.comparable import Source
from darkmatter.results.missing import unused
from darkmatter.results.numbers import format_plain, format_value, natural_key
from darkmatter.results.table import UNDEFINED, Block, Cell, Column, Section, Table, TableRow

if TYPE_CHECKING:
    from darkmatter.results.compare import ComparedMetric, Comparison

HOW_TO_READ = (
    (
        "B - A is the difference on the same held-out units, with its paired 95% interval, Holm-adjusted "
        "over the headline metrics of this comparison, and apart from them over all others: in each of the "
        "two, the chance of any false difference is at most 5%."
    ),
    "Tie: the interval contains 0. Better, worse: B against A. Differs: a metric without a good direction.",
    "No interval: the metric is not made of sums over units, so chance cannot be told from change.",
)

_VERDICT = "B is"
_COLUMNS = ("A", "B", "B - A", _VERDICT)


def comparison_table(comparison: Comparison, *, all_metrics: bool = False) -> Table:
    """One section per pair of SAEs and hook point, one block per evaluator, one row per metric."""
    shown = [metric for metric in comparison.metrics if all_metrics or metric.primary]
    footnotes: dict[str, int] = {}
    return Table(
        title=f"A = {comparison.a}, B = {comparison.b}{_counted(shown)}",
        sections=tuple(_sections(shown, footnotes)),
        how_to_read=HOW_TO_READ,
        footnotes=tuple(footnotes),
        missing=comparison.notes,
        problems=unused(comparison.problems),
        rows=comparison.rows(all_metrics=all_metrics),
    )


def _counted(shown: Sequence[ComparedMetric]) -> str:
    """How many rows have each verdict; a page of rows is read after that."""
    counts = Counter(metric.verdict for metric in shown)
    return f": {', '.join(f'{count} {verdict}' for verdict, count in counts.most_common())}" if shown else ""


def _sections(shown: Sequence[ComparedMetric], footnotes: dict[str, int]) -> Iterator[Section]:
    grouped: dict[tuple[str, str, str], list[ComparedMetric]] = defaultdict(list)
    for metric in shown:
        grouped[metric.where, metric.sae_a, metric.sae_b].append(metric)
    for where, sae_a, sae_b in sorted(grouped, key=lambda key: [natural_key(part) for part in key]):
        pair = sae_a if sae_a == sae_b else f"{sae_a} and {sae_b}"
        blocks = tuple(_blocks(grouped[where, sae_a, sae_b], footnotes))
        yield Section(title=f"{pair} at {where}", data="", blocks=blocks)


def _blocks(metrics: Sequence[ComparedMetric], footnotes: dict[str, int]) -> Iterator[Block]:
    """One block per evaluator and configuration."""
    by_source: dict[Source, list[ComparedMetric]] = defaultdict(list)
    for metric in metrics:
        by_source[metric.evaluator, 0, metric.config].append(metric)
    titles = evaluator_titles({source: json.loads(source[2]) for source in by_source})
    for source, members in by_source.items():
        columns = tuple(Column(titles[source], title, title, words=title == _VERDICT) for title in _COLUMNS)
        rows = tuple(_row(metric, footnotes) for metric in members)
        yield Block(titles[source], columns, rows, heading="metric")


def _row(metric: ComparedMetric, footnotes: dict[str, int]) -> TableRow:
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
    unit = f" ({metric.unit})" if metric.unit else ""
    notes = () if metric.reason is None else (footnotes.setdefault(metric.reason, len(footnotes) + 1),)
    difference = UNDEFINED
    if metric.difference is not None:
        difference = format_value(metric.difference, metric.ci_low, metric.ci_high)
    values = [
        Cell(UNDEFINED if value is None else format_plain(value))
        for value in (metric.value_a, metric.value_b)
    ]
    cells = (*values, Cell(difference), Cell(metric.verdict, notes=notes))
    return TableRow(f"{metric.metric}{unit}{arrow}", is_control=False, cells=cells)
