"""Build a table, as pure data, from a set of results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from darkmatter.descriptors import Evaluator
from darkmatter.printable import brief
from darkmatter.results.captions import HOW_TO_READ, describe_data, describe_metric, evaluator_titles
from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import (
    config_text,
    data_signature,
    is_unread,
    measured_by,
    short_names,
    why_not_comparable,
)
from darkmatter.results.numbers import format_value, natural_key
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue, Result
from darkmatter.results.table import UNDEFINED, Block, Cell, Column, Mark, Section, Table, TableRow
from darkmatter.results.ties import Entry, PairedUnits, marks

MAX_WIDTH = 118
"""Characters of a rendered block; what is wider is split."""

MAX_NAME = 44
"""What is longer in a name does not count: better a wide table than one block for every column."""

Cells = tuple[Column, dict[str, Cell]]
"""A column and what each SAE has in it."""

Source = tuple[str, int, str]
"""Evaluator, version and configuration: what stands behind a column."""


@dataclass
class _Builder:
    """State that all parts of one table share."""

    all_metrics: bool
    evaluators: Mapping[str, Evaluator]
    order: Sequence[str]
    titles: Mapping[Source, str]
    keep_order: bool = False
    paired: PairedUnits = field(default_factory=PairedUnits)
    footnotes: dict[str, int] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)

    def note(self, reason: str) -> int:
        """The number of the footnote with this text."""
        return self.footnotes.setdefault(reason, len(self.footnotes) + 1)

    # -- one section ------------------------------------------------------------------------------

    def section(self, title: str, entries: Sequence[tuple[str, StoredResult]], first: Result) -> Section:
        """All results of one hook point and one set of activations."""
        by_source: dict[Source, dict[str, StoredResult]] = defaultdict(dict)
        for name, entry in entries:
            by_source[_source(entry.result)][name] = entry
        names = self._sorted({name: entry.result.sae.is_control for name, entry in entries})
        columns = []
        for source in sorted(by_source, key=self._place):
            columns.extend(self._columns(source, by_source[source], names))
        mine = entries[0][1].result
        return Section(
            title=title,
            data=describe_data([entry.result for _, entry in entries]),
            blocks=tuple(cut(columns, names)),
            warnings=tuple(
                reason
                for reason in why_not_comparable(first, mine)
                if data_signature(first) != data_signature(mine)
            ),
            results=tuple((name, entry.result) for name, entry in entries),
        )

    def _place(self, source: Source) -> tuple[int, Source]:
        descriptor = self.evaluators.get(source[0])
        return (descriptor.order if descriptor else 1000), source

    def _sorted(self, controls: Mapping[str, bool]) -> dict[str, bool]:
        """Names in the order of the rows: SAEs before controls, each as given, else naturally."""
        if self.keep_order:
            return dict(controls)
        place = {name: index for index, name in enumerate(self.order)}

        def key(name: str) -> tuple[bool, int, list[tuple[int, int, str]]]:
            return controls[name], place.get(name, len(place)), natural_key(name)

        return {name: controls[name] for name in sorted(controls, key=key)}

    def _columns(
        self, source: Source, results: Mapping[str, StoredResult], names: Mapping[str, bool]
    ) -> list[Cells]:
        """The columns of one evaluator, with a cell for every SAE."""
        found: dict[str, dict[str, Entry]] = defaultdict(dict)
        for name, stored in results.items():
            for metric in stored.result.metrics:
                if metric.primary or self.all_metrics:
                    found[metric.name][name] = (stored, metric)
        descriptor = self.evaluators.get(source[0])
        made = []
        for metric_name in _metric_order(found, descriptor):
            entries = found[metric_name]
            column = self._column(source, metric_name, next(iter(entries.values()))[1], descriptor)
            rivals = {name: entry for name, entry in entries.items() if not names[name]}
            made.append((column, self._cells(names, results, entries, marks(rivals, self.paired))))
        return made

    def _column(self, source: Source, name: str, metric: MetricValue, descriptor: Evaluator | None) -> Column:
        arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
        unit = f" ({metric.unit})" if metric.unit else ""
        title = self.titles[source]
        described = descriptor.metric(name) if descriptor else None
        pattern = described.name if described else name
        key = title if pattern == ".*" else f"{title}: {pattern}"
        self.meanings.setdefault(key, describe_metric(metric, described))
        return Column(title, name, f"{name}{unit}{arrow}")

    def _cells(
        self,
        names: Mapping[str, bool],
        results: Mapping[str, StoredResult],
        entries: Mapping[str, Entry],
        marked: Mapping[str, Mark],
    ) -> dict[str, Cell]:
        cells = {}
        for name in names:
            if name in entries:
                cells[name] = self._cell(entries[name][1], marked.get(name, ""))
            elif name in results and results[name].result.status != "ok":
                cells[name] = Cell(results[name].result.status)
            else:
                cells[name] = Cell("")
        return cells

    def _cell(self, metric: MetricValue, mark: Mark) -> Cell:
        notes = (self.note(metric.reason),) if metric.reason else ()
        if metric.value is None:
            return Cell(UNDEFINED, notes=notes)
        text = format_value(metric.value, metric.ci_low, metric.ci_high)
        return Cell(text, mark, notes, value=metric.value)


def build_table(
    results: ResultSet, *, all_metrics: bool = False, evaluators: Mapping[str, Evaluator] | None = None
) -> Table:
    """The table of a set of results.

    Args:
        results: what to show.
        all_metrics: every metric, not only the headline ones.
        evaluators: descriptors by name, for the order and the meaning of columns.
    """
    sources = {_source(result): result.config for result in results}
    builder = _Builder(
        all_metrics, evaluators or {}, results.order, evaluator_titles(sources), results.keep_order
    )
    groups: dict[tuple[str, tuple[str, str]], list[tuple[str, StoredResult]]] = {}
    for name, entry in zip(results.names, results.stored, strict=True):
        groups.setdefault((entry.result.sae.hook, data_signature(entry.result)), []).append((name, entry))
    unread = {result.sae.name for result in results if is_unread(result)}
    groups = {identity: short_names(entries, unread) for identity, entries in groups.items()}
    first: dict[str, Result] = {}
    sections = []
    for (hook, _), entries in sorted(groups.items(), key=lambda item: _rank(*item)):
        mine = entries[0][1].result
        other = measured_by(mine)
        reference = first.setdefault(hook, mine)
        if other != "darkmatter":
            reference = next((each for each in results if measured_by(each) == "darkmatter"), reference)
        title = (hook or "activations") + (f" ({other})" if other != "darkmatter" else "")
        section = builder.section(title, entries, reference)
        if section.blocks:  # where nothing could be measured, the list of what is missing says all
            sections.append(section)
    return Table(
        title="darkmatter results",
        sections=tuple(sections),
        how_to_read=HOW_TO_READ,
        meanings=tuple(builder.meanings.items()),
        footnotes=tuple(builder.footnotes),
        missing=tuple(_missing(results)),
        problems=tuple(f"{problem.path} {problem.reason}" for problem in results.problems),
        rows=results.rows(all_metrics=all_metrics),
    )


def _source(result: Result) -> Source:
    return result.evaluator.name, result.evaluator.version, config_text(result.config)


def _metric_order(found: Mapping[str, object], descriptor: Evaluator | None) -> list[str]:
    """Metric names in the descriptor's order, items of a pattern in natural order."""
    declared = [metric.name for metric in descriptor.metrics] if descriptor else []
    place = {name: index for index, name in enumerate(declared)}
    given = {name: index for index, name in enumerate(found)}

    def key(name: str) -> tuple[int, list[tuple[int, int, str]], int]:
        metric = descriptor.metric(name) if descriptor else None
        if metric is None:
            return len(place), [], given[name]
        return place[metric.name], natural_key(name), given[name]

    return sorted(found, key=key)


