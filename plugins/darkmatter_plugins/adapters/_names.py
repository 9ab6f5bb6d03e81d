"""What the names of a file and of the folders above it say, where the file itself says nothing."""

from __future__ import annotations

import re

from darkmatter import api


def match_in_path(view: api.FileView, name: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """The pattern's match nearest to the file: in its name, else in a folder's, innermost first."""
    places = [name, *reversed(view.root.parts)]
    return next((match for place in places if (match := pattern.search(place))), None)
