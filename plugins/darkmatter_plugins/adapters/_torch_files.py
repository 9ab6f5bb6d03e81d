"""Which ``.pt`` (or ``.pth``) file of a folder a format means, where its name says nothing."""

from __future__ import annotations

from collections.abc import Callable

from darkmatter import api

SUFFIXES = (".pt", ".pth")
LOOKED_AT = 64
"""Files of a folder that are looked into: a folder of activations holds thousands."""


def ours(view: api.FileView, recognise: Callable[[str], bool]) -> list[str]:
    """The saved files that ``recognise`` knows by their structure.

    Raises:
        DarkmatterError: none is known, and one cannot be read: what is wrong with the first of these.
    """
    found: list[str] = []
    complaint: api.DarkmatterError | None = None
    for name in [name for name in view.names() if name.endswith(SUFFIXES)][:LOOKED_AT]:
        try:
            if recognise(name):
                found.append(name)
        except api.DarkmatterError as error:
            complaint = complaint or error
    if complaint is not None and not found:
        raise complaint
    return found


def the_one(view: api.FileView, found: list[str]) -> str:
    """The only file of a format in a folder; several are an error that lists them."""
    if len(found) == 1:
        return found[0]
    if not found:
        message = f"{view}: holds no file of this format."
        raise api.SAEFileError(message)
    names = ", ".join(found[:12]) + (", ..." if len(found) > 12 else "")
    message = (
        f"{view}: holds {len(found)} files with SAEs ({names}); give one of them: {view.file(found[0])}."
    )
    raise api.SAEFileError(message)
