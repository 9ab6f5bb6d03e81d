"""What a leaderboard was at a commit, by git's own hashes; nothing is checked out and nothing is run."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from darkmatter.errors import DarkmatterError, UsageError
from darkmatter.leaderboard.board import Board
from darkmatter.leaderboard.findings import Finding
from darkmatter.leaderboard.layout import is_card, is_result, is_sidecar, owner_of

_RESTORE = "Keys are immutable: take the file from {commit} again; a correction is a row with another key."
_CONFIRM = (
    "Take the file from {commit} again. If the change is right, {owner} opens the pull request "
    "(`--author {owner}` says who did); where that is a group, a maintainer asks it and merges all the same."
)
_JOIN = (
    "{owner} opens the pull request (`--author {owner}` says who did); where that is a group, a maintainer "
    "asks it and merges all the same."
)
_PATIENCE = 60


@dataclass(frozen=True)
class Base:
    """Files of the leaderboard at a commit: paths relative to it, with the hashes of their content."""

    commit: str
    blobs: dict[str, str]


def read_base(folder: Path, ref: str) -> Base:
    """The leaderboard where the history of ``ref`` and the present one part.

    That one commit gives both the list of files and their content: against the tip of ``ref`` every row
    that was added there since would look removed here.
    """
    tip = _asked(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if tip is None:
        message = f"--base {ref}: git knows no such commit here. `git fetch` it, or name another."
        raise UsageError(message)
    found = _asked(folder, "merge-base", "HEAD", tip.decode().strip())
    if found is None:
        message = (
            f"--base {ref}: has no commit in common with the present one. In a shallow clone, "
            "`git fetch --unshallow` first."
        )
        raise UsageError(message)
    commit = found.decode().strip()
    # From within the folder, git names only what lies below it, relative to it.
    blobs = {}
    for line in _git(folder, "ls-tree", "-r", "-z", commit).stdout.split(b"\0"):
        described, tab, path = line.partition(b"\t")
        if tab:
            blobs[os.fsdecode(path)] = described.split(b" ")[2].decode()
    return Base(commit, blobs)


def history_findings(board: Board, base: Base, author: str | None = None) -> Iterator[Finding]:
    """Rows and cards that were changed or removed since, and what an ``author`` adds in another's name."""
    fix = _RESTORE.format(commit=base.commit[:12])
    changed, removed = f"was changed since {base.commit[:12]}", f"was removed since {base.commit[:12]}"
    files = set(board.files)
    for path in board.files if author is not None else ():
        new = path not in base.blobs and (is_card(path) or is_result(path))
        if new and owner_of(path) is not None and not _own(path, author):
            reason = f"is new, in the folder of {owner_of(path)}, and nothing says that they added it"
            yield Finding(path, reason, _JOIN.format(owner=owner_of(path)))
    for path in sorted(base.blobs):
        kept = is_result(path) or is_sidecar(path)
        if path in files:
            if kept and not is_as_before(board, base, path):
                yield Finding(path, changed, fix)
            elif is_card(path) and not _own(path, author) and not is_as_before(board, base, path):
                owner = owner_of(path)
                confirm = _CONFIRM.format(owner=owner, commit=base.commit[:12])
                yield Finding(path, f"{changed}, and nothing says that {owner} did it", confirm)
        elif kept:
            yield Finding(path, removed, fix)
        elif is_card(path) and any(other.startswith(path.partition("/")[0] + "/") for other in files):
            yield Finding(path, removed, "Put the model card back.")


def is_as_before(board: Board, base: Base, path: str) -> bool:
    """Whether a file has the bytes that it had."""
    blob = base.blobs.get(path)
    return blob is not None and _blob(board.folder / path, len(blob)) == blob


def _own(path: str, author: str | None) -> bool:
    return author is not None and author.lower() == owner_of(path)


def _blob(path: Path, digits: int) -> str:
    """The hash that git gives a file, in a repository whose hashes have so many digits."""
    data = path.read_bytes()
    hasher = hashlib.sha1(usedforsecurity=False) if digits == 40 else hashlib.sha256()
    hasher.update(b"blob %d\0" % len(data))
    hasher.update(data)
    return hasher.hexdigest()


def _asked(folder: Path, *arguments: str) -> bytes | None:
    """What a git command prints that answers no with the status 1 and nothing else; None is its no."""
    done = _git(folder, *arguments, no=1)
    return None if done.returncode else done.stdout


def _git(folder: Path, *arguments: str, no: int = 0) -> subprocess.CompletedProcess[bytes]:
    """A git command that was done; ``no`` is a status beside 0 that is an answer.

    Raises DarkmatterError where there is no answer: without one, changes would go unseen.
    """
    # A folder of data that looks like a bare repository would bring its own history and configuration.
    command = ["git", "-c", "safe.bareRepository=explicit", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the one word of a user's is behind --end-of-options
            command, capture_output=True, check=False, timeout=_PATIENCE
        )
    except FileNotFoundError as error:
        message = "--base needs git, which is not installed; without --base, changes are not checked."
        raise UsageError(message) from error
    except subprocess.TimeoutExpired as error:
        message = (
            f"--base: `git {arguments[0]}` has not answered for {_PATIENCE} seconds, so nothing is known of "
            f"changes. See what `git -C {folder} {arguments[0]}` waits for, and check again."
        )
        raise DarkmatterError(message) from error
    if done.returncode not in (0, no):
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0] or "it does not say why"
        message = (
            f"--base: `git {arguments[0]}` failed ({said}), so nothing is known of changes. Take a complete "
            "clone (`git fetch --unshallow`, no --filter) of a repository that is yours, and check again."
        )
        raise DarkmatterError(message)
    return done
