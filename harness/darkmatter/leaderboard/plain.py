"""Text on a leaderboard: names that look like what they are, and no more of it than a reader needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from darkmatter.results.schema import Result

PLAIN = "letters, digits and signs of ASCII, 200 at most, with single spaces between words"

MAX_TEXT = 64 << 10
"""Characters of a row outside its numbers: notes, options, metadata, provenance."""
MAX_ONE_TEXT = 4000
"""Characters of any single text or name in a row."""
MAX_NAME = 200
MAX_METRICS = 5000

_COUNTED = frozenset({"metrics", "units", "tables", "curves"})
"""What grows with what is measured; here each text is bounded, and the file is as a whole."""


def is_plain(name: str) -> bool:
    """Whether no two such names that differ look the same by signs that are not seen or not told apart."""
    return (
        0 < len(name) <= MAX_NAME and name.isascii() and name.isprintable() and name == " ".join(name.split())
    )


def folded(name: str) -> str:
    """Equal for names that differ in case alone, or in what the name of a folder cannot hold."""
    return re.sub(r"[^a-z0-9._-]+", "_", name.lower())


def too_much_text(result: Result) -> Iterator[str]:
    """Which text of a result is longer than any honest one."""
    if len(result.metrics) > MAX_METRICS:
        yield f"lists {len(result.metrics)} metrics, more than {MAX_METRICS}"
    total = 0
    for part, value in result.model_dump(mode="json").items():
        sizes = [len(text) for text in _texts(value)]
        longest = max(sizes, default=0)
        if longest > MAX_ONE_TEXT:
            yield f"has a text of {longest} characters in its {part}, more than {MAX_ONE_TEXT}"
        if part not in _COUNTED:
            total += sum(sizes)
    if total > MAX_TEXT:
        yield f"has {total} characters of text beside its numbers, more than {MAX_TEXT}"


def _texts(value: Any) -> Iterator[str]:
    """Every text and every name inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
