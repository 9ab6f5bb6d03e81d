"""Small JSON records that plugins keep in darkmatter's cache folder, such as the answers of a server."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

from darkmatter.cache.root import cache_root
from darkmatter.files.atomic import write_json

_KEY = re.compile(r"[0-9a-f]{32}")


class CachedRecords:
    """Records by ``content_hash`` below ``ROOT/KIND``; each file is whole or absent.

    The record that is kept first stands: whoever asks again, in whichever thread, gets the same.
    """

    def __init__(self, kind: str) -> None:
        self._folder = cache_root() / kind
        self._lock = threading.Lock()

    def get(self, key: str) -> Any | None:
        """The record of a key; None where there is none, or where its file is damaged."""
        path = self._path(key)
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            return None

    def keep(self, key: str, record: Any) -> Any:
        """Keep a record, and return the one that now stands."""
        with self._lock:
            standing = self.get(key)
            if standing is None:
                write_json(self._path(key), record)
            return record if standing is None else standing

    def _path(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            message = f"{key!r} is not a content_hash"
            raise ValueError(message)
        return self._folder / key[:2] / f"{key}.json"
