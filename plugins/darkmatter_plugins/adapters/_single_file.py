"""Formats whose SAE is one ``.pt`` file: which file of the folder it is, and what its names say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from darkmatter import api

SUFFIXES = (".pt", ".pth")
LOOKED_AT = 64
"""Files of one folder whose headers are read at most."""


def having(view: api.FileView, fits: Callable[[str, dict[str, Any]], bool]) -> list[str]:
    """The saved files for which ``fits(name, header)``; those of other formats are passed over.

    Raises:
        SAEFileError: the only file there is cannot be read.
    """
    found = []
    names = [name for name in view.names() if name.endswith(SUFFIXES)][:LOOKED_AT]
    for name in names:
        try:
            header = view.saved_header(name)
        except api.DarkmatterError:
            if len(names) == 1:
                raise
            continue
        if header is not None and fits(name, header):
            found.append(name)
    return found


def only(view: api.FileView, names: Iterable[str], what: str) -> str:
    """The one file among ``names``.

    Raises:
        SAEFileError: there is none, or the user must say which.
    """
    listed = list(names)
    if len(listed) == 1:
        return listed[0]
    message = f"{view}: holds no file with {what}."
    if listed:
        message = f"{view}: holds {len(listed)} SAEs; give one of the files {', '.join(listed[:10])}."
    raise api.SAEFileError(message)


def match_in_path(view: api.FileView, name: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """The pattern's match nearest to the file: in its name, else in a folder's, innermost first."""
    places = [name, *reversed(view.root.parts)]
    return next((match for place in places if (match := pattern.search(place))), None)