def cut(columns: Sequence[Cells], names: Mapping[str, bool]) -> list[Block]:
    """One block where everything fits, else blocks of one evaluator each, cut to the width.

    ``names`` are the rows, with whether each is a control.
    """
    if _width(columns, names) <= MAX_WIDTH:
        titles = list(dict.fromkeys(column.evaluator for column, _ in columns))
        return [_block(", ".join(titles), columns, names)] if columns else []
    grouped: dict[str, list[Cells]] = defaultdict(list)
    for column, cells in columns:
        grouped[column.evaluator].append((column, cells))
    blocks = []
    for title, members in grouped.items():
        for index, part in enumerate(_parts(members, names)):
            blocks.append(_block(f"{title} (continued)" if index else title, part, names))
    return blocks


def _parts(members: Sequence[Cells], names: Mapping[str, bool]) -> list[list[Cells]]:
    """Parts that fit the width, as few as possible and of about equal length."""
    for count in range(1, len(members) + 1):
        length = -(-len(members) // count)
        parts = [list(members[start : start + length]) for start in range(0, len(members), length)]
        if all(_width(part, names) <= MAX_WIDTH for part in parts):
            return parts
    return [[member] for member in members]


def _block(title: str, columns: Sequence[Cells], names: Mapping[str, bool]) -> Block:
    """Rows for the SAEs that have something to show in these columns."""
    rows = []
    for name, is_control in names.items():
        cells = tuple(cells[name] for _, cells in columns)
        if any(cell.text for cell in cells):
            rows.append(TableRow(name, is_control, cells))
    return Block(title, tuple(column for column, _ in columns), tuple(rows))


def _width(columns: Sequence[Cells], names: Mapping[str, bool]) -> int:
    """Characters of a rendered block, with marks and separators; rows without anything are not in it."""
    shown = [name for name in names if any(cells[name].text for _, cells in columns)]
    first = min(MAX_NAME, max((len(name) + 10 * names[name] for name in shown), default=0))
    others = (
        max(len(column.title), *(len(cell.text) + 4 * bool(cell.mark) for cell in cells.values()))
        for column, cells in columns
    )
    return first + 4 + sum(width + 3 for width in others)


def _missing(results: ResultSet) -> list[str]:
    """What failed or was skipped, with the same reason said once and briefly; results have it in full."""
    by_name: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, result in zip(results.names, results, strict=True):
        if result.status != "ok":
            by_name[result.status, brief(result.reason or "no reason given"), name].append(
                result.evaluator.name
            )
    grouped: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (status, reason, name), evaluators in by_name.items():
        grouped[status, reason, ", ".join(sorted(evaluators))].append(name)
    return [
        f"{', '.join(sorted(names, key=natural_key))}: {evaluators} {status}: {reason}"
        for (status, reason, evaluators), names in grouped.items()
    ]


def _rank(group: tuple[str, object], entries: Sequence[tuple[str, StoredResult]]) -> tuple[int, object]:
    """Where most SAEs can be compared comes first, then hook points by name."""
    saes = {name for name, entry in entries if not entry.result.sae.is_control}
    return -len(saes), natural_key(group[0])
