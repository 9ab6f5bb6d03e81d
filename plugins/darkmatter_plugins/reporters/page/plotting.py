"""The plotting library's own script, packed: it comes with the Python package ``plotly`` (an extra)."""

from __future__ import annotations

import gzip
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Library:
    """The script as text, for its hash, and as gzip in base64, a third of the size."""

    version: str
    script: str
    packed: str


@cache
def library() -> Library | None:
    """None where plotly is not installed. Nothing of it is imported: only its script is read."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    try:
        data = path.read_bytes()
        release = version("plotly")
    except (OSError, PackageNotFoundError):
        return None
    packed = b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")
    return Library(release, data.decode("utf-8"), packed)
