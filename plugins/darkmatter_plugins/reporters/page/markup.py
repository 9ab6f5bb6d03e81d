"""Pieces of HTML; whatever comes in as text goes out as text."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from darkmatter import api

_PART = re.compile(r"(?<=[:._/@→\[])(?=[A-Za-z])")
MAX_TEXT = 2000
"""Characters shown of one text of a file; the file has the rest."""


def escape(text: object) -> str:
    """Text from a file that stays text, in an element and in a quoted attribute."""
    shown = api.printable(str(text))
    return html.escape(shown if len(shown) <= MAX_TEXT else f"{shown[:MAX_TEXT]} … (cut)")


def breakable(text: object) -> str:
    """A name that may break where a part of it begins, and is not cut within a word on a phone."""
    return _PART.sub("<wbr>", escape(text))


def data_block(name: str, value: Any) -> str:
    """JSON that a script reads; no character of it can end the element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


def bullets(lines: Iterable[str], tag: str = "ul") -> str:
    """A list of texts; nothing where there are none."""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<{tag}>\n{items}\n</{tag}>" if items else ""


def pairs(values: Mapping[str, Any]) -> str:
    """Names and their values, as a definition list; empty values are left out."""
    items = "\n".join(
        f"<dt>{breakable(name)}</dt><dd>{breakable(value)}</dd>"
        for name, value in values.items()
        if value not in (None, "", (), [], {})
    )
    return f'<dl class="pairs">\n{items}\n</dl>' if items else ""


def scrolling(label: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table in a box that scrolls by itself, by keyboard too; cells are HTML already."""
    header = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return box(label, f"<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>")


def box(label: str, content: str) -> str:
    """A region that scrolls sideways without the page."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">\n{content}\n</div>'


def named(html_name: str) -> str:
    """What a row is about, in a cell that keeps a readable width."""
    return f'<span class="name">{html_name}</span>'


def number(value: Any) -> str:
    """A number of a file as text; anything else as it is."""
    if isinstance(value, float) and math.isfinite(value):
        return api.format_value(value)
    return "" if value is None else str(value)
