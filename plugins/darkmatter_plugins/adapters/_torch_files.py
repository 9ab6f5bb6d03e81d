"""Which ``.pt`` (or ``.pth``) file of a folder a format means, where its name says nothing."""

from __future__ import annotations

from collections.abc import Callable

from darkmatter import api

SUFFIXES = (".pt", ".pth")
LOOKED_AT = 64
"""Files of a folder that are looked into: a folder of activations holds thousands."""


def _candidates(view: api.FileView) -> list[str]:
    return [name for name in view.names() if name.endswith(SUFFIXES)]


def ours(view: api.FileView, recognise: Callable[[str], bool]) -> list[str]:
    """The saved files, of the first that are looked into, that ``recognise`` knows by their structure.

    Raises:
        DarkmatterError: none is known, and one cannot be read: what is wrong with the first of these.
    """
    found: list[str] = []
    complaint: api.DarkmatterError | None = None
    for name in _candidates(view)[:LOOKED_AT]:
        try:
            if recognise(name):
                found.append(name)
        except api.DarkmatterError as error:
            complaint = complaint or error
    if complaint is not None and not found:
        raise complaint
    return found


def none_found(view: api.FileView, what: str) -> api.Refusal:
    """That no saved file is as ``what`` says; files that were not looked into are counted, not denied."""
    count = len(_candidates(view))
    if count <= LOOKED_AT:
        return api.Refusal(f"no .pt or .pth file {what}")
    return api.Refusal(
        f"none of the first {LOOKED_AT} .pt and .pth files {what}; {count - LOOKED_AT} more were not looked "
        "into: give the file itself"
    )


def the_one(view: api.FileView, found: list[str]) -> str:
    """The only file of a format in a folder; several, or too many to look into, are an error."""
    count = len(_candidates(view))
    if len(found) == 1 and count <= LOOKED_AT:
        return found[0]
    if not found:
        message = f"{view}: {none_found(view, 'is of this format').reason}."
        raise api.SAEFileError(message)
    names = ", ".join(found[:12]) + (", ..." if len(found) > 12 else "")
    files = "file with an SAE" if len(found) == 1 else "files with SAEs"
    unseen = f" among its first {LOOKED_AT} of {count}" if count > LOOKED_AT else ""
    message = (
        f"{view}: holds {len(found)} {files}{unseen} ({names}); give one of them: {view.file(found[0])}."
    )
    raise api.SAEFileError(message)
