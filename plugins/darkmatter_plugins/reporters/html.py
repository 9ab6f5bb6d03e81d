"""One self-contained HTML page: no scripts, nothing loaded from anywhere."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from darkmatter import api

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --faint: #888; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .2rem; } h3 { font-size: 1rem; }
.scroll { overflow-x: auto; margin: .6rem 0 1.4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
:is(th, td):has(> .words) { text-align: left; }
thead th { border-bottom: 2px solid currentColor; vertical-align: bottom; }
tbody tr:hover { background: var(--soft); }
.interval, .kind, .data { color: var(--faint); } .interval { font-size: .85em; margin-left: .35em; }
.warning { border-left: 3px solid #c80; padding-left: .7rem; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; } sup { margin-left: .15em; }
""".strip()


def escape(text: str) -> str:
    """Text from a file that stays text in HTML."""
    return html.escape(api.printable(text))


def render(table: api.Table) -> str:
    """The whole table as a page."""
    title = escape(table.title)
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<h1>{title}</h1>",
    ]
    for section in table.sections:
        parts.extend(_section(section))
    if not table.sections:
        parts.append("<p>There are no results.</p>")
    parts.extend(_list("Not measured", table.missing))
    parts.extend(_list("Files that were not used", table.problems))
    parts.extend(_list("Notes", table.footnotes, tag="ol"))
    if table.sections:
        parts.extend(_list("How to read it", table.how_to_read))
        items = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in table.meanings)
        parts.append(f"<h3>What the columns mean</h3>\n<dl>\n{items}\n</dl>")
    return "\n".join([*parts, "</body>\n</html>\n"])


def _section(section: api.Section) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    if section.data:
        yield f'<p class="data">Measured on: {escape(section.data)}.</p>'
    if section.warnings:
        reasons = escape("; ".join(section.warnings))
        yield f'<p class="warning">Not comparable with the table above ({reasons}).</p>'
    for block in section.blocks:
        yield f'<h3>{escape(block.title)}</h3>\n<div class="scroll">\n{_block(block)}\n</div>'


def _block(block: api.Block) -> str:
    import pandas as pd

    headers = [block.heading, *(_aligned(escape(column.title), column) for column in block.columns)]
    body = [
        [
            _name(row.name, row.is_control),
            *(_aligned(_cell(cell), column) for cell, column in zip(row.cells, block.columns, strict=True)),
        ]
        for row in block.rows
    ]
    # pandas cuts long cells by default.
    with pd.option_context("display.max_colwidth", None):
        return pd.DataFrame(body, columns=headers).to_html(index=False, escape=False, border=0)


def _aligned(shown: str, column: api.Column) -> str:
    """Words stand left of their cell, numbers right."""
    return f'<span class="words">{shown}</span>' if column.words else shown


def _name(sae: str, is_control: bool) -> str:
    return escape(sae) + (' <span class="kind">control</span>' if is_control else "")


def _cell(cell: api.Cell) -> str:
    value, bracket, interval = escape(cell.text).partition(" [")
    text = f"<b>{value}</b>" if cell.mark == "best" else value
    if cell.mark == "tie":
        text += " ="
    if bracket:
        text += f'<span class="interval">[{interval}</span>'
    return text + "".join(f"<sup>{note}</sup>" for note in cell.notes)


def _list(title: str, lines: Sequence[str], tag: str = "ul") -> list[str]:
    """A titled list, or nothing."""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return [f"<h3>{title}</h3>\n<{tag}>\n{items}\n</{tag}>"] if lines else []
