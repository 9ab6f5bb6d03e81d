"""What the names of a file and of the folders above it say, where the file itself says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from darkmatter import api

CACHED = re.compile(r"models--(?:.+--)?(.+)")
"""A repository's folder in the Hugging Face cache."""


def folders(view: api.FileView) -> Iterator[str]:
    """The names of the files' folder and of those above, innermost first, up to the repository's own.

    What lies above a repository was named by somebody else. The folder of a commit in the cache is
    named after the repository too.
    """
    place: api.FileView | None = view
    while place is not None:
        above = place.parent()
        cached = CACHED.fullmatch(place.root.name)
        if above is None and place.origin is not None:
            yield str(place.origin.source["repo"]).rpartition("/")[2]
        else:
            yield cached[1] if cached else place.root.name
        place = None if cached else above


def match_in_folders(view: api.FileView, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """The match of a folder's full name, innermost first; a part of a name says nothing."""
    return next((match for name in folders(view) if (match := pattern.fullmatch(name))), None)


def match_in_path(view: api.FileView, name: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """The same, where the file may bear the name too (its suffix is left to the pattern)."""
    return pattern.fullmatch(name) or match_in_folders(view, pattern)
