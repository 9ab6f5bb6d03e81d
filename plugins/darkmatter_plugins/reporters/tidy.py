"""Tidy rows for other programs: CSV and JSON."""

from __future__ import annotations

import json
from typing import Any

from darkmatter import api

_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the start of a formula."""


def render_csv(table: api.Table) -> str:
    """Comma-separated rows; text that a spreadsheet would run as a formula gets a leading quote."""
    import pandas as pd

    rows = [{name: _plain(value) for name, value in row.items()} for row in table.rows]
    frame = pd.DataFrame(rows, columns=list(table.rows[0] if table.rows else api.ROW_COLUMNS))
    whole = {name: "Int64" for name in ("n", "version") if name in frame}
    return frame.astype(whole).to_csv(index=False, lineterminator="\n")


def _plain(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = api.printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def render_json(table: api.Table) -> str:
    """A JSON list of rows in plain ASCII; what has no value is null."""
    return json.dumps(table.rows, indent=1, allow_nan=False) + "\n"
