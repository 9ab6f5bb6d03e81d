"""Read a leaderboard that anyone may have written: sizes first, no link is followed, nothing is trusted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from darkmatter.errors import UsageError
from darkmatter.leaderboard.card import ModelCard, read_card
from darkmatter.leaderboard.findings import AS_MADE, Finding
from darkmatter.leaderboard.layout import (
    BUILT,
    MAX_DEPTH,
    MAX_FILE_BYTES,
    MAX_FILES,
    is_card,
    is_result,
    is_sidecar,
    owner_of,
    sidecar_of,
)
from darkmatter.results.reading import Problem, StoredResult, read_result
from darkmatter.results.schema import Result
from darkmatter.results.store import SIDECAR

_STRAY = "Remove it: a leaderboard holds results, their sidecars, model cards and what `build` writes."


@dataclass(frozen=True, eq=False)
class BoardRow:
    """One result on the leaderboard; ``file`` is relative to it."""

    file: str
    stored: StoredResult

    @property
    def result(self) -> Result:
        """The result itself."""
        return self.stored.result

    @property
    def owner(self) -> str | None:
        """Whose it is by its folder; None for controls."""
        return owner_of(self.file)


@dataclass
class Board:
    """What could be read below a folder, and what could not.

    Attributes:
        folder: the leaderboard.
        files: every regular file of a fitting size, relative, sorted.
        rows: the results in the order of their paths.
        cards: model cards by the folder they lie in.
        findings: what is wrong with files as such.
    """

    folder: Path
    files: list[str] = field(default_factory=list)
    rows: list[BoardRow] = field(default_factory=list)
    cards: dict[str, ModelCard] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_board(folder: Path) -> Board:
    """Read everything below ``folder``."""
    if not folder.is_dir():
        message = (
            f"there is no leaderboard folder {str(folder)!r}. "
            "`darkmatter leaderboard submit RESULTS --owner NAME` makes one."
        )
        raise UsageError(message)
    board = Board(folder)
    for path, problem in _walk(folder):
        if problem is not None:
            board.findings.append(Finding(path, *problem))
        else:
            board.files.append(path)
    board.files.sort()
    present = frozenset(board.files)
    for path in board.files:
        if is_result(path):
            _read_row(board, path, present)
        elif is_card(path):
            _read_card(board, path)
        elif is_sidecar(path):
            if path.removesuffix(SIDECAR) + ".json" not in present:
                board.findings.append(Finding(path, "is a sidecar without its result", _STRAY))
        elif path not in BUILT:
            board.findings.append(Finding(path, "is a stray file, no part of the layout", _STRAY))
    return board


def _read_row(board: Board, path: str, present: frozenset[str]) -> None:
    sidecar = sidecar_of(path)
    if sidecar not in present and os.path.lexists(board.folder / sidecar):
        return  # what is wrong with the sidecar is a finding already, and it shall not be read
    found = read_result(board.folder / path)
    if isinstance(found, Problem):
        board.findings.append(Finding(path, found.reason, AS_MADE))
    elif found.result.checksum is None:
        board.findings.append(Finding(path, "has no checksum", AS_MADE))
    else:
        board.rows.append(BoardRow(path, found))
        if found.result.units is None and sidecar in present:
            board.findings.append(Finding(sidecar, "is a sidecar that its result does not name", _STRAY))


def _read_card(board: Board, path: str) -> None:
    card = read_card(board.folder / path)
    if isinstance(card, ModelCard):
        board.cards[path.partition("/")[0]] = card
    else:
        board.findings.append(Finding(path, card, "Write it as docs/leaderboard.md shows."))


def _walk(folder: Path) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Every file below a folder, relative, with what is wrong with it as a file (reason, fix)."""
    pending, count = [("", 0)], 0
    while pending:
        inside, depth = pending.pop()
        with os.scandir(folder / inside) as entries:
            for entry in entries:
                path = f"{inside}/{entry.name}" if inside else entry.name
                count += 1
                if count > MAX_FILES:
                    yield (
                        path,
                        (f"comes after {MAX_FILES} others; no more are read", "Split the leaderboard."),
                    )
                    return
                if entry.is_dir(follow_symlinks=False):
                    if depth < MAX_DEPTH:
                        pending.append((path, depth + 1))
                    else:
                        yield path, ("is a folder deeper than any result lies", _STRAY)
                else:
                    yield path, _wrong_with(entry)


def _wrong_with(entry: os.DirEntry[str]) -> tuple[str, str] | None:
    """Why a file is not read, and what to do."""
    found = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link, which is not followed", "Put the file itself there."
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file", "Remove it."
    if found.st_mode & 0o111:
        return "is executable, which no data is", f"chmod a-x {entry.name}"
    if found.st_size > MAX_FILE_BYTES:
        fix = "Cut what the evaluator keeps (its options), or ask the maintainers."
        return f"has {found.st_size} bytes, more than the {MAX_FILE_BYTES} that a file may have", fix
    return None
