"""Files that are either whole or absent, and names and hashes that can be trusted.

Every file that darkmatter writes goes through ``write_atomically``: a temporary name in the same
folder, fsync, rename, fsync of the folder. A process killed at any instant leaves the old file, the
new file, or one recognisable temporary file that ``sweep`` removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import xxhash

TEMPORARY = ".darkmatter-tmp-"
"""What every temporary name begins with."""

_BLOCK = 1 << 22
_SAFE_NAME = re.compile(r"[a-z0-9_][a-z0-9._-]*(?<!\.)")
_HASHED_NAME = re.compile(r"-[0-9a-f]{16}$")
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_MAX_NAME = 80


def fsync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable, where the system can open folders."""
    if not hasattr(os, "O_DIRECTORY"):  # pragma: no cover - Windows renames are journalled
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing; it becomes ``path`` when the block ends without error.

    Missing folders above ``path`` are made. On any exception, ``KeyboardInterrupt`` included, the
    temporary file is removed and ``path`` stays what it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{os.urandom(6).hex()}"
    try:
        # Not tempfile: its files are private to the user whatever the umask says.
        with temporary.open("xb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, atomically."""
    with write_atomically(path) as handle:
        handle.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON with sorted keys, atomically."""
    _check_json(value)
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files of killed processes from ``folder``; call it as its only writer."""
    removed = []
    for path in sorted(folder.glob(f"{TEMPORARY}*")):
        path.unlink(missing_ok=True)
        removed.append(path)
    return removed


def canonical_json(value: Any) -> bytes:
    """The one JSON text of ``value``: sorted keys, no spaces, UTF-8; NaN and infinity are refused.

    Keys must be strings: JSON would turn ``1`` into ``"1"``, and two values would share one text.
    """
    _check_json(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def _check_json(value: Any) -> None:
    """Refuse mappings whose keys are not strings, at any depth."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                message = f"JSON keys must be strings, got {key!r}"
                raise TypeError(message)
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        _check_json(item)


def content_hash(*parts: Any) -> str:
    """32 hex digits of xxh3-128 over ``parts``: bytes as they are, anything else as canonical JSON.

    Each part is preceded by its kind and length, so that no two lists of parts share one stream.
    """
    hasher = xxhash.xxh3_128()
    for part in parts:
        raw = isinstance(part, bytes | bytearray | memoryview)
        data = memoryview(part).cast("B") if raw else memoryview(canonical_json(part))
        hasher.update(f"{'b' if raw else 'j'}{data.nbytes}:".encode())
        hasher.update(data)
    return hasher.hexdigest()


def file_hash(path: Path) -> str:
    """32 hex digits of xxh3-128 over the bytes of a file, read in blocks."""
    hasher = xxhash.xxh3_128()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as handle:
        while count := handle.readinto(buffer):
            hasher.update(view[:count])
    return hasher.hexdigest()


def slug(raw_id: str) -> str:
    """A file name for any id: different ids give different names, and no name leaves its folder.

    Ids that are safe lower-case names of at most 80 bytes stay as they are. All others are cleaned
    and end in 16 hex digits of the raw id's SHA-256; so do ids that already look like that, and ids
    with capitals, which some file systems would merge with their lower-case twins.
    """
    unchanged = (
        len(raw_id) <= _MAX_NAME
        and _SAFE_NAME.fullmatch(raw_id)
        and not _WINDOWS_DEVICE.fullmatch(raw_id)
        and not _HASHED_NAME.search(raw_id)
    )
    if unchanged:
        return raw_id
    digest = hashlib.sha256(raw_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", unicodedata.normalize("NFC", raw_id)).lstrip(".-")
    stem = cleaned[: _MAX_NAME - len(digest) - 1]
    if not stem or _WINDOWS_DEVICE.fullmatch(stem.lower()):
        stem = f"id_{stem.partition('.')[0]}"
    return f"{stem}-{digest}"
