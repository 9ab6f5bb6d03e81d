"""What ``darkmatter cache ls|verify|rm`` do, as data."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkmatter.cache.entry import LOSS, MANIFEST, Entry, check_file
from darkmatter.cache.root import cache_root
from darkmatter.errors import CacheError, did_you_mean
from darkmatter.files.lock import locked

_TRASH = ".removed-"


@dataclass(frozen=True)
class EntryInfo:
    """One cache entry for a listing; ``hooks`` maps hook points to the share of shards there."""

    key: str
    folder: str
    model: str
    text: str
    n_contexts: int
    n_positions: int
    hooks: dict[str, float]
    size: int
    problem: str | None = None


def _entries(root: Path) -> list[Entry]:
    folders = sorted(root.iterdir()) if root.is_dir() else []
    kept = [folder for folder in folders if not folder.name.startswith(_TRASH) and not folder.is_symlink()]
    return [Entry(folder) for folder in kept if (folder / MANIFEST).is_file()]


def find_entry(key: str, root: Path | None = None) -> Entry:
    """The entry whose key begins with ``key``."""
    root = cache_root() if root is None else root
    entries = [entry for entry in _entries(root) if key and entry.key.startswith(key)]
    if len(entries) == 1:
        return entries[0]
    if entries:
        message = (
            f"{key!r} begins several keys: {', '.join(entry.key for entry in entries)}. Give more digits."
        )
    else:
        known = [entry.key for entry in _entries(root)]
        message = f"There is no cache entry {key!r} in {root}. {did_you_mean(key, known)}"
    raise CacheError(message)


def list_entries(root: Path | None = None) -> list[EntryInfo]:
    """All entries below ``root`` (by default the cache), damaged ones included."""
    return [_describe(entry) for entry in _entries(cache_root() if root is None else root)]


def _describe(entry: Entry) -> EntryInfo:
    size = sum(path.stat().st_size for path in entry.folder.rglob("*") if path.is_file())
    try:
        manifest: dict[str, Any] = entry.manifest
    except CacheError as error:
        return EntryInfo(entry.key, str(entry.folder), "?", "?", 0, 0, {}, size, str(error))
    total = len(entry.shards)
    hooks = {name: 1 - len(entry.missing(name)) / total for name in entry.stored_hooks()}
    return EntryInfo(
        key=entry.key,
        folder=str(entry.folder),
        model=str(manifest["description"]["model"]["name"]),
        text=str(manifest["description"]["text"]["path"]),
        n_contexts=manifest["n_contexts"],
        n_positions=manifest["n_positions"],
        hooks=hooks,
        size=size,
    )


def verify(entry: Entry) -> list[str]:
    """Everything that is wrong with an entry, one sentence each; reads every byte."""
    try:
        names = (*entry.manifest["hooks"], LOSS)
    except CacheError as error:
        return [str(error)]
    contexts = entry.contexts_file()
    problems = [f"{entry.folder}: the tokens are missing."] if contexts is None else [check_file(contexts)]
    for name in names:
        problems += [check_file(path) for path in entry.shard_files(name).values()]
        damaged = {shard.index for shard in entry.missing(name)}
        absent = sorted(damaged - set(entry.shard_files(name)))
        if absent:
            shards = f"shards {', '.join(map(str, absent[:5]))}{' ...' if len(absent) > 5 else ''}"
            problems.append(
                f"{entry.folder}: incomplete, {len(absent)} of {len(entry.shards)} shards of {name} are "
                f"missing ({shards}); the run that needs them makes them."
            )
    return [problem for problem in problems if problem]


def remove(entry: Entry) -> None:
    """Delete an entry that nobody is writing."""
    with locked(entry.folder):
        # Renamed first, so that a kill in the middle leaves no half entry under its key.
        trash = entry.folder.with_name(f"{_TRASH}{entry.key}")
        shutil.rmtree(trash, ignore_errors=True)
        entry.folder.rename(trash)
    for folder in entry.folder.parent.glob(f"{_TRASH}*"):
        shutil.rmtree(folder, ignore_errors=True)
