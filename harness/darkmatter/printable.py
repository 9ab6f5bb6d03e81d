"""Text from files made safe to show: in a terminal, in one line, in a table cell."""

from __future__ import annotations

import re
import unicodedata

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])?")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def printable(text: str, *, keep_lines: bool = False) -> str:
    """Text without terminal escapes, control, format and direction characters.

    Line breaks and tabs become spaces, unless ``keep_lines`` keeps line breaks.
    """
    text = _ESCAPE_SEQUENCE.sub("", text)
    if keep_lines:
        return "\n".join(printable(line) for line in text.split("\n"))
    spaced = re.sub(r"[\t\n\r\v\f\x85\u2028\u2029]+", " ", text)
    return "".join(char for char in spaced if unicodedata.category(char) not in _HIDDEN)


def brief(text: str, limit: int = 300) -> str:
    """The first line of a longer message, cut after a word where even that is long."""
    line, _, more = text.strip().partition("\n")
    if len(line) > limit:
        line, more = line[:limit].rsplit(" ", 1)[0], "cut"
    return f"{line} …" if more else line
