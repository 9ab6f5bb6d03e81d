"""The demo, run once for every page that shows its numbers."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from darkmatter.cli.main import main


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What ``darkmatter demo`` prints from an empty cache, and its results folder."""
    folder, printed = tmp_path_factory.mktemp("demo"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("DARKMATTER_CACHE", str(folder / "cache"))
        assert main(["demo", "--out", str(folder / "out")]) == 0
    return printed.getvalue(), folder / "out"
