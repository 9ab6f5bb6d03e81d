"""Options that name a file: what is in it is part of the options, and so of a result's key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from darkmatter import api


def with_hash(values: Any, path: str, key: str) -> Any:
    """Options with the hash of the file that the option ``path`` names under ``key``.

    Raises:
        ValueError: there is no such file, or the hash that was given is another one's.
    """
    if not isinstance(values, dict) or not values.get(path):
        return values
    try:
        found = api.file_hash(Path(str(values[path])))
    except OSError as error:
        message = f"{path}: {values[path]!r} cannot be read: {error.strerror}"
        raise ValueError(message) from None
    if values.get(key) not in (None, found):
        message = f"{path}: {values[path]!r} has the hash {found}, not {values[key]!r} as {key} says"
        raise ValueError(message)
    return {**values, key: found}
