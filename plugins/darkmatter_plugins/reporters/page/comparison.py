"""Tables to sort and filter: one per evaluator of a section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from darkmatter import api
from darkmatter_plugins.reporters.page.markup import box, breakable, escape

TOOLBAR = """
<form class="toolbar" id="tools" aria-label="What the tables and figures show">
<label>SAEs whose name holds <input type="search" id="filter" autocomplete="off" spellcheck="false"></label>
<label><input type="checkbox" id="controls" checked> controls</label>
<label>evaluator <select id="evaluator"><option value="">all</option></select></label>
<output id="shown" aria-live="polite"></output>
</form>
""".strip()

Cells = Mapping[str, api.Cell]


def comparison(section: api.Section, meanings: Mapping[str, str]) -> str:
    """All tables of one section."""
    controls = {row.name: row.is_control for block in section.blocks for row in block.rows}
    return "\n".join(_table(title, columns, controls, meanings) for title, columns in _by_evaluator(section))


def _by_evaluator(section: api.Section) -> Iterator[tuple[str, list[tuple[api.Column, Cells]]]]:
    """The columns of each evaluator with their cells: blocks are cut for terminals, a page scrolls."""
    found: dict[str, list[tuple[api.Column, Cells]]] = {}
    for block in section.blocks:
        for index, column in enumerate(block.columns):
            cells = {row.name: row.cells[index] for row in block.rows}
            found.setdefault(column.evaluator, []).append((column, cells))
    yield from found.items()


def _table(
    title: str,
    columns: list[tuple[api.Column, Cells]],
    controls: Mapping[str, bool],
    meanings: Mapping[str, str],
) -> str:
    heads = [_head("SAE", "the SAE, or the family of SAEs at a hook point")]
    heads += [_head(column.title, meaning_of(column, meanings)) for column, _ in columns]
    rows = []
    for name, is_control in controls.items():
        cells = [found.get(name) for _, found in columns]
        if any(cell is not None and cell.text for cell in cells):
            rows.append(_row(name, "".join(map(_cell, cells)), is_control=is_control))
    body = "\n".join(rows)
    head = f"<thead><tr>{''.join(heads)}</tr></thead>"
    content = f'<table class="sortable">\n{head}\n<tbody>\n{body}\n</tbody>\n</table>'
    return (
        f'<div class="evaluator" data-evaluator="{escape(title)}">\n<h4>{escape(title)}</h4>\n'
        f"{box(f'table of {title}', content)}\n</div>"
    )


def _head(title: str, meaning: str) -> str:
    return (
        f'<th scope="col"><button type="button" class="sort" title="{escape(meaning)}">{escape(title)}'
        "</button></th>"
    )


def _row(name: str, cells: str, *, is_control: bool) -> str:
    kind = ' <span class="kind">control</span>' if is_control else ""
    marked = ' class="control"' if is_control else ""
    return f'<tr{marked} data-name="{escape(name)}"><th scope="row">{breakable(name)}{kind}</th>{cells}</tr>'


def _cell(cell: api.Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    value, bracket, interval = escape(cell.text).partition(" [")
    text = f"<b>{value}</b>" if cell.mark == "best" else value
    if cell.mark == "tie":
        text += ' <abbr class="tie" title="cannot be told apart from the best">=</abbr>'
    if bracket:
        text += f'<span class="interval">[{interval}</span>'
    text += "".join(f'<sup><a href="#note-{note}">{note}</a></sup>' for note in cell.notes)
    sortable = "" if cell.value is None else f' data-value="{cell.value!r}"'
    return f"<td{sortable}>{text}</td>"


def meaning_of(column: api.Column, meanings: Mapping[str, str]) -> str:
    """What a column shows; metrics that exist once per item share the words of their pattern."""
    exact = meanings.get(f"{column.evaluator}: {column.metric}")
    if exact is not None:
        return exact
    patterns = {
        name: text
        for name, text in meanings.items()
        if name.endswith(("[*]", ".*")) and f"{column.evaluator}: {column.metric}".startswith(name[:-2])
    }
    return patterns[max(patterns, key=len)] if patterns else ""
