"""Build a table, as pure data, from a set of results."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from darkmatter.descriptors import Evaluator
from darkmatter.results.captions import HOW_TO_READ, describe_metric, describe_rows, evaluator_titles
from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import Source, measured_by, place_of, source_of, why_not_comparable
from darkmatter.results.missing import failures, unused
from darkmatter.results.numbers import format_value, natural_key
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue, Result
from darkmatter.results.sections import Named, by_place, title_of
from darkmatter.results.table import UNDEFINED, Block, Cell, Column, Mark, Section, Table, TableRow
from darkmatter.results.ties import Entry, PairedUnits, marks

MAX_WIDTH = 118
"""Characters of a rendered block; what is wider is split."""

MAX_NAME = 44
"""What is longer in a name does not count: better a wide table than one block for every column."""

Cells = tuple[Column, dict[str, Cell]]
"""A column and what each SAE has in it."""


@dataclass
class _Builder:
    """State that all parts of one table share."""

    all_metrics: bool
    evaluators: Mapping[str, Evaluator]
    order: Sequence[str]
    titles: Mapping[Source, str]
    keep_order: bool = False
    footnotes: dict[str, int] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)

    def note(self, reason: str) -> int:
        """The number of the footnote with this text."""
        return self.footnotes.setdefault(reason, len(self.footnotes) + 1)

    # -- one section ------------------------------------------------------------------------------

    def section(self, title: str, entries: Sequence[Named], first: Result) -> Section:
        """All results of one place; ``first`` is of the section that it could be mistaken for."""
        by_source: dict[Source, dict[str, StoredResult]] = defaultdict(dict)
        for name, entry in entries:
            by_source[source_of(entry.result)][name] = entry
        names = self._sorted({name: entry.result.sae.is_control for name, entry in entries})
        columns = []
        for source in sorted(by_source, key=self._place):
            columns.extend(self._columns(source, by_source[source], names))
        mine = entries[0][1].result
        named = tuple((name, entry.result) for name, entry in entries)
        return Section(
            title=title,
            data=describe_rows(named),
            blocks=tuple(cut(columns, names)),
            warnings=tuple(why_not_comparable(first, mine) if place_of(first) != place_of(mine) else ()),
            results=named,
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
        paired = PairedUnits()
        made = []
        for metric_name in _metric_order(found, descriptor):
            entries = found[metric_name]
            column = self._column(source, metric_name, next(iter(entries.values()))[1], descriptor)
            rivals = {name: entry for name, entry in entries.items() if not names[name]}
            made.append((column, self._cells(names, results, entries, marks(rivals, paired))))
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
    sources = {source_of(result): result.config for result in results}
    builder = _Builder(
        all_metrics, evaluators or {}, results.order, evaluator_titles(sources), results.keep_order
    )
    first: dict[str, Result] = {}
    sections = []
    for place, entries in sorted(by_place(results), key=lambda group: _rank(group[1])):
        mine = entries[0][1].result
        reference = first.setdefault(place.title, mine)
        if measured_by(mine) != "darkmatter":
            reference = next((each for each in results if measured_by(each) == "darkmatter"), reference)
        section = builder.section(title_of(place, mine), entries, reference)
        if section.blocks:  # where nothing could be measured, the list of what is missing says all
            sections.append(section)
    return Table(
        title="darkmatter results",
        sections=tuple(sections),
        how_to_read=HOW_TO_READ,
        meanings=tuple(builder.meanings.items()),
        footnotes=tuple(builder.footnotes),
        missing=tuple(failures(results)),
        problems=unused(results.problems),
        rows=results.rows(all_metrics=all_metrics),
    )


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
    told_apart = _told_apart(columns)
    if _width(told_apart, names) <= MAX_WIDTH:
        titles = list(dict.fromkeys(column.evaluator for column, _ in columns))
        return [_block(", ".join(titles), told_apart, names)] if columns else []
    grouped: dict[str, list[Cells]] = defaultdict(list)
    for column, cells in columns:
        grouped[column.evaluator].append((column, cells))
    blocks = []
    for title, members in grouped.items():
        for index, part in enumerate(_parts(members, names)):
            blocks.append(_block(f"{title} (continued)" if index else title, part, names))
    return blocks


def _told_apart(columns: Sequence[Cells]) -> list[Cells]:
    """The columns with their evaluator in the title where the title alone would stand there twice."""
    count = Counter(column.title for column, _ in columns)
    return [
        (replace(column, title=f"{column.evaluator}: {column.title}"), cells)
        if count[column.title] > 1
        else (column, cells)
        for column, cells in columns
    ]


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


def _rank(entries: Sequence[Named]) -> int:
    """Where most SAEs can be compared comes first."""
    return -len({name for name, entry in entries if not entry.result.sae.is_control})
