"""Whether fetched files still hold what came, without reading every byte at each use.

A file is read when it is first used and whenever the system says that it is not the same any more:

    ROOT/fetched/checked/REFERENCE.json     {file: [size, modified, changed, inode, SHA-256]}

``changed`` is the time at which the system itself noted a change; no program sets it at will.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from darkmatter.fetching.record import Record, records_folder, sha256_of
from darkmatter.files.atomic import slug, write_json

Stamp = list[int | str]


def altered(record: Record) -> list[str]:
    """What is no longer as it was fetched, one sentence each; the files are there, with their sizes.

    Afterwards every SHA-256 of the record is that of the file on this machine.
    """
    known = _read(record)
    stamps = {name: _stamp(record.path(name), known.get(name)) for name in record.files}
    if stamps != known:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
            write_json(_file(record), stamps)
    return [
        f"{record.path(name)}: its content has changed since it was fetched (SHA-256 differs)."
        for name, file in record.files.items()
        if stamps[name][-1] != file.sha256
    ]


def _stamp(path: Path, known: Stamp | None) -> Stamp:
    """The state of a file, and its hash: the known one where the state is."""
    about = path.stat()
    state: Stamp = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
    if known is not None and known[:-1] == state:
        return known
    return [*state, sha256_of(path)]


def _file(record: Record) -> Path:
    return records_folder() / "checked" / f"{slug(record.reference)}.json"


def _read(record: Record) -> dict[str, Stamp]:
    """What was found last time; nothing where that cannot be understood."""
    try:
        content = json.loads(_file(record).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    stamps = content.items() if isinstance(content, dict) else ()
    return {name: stamp for name, stamp in stamps if isinstance(stamp, list) and stamp}
