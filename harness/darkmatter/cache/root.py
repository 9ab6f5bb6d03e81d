"""Where what is kept between runs lies."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """``$DARKMATTER_CACHE``, else ``$XDG_CACHE_HOME/darkmatter``, else ``~/.cache/darkmatter``."""
    if chosen := os.environ.get("DARKMATTER_CACHE"):
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "darkmatter"
    return Path.home() / ".cache" / "darkmatter"
