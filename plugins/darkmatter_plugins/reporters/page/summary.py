"""The results in words: what is best, what ties with it, what is missing. Every word follows from a cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from darkmatter import api
from darkmatter_plugins.reporters.page.markup import bullets, escape

ARROWS = ("↑", "↓")
"""How the title of a column ends where one direction is better."""
LEAD = (
    "The best SAE by each metric that has a better direction, controls aside, with 95% intervals. More "
    "active latents reconstruct better, so l0 stands beside the name."
)
MANY = 4
"""Of more names than these, only the first are said."""


def summary(table: api.Table) -> str:
    """Paragraphs for the top of the page."""
    parts = [f"<p>{escape(_counted(table))}</p>"]
    ranked = [(section, list(_best(section))) for section in table.sections]
    for section, lines in sorted(ranked, key=lambda each: not each[1]):  # where nothing is ranked comes last
        parts.append(f"<h3>{escape(section.title)}</h3>")
        if lines:
            parts.append(f"<p>{LEAD}</p>\n<ul>\n" + "\n".join(lines) + "\n</ul>")
        else:
            parts.append(f"<p>{escape(_alone(section))}</p>")
    parts.append(_missing(table))
    return "\n".join(parts)


def _counted(table: api.Table) -> str:
    saes = {(s.title, name) for s in table.sections for name, r in s.results if not r.sae.is_control}
    controls = {(s.title, name) for s in table.sections for name, r in s.results if r.sae.is_control}
    evaluators = {r.evaluator.name for s in table.sections for _, r in s.results}
    if not table.sections:
        return "There is nothing to compare: no result has a value."
    text = (
        f"{plural(len(saes), 'SAE or family', 'SAEs and families')} and {plural(len(controls), 'control')}, "
        f"measured by {plural(len(evaluators), 'evaluator')}."
    )
    if len(table.sections) > 1:
        text += (
            f" They fall into {len(table.sections)} comparisons; numbers of different comparisons were "
            "measured on different activations or in different ways and are never ranked together."
        )
    return text


def _alone(section: api.Section) -> str:
    """What the only SAE of a section has, where there is nothing to rank."""
    found: dict[str, list[str]] = {}
    for block in section.blocks:
        for row in block.rows:
            for column, cell in zip(block.columns, row.cells, strict=True):
                if not row.is_control and cell.value is not None and column.title.endswith(ARROWS):
                    found.setdefault(row.name, []).append(f"{column.metric} {cell.text}")
    said = [f"{name}: {', '.join(values)}." for name, values in found.items()]
    return " ".join(["There is nothing to rank.", *said[:MANY]])


def _best(section: api.Section) -> Iterator[str]:
    """One line per column that has a best."""
    l0 = {name: result.sae.l0 for name, result in section.results}
    for block in section.blocks:
        for index, column in enumerate(block.columns):
            cells = [(row.name, row.cells[index]) for row in block.rows if not row.is_control]
            best = next(((name, cell) for name, cell in cells if cell.mark == "best"), None)
            if best is None:
                continue
            ties = [name for name, cell in cells if cell.mark == "tie"]
            without = sum(bool(cell.text) and cell.value is None for _, cell in cells)
            compared = sum(cell.value is not None for _, cell in cells)
            name, cell = best
            at = l0.get(name)
            where = f" at l0 {api.format_value(at)}" if at is not None else ""
            lead = "Lowest" if column.title.endswith("↓") else "Highest"
            said = f"of {compared}: {name}{where}, {cell.text}."
            if ties:
                said += f" Cannot be told apart: {names(ties)}."
            if without:
                said += f" Without a value: {without}."
            yield (
                f"<li>{lead} <b>{escape(column.metric)}</b> "
                f'<span class="faint">({escape(column.evaluator)})</span> {escape(said)}</li>'
            )


def _missing(table: api.Table) -> str:
    if not table.missing and not table.problems:
        return "<p>Nothing failed, nothing was skipped, and every file was used.</p>"
    lines = []
    for status in ("failed", "skipped"):
        count = sum(row["metric"] is None and row["status"] == status for row in table.rows)
        if count:
            lines.append(f"{plural(count, 'result')} {status}, listed below with reasons.")
    if table.problems:
        lines.append(f"Not trusted and not used: {plural(len(table.problems), 'file')}, listed below.")
    return bullets(lines)


def names(each: Sequence[str]) -> str:
    """Names in a sentence, the first of many."""
    if len(each) <= MANY:
        return ", ".join(each)
    return f"{', '.join(each[:MANY])} and {len(each) - MANY} more"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"
