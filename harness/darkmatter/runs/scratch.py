"""Folders for the codes of a running pass, and sweeping what a killed run left of them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "darkmatter-scratch-"
MARKER = ".darkmatter-scratch"
"""An empty file in every scratch folder: only what holds it is ever swept."""


@contextlib.contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """A folder below ``parent`` (None: the system's), removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    (folder / MARKER).touch()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch(parent: Path) -> None:
    """Remove scratch folders of runs that were killed; the caller is the folder's only writer."""
    for folder in parent.glob(f"{PREFIX}*"):
        if (folder / MARKER).is_file():
            shutil.rmtree(folder, ignore_errors=True)
