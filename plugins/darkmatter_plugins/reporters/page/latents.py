"""Compact tables of single latents, for every evaluator that kept some in its result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from darkmatter import api
from darkmatter_plugins.reporters.page.markup import escape, number, scrolling

MOST_ROWS = 40
MOST_COLUMNS = 14
"""What a page shows of one table; the result file has all of it."""
LONGEST = 120


def latent_tables(result: api.Result) -> Iterator[str]:
    """Each table of a result that has a column ``latent``; lists of rows and columns of lists both count."""
    for title, table in result.tables.items():
        rows = _rows(table)
        if not rows:
            continue
        columns = _columns(rows)
        body = [[_cell(row.get(column)) for column in columns] for row in rows[:MOST_ROWS]]
        if len(rows) > MOST_ROWS or len(columns) == MOST_COLUMNS:
            more = (
                f"The first {min(len(rows), MOST_ROWS)} of {len(rows)} rows; the result file has all columns."
            )
        else:
            more = ""
        label = f"{result.evaluator.name}: {title}"
        yield (
            f"<details><summary>Latents, {escape(label)} ({len(rows)})</summary>\n"
            f"{scrolling(label, [_head(column, rows) for column in columns], body)}\n"
            f'<p class="faint">{escape(more)}</p></details>'
        )


def _rows(table: Any) -> list[Mapping[str, Any]]:
    """Rows with a ``latent``; nothing where it is another kind of table."""
    if isinstance(table, Mapping):
        table = _turned(table)
    if not isinstance(table, list):
        return []
    rows = [row for row in table if isinstance(row, Mapping)]
    return rows if len(rows) == len(table) and all("latent" in row for row in rows) else []


def _turned(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Columns of equal length as rows."""
    index = table.get("latent")
    if not isinstance(index, list):
        return []
    columns = {
        name: values
        for name, values in table.items()
        if isinstance(values, list) and len(values) == len(index)
    }
    return [{name: values[row] for name, values in columns.items()} for row in range(len(index))]


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """``latent`` first, then words, then the rest, without columns that are empty everywhere."""
    names = dict.fromkeys(str(name) for row in rows for name in row)
    full = [name for name in names if any(row.get(name) not in (None, "", []) for row in rows)]
    others = sorted(
        (name for name in full if name != "latent"),
        key=lambda name: not any(isinstance(row.get(name), str) for row in rows),
    )
    return ["latent", *others][:MOST_COLUMNS]


def _head(column: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The name of a column, left where its cells are words."""
    words = any(isinstance(row.get(column), str) for row in rows)
    return f'<span class="words">{escape(column)}</span>' if words else escape(column)


def _cell(value: Any) -> str:
    """Words stand left of numbers; what is nested is said as JSON."""
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        value = ", ".join(number(each) for each in value)
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else number(value)
    shown = escape(text if len(text) <= LONGEST else f"{text[:LONGEST]} …")
    return f'<span class="words">{shown}</span>' if isinstance(value, str) else shown
