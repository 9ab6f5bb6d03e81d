"""What a leaderboard was at a commit, by git's own hashes; nothing is checked out and nothing is run."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from darkmatter.errors import UsageError
from darkmatter.leaderboard.board import Board
from darkmatter.leaderboard.findings import Finding
from darkmatter.leaderboard.layout import is_card, is_result, is_sidecar

_RESTORE = "Keys are immutable: take the file from {commit} again; a correction is a row with another key."


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
    tip = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if tip is None:
        message = f"--base {ref}: git knows no such commit here. `git fetch` it, or name another."
        raise UsageError(message)
    commit = _git(folder, "merge-base", "HEAD", tip.strip())
    if commit is None:
        message = (
            f"--base {ref}: has no commit in common with the present one. In a shallow clone, "
            "`git fetch --unshallow` first."
        )
        raise UsageError(message)
    commit = commit.strip()
    # From within the folder, git names only what lies below it, relative to it.
    listing = _git(folder, "ls-tree", "-r", "-z", commit)
    blobs = {}
    for line in (listing or "").split("\0"):
        described, tab, path = line.partition("\t")
        if tab:
            blobs[path] = described.split(" ")[2]
    return Base(commit, blobs)


def history_findings(board: Board, base: Base) -> Iterator[Finding]:
    """Rows that were changed or removed since."""
    fix = _RESTORE.format(commit=base.commit[:12])
    files = set(board.files)
    for path, blob in sorted(base.blobs.items()):
        kept = is_result(path) or is_sidecar(path)
        if path in files:
            if kept and _blob(board.folder / path, len(blob)) != blob:
                yield Finding(path, f"was changed since {base.commit[:12]}", fix)
        elif kept:
            yield Finding(path, f"was removed since {base.commit[:12]}", fix)
        elif is_card(path) and any(other.startswith(path.partition("/")[0] + "/") for other in files):
            yield Finding(path, f"was removed since {base.commit[:12]}", "Put the model card back.")


def _blob(path: Path, digits: int) -> str:
    """The hash that git gives a file, in a repository whose hashes have so many digits."""
    data = path.read_bytes()
    hasher = hashlib.sha1(usedforsecurity=False) if digits == 40 else hashlib.sha256()
    hasher.update(b"blob %d\0" % len(data))
    hasher.update(data)
    return hasher.hexdigest()


def _git(folder: Path, *arguments: str) -> str | None:
    """What a git command prints, or None where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the one word of a user's is behind --end-of-options
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except FileNotFoundError as error:
        message = "--base needs git, which is not installed; without --base, changes are not checked."
        raise UsageError(message) from error
    except subprocess.SubprocessError:
        return None
    return done.stdout
