"""``darkmatter leaderboard build``: write the table and the page."""

from __future__ import annotations

from pathlib import Path

from darkmatter.errors import DarkmatterError
from darkmatter.files.atomic import write_bytes
from darkmatter.leaderboard.board import read_board
from darkmatter.leaderboard.check import rules
from darkmatter.leaderboard.pages import pages
from darkmatter.plugins import PluginHost


def built_files(folder: Path, host: PluginHost) -> dict[str, bytes]:
    """What ``build`` writes, by path relative to the leaderboard; refuses one that ``check`` faults."""
    board = read_board(folder)
    if findings := sorted({*board.findings, *rules(board, host)}):
        first = findings[0]
        message = (
            f"{len(findings)} things are wrong with {folder}, and nothing was written; the first: "
            f"{first.file}: {first.reason}. `darkmatter leaderboard check {folder}` lists all."
        )
        raise DarkmatterError(message)
    return pages(board, host)


def write_built(folder: Path, files: dict[str, bytes]) -> None:
    """Write them."""
    for path, data in files.items():
        write_bytes(folder / path, data)
