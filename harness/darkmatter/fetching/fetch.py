"""Bring what a reference names onto this machine, at one commit, and record it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darkmatter.catalogues import resolve_entry
from darkmatter.errors import ItemError, SAEFileError, UsageError
from darkmatter.fetching.hub import damage, download, listing, said_plainly
from darkmatter.fetching.record import (
    COMMIT,
    FetchedFile,
    Record,
    canonical,
    lock_folder,
    place,
    problems,
    read_record,
    sha256_of,
    write_record,
)
from darkmatter.fetching.select import Chosen, Known, RemoteFile, choose_files, names_of
from darkmatter.files.limits import human
from darkmatter.files.lock import locked
from darkmatter.plugins import host
from darkmatter.progress import Progress
from darkmatter.references import Reference

MAX_SIZE = 20_000_000_000
"""Bytes that one reference may bring unless the user allows more."""

LONGEST_WAIT_S = 24 * 3600.0
"""How long to wait for another process that fetches the same reference."""

_MB = 1_000_000


@dataclass(frozen=True)
class Fetched:
    """What became of one reference; ``before`` is the commit that was there, None if nothing was."""

    reference: str
    record: Record
    before: str | None

    @property
    def moved(self) -> bool:
        """Whether a branch or tag now means another commit."""
        return self.before not in {None, self.record.commit}


def hub_reference(reference: Reference) -> Reference:
    """The ``hf:`` reference behind one of kind "hf" or "catalogue"."""
    if reference.kind == "hf":
        return reference
    if reference.kind == "catalogue":
        return resolve_entry(reference)[1]
    message = f"{reference}: there is nothing to fetch; only hf: references and those of catalogues are."
    raise UsageError(message)


def fetch(reference: Reference, *, max_size: int = MAX_SIZE, progress: Progress | None = None) -> Fetched:
    """Fetch a reference; one that is there is checked, mended, and moved to its newest commit.

    A reference that names a commit never moves, and needs no network while its files are whole.

    Raises:
        ItemError: it cannot be fetched, and why.
    """
    progress = progress or Progress()
    hub = hub_reference(reference)
    name = canonical(hub)

    def waiting(owner: dict[str, object]) -> None:
        progress.note(f"{name}: waiting for process {owner.get('pid')} on {owner.get('host')} to fetch it")

    # One at a time: of two that resolve a moving branch, the last to write would decide.
    with locked(lock_folder(name), LONGEST_WAIT_S, waiting):
        return _fetch(reference, hub, max_size, progress)


def _fetch(reference: Reference, hub: Reference, max_size: int, progress: Progress) -> Fetched:
    name, (repo, inside) = canonical(hub), place(hub)
    before = _before(name)
    if before is not None and re.fullmatch(COMMIT, hub.revision or "") and not problems(before, hashes=True):
        return Fetched(str(reference), before, before.commit)
    with said_plainly(name, repo, hub.revision):
        commit, files = listing(repo, hub.revision)
        chosen = choose_files(files, inside, repo, Known.of(host().adapters().values()))
        _announce(name, commit, chosen, max_size, progress)
        snapshot, fetched = _download(name, repo, commit, chosen.files, progress)
    record = Record(
        reference=name,
        repo=repo,
        commit=commit,
        snapshot=str(snapshot),
        fetched=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        files=fetched,
    )
    write_record(record)
    return Fetched(str(reference), record, before.commit if before else None)


def _before(name: str) -> Record | None:
    """What was fetched under this name; a damaged record is replaced."""
    try:
        return read_record(name)
    except SAEFileError:
        return None


def _announce(name: str, commit: str, chosen: Chosen, max_size: int, progress: Progress) -> None:
    """Say what will be downloaded, or refuse because it is too much, or nobody knows how much."""
    unknown = [file for file in chosen.files if file.size is None]
    if unknown:
        message = (
            f"{name}: the hub states no size of {names_of(unknown)}, so nothing says whether all of it "
            "would come, or whether it is too much. Nothing was downloaded."
        )
        raise ItemError(message)
    total = _total(chosen.files)
    progress.note(f"{name}: commit {commit}, {len(chosen.files)} files, {human(total)}")
    for file in chosen.files:
        progress.note(f"  {human(file.size or 0):>10}  {file.path}")
    if chosen.left_out:
        progress.note(f"  left out, as parts of the training: {names_of(chosen.left_out)}")
    if total > max_size:
        message = (
            f"{name}: {len(chosen.files)} files of {human(total)} together, more than {human(max_size)}. "
            f"Name a folder further in, or allow it: darkmatter fetch {name} --max-size {total}"
        )
        raise ItemError(message)


def _download(
    name: str, repo: str, commit: str, chosen: Sequence[RemoteFile], progress: Progress
) -> tuple[Path, dict[str, FetchedFile]]:
    """(snapshot folder, files with their hashes); every file is compared with what the hub states."""
    snapshots: set[Path] = set()
    fetched: dict[str, FetchedFile] = {}
    total, done = _total(chosen), 0
    with progress.step(f"fetching {name}", _megabytes(total), "MB") as advance:
        for file in chosen:
            came = done

            def more(count: int) -> None:
                nonlocal came
                came += count
                advance(_megabytes(min(came, total)), _megabytes(total))

            path, snapshot = download(repo, commit, file, more, force=False)
            if damage(file, path):  # perhaps damaged long after it came: once more
                path, snapshot = download(repo, commit, file, more, force=True)
            wrong = damage(file, path)
            if wrong:
                message = f"{name}: {file.path} is damaged: {wrong}. Nothing was recorded; run this again."
                raise ItemError(message)
            snapshots.add(snapshot)
            size = path.stat().st_size  # the one that the hub states
            fetched[file.path] = FetchedFile(size=size, sha256=file.sha256 or sha256_of(path))
            done += size
            advance(_megabytes(done), _megabytes(total))
    (folder,) = snapshots
    return folder, fetched


def _total(files: Sequence[RemoteFile]) -> int:
    return sum(file.size or 0 for file in files)


def _megabytes(count: int) -> int:
    return -(-count // _MB)
