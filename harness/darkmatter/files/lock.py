"""One writer per folder: a lock file with pid and host; a dead process's lock is taken over.

A lock file appears whole and synced to the disk, so one that cannot be understood was damaged, by a
crash of the machine for instance, and has no owner either.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from darkmatter.errors import DarkmatterError

LOCK_NAME = ".darkmatter-lock"
"""The lock file's name inside the folder it guards."""


class LockedError(DarkmatterError):
    """Another living process writes to this folder."""


def _identity() -> dict[str, str | int]:
    """Who we are: host, pid, and the boot-relative start time that tells a reused pid apart."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _started(pid: int) -> str:
    """When a process of this machine started, in the system's own ticks; empty where unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return fields.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _alive(owner: dict[str, object]) -> bool:
    """Whether the lock's owner may still be writing; processes of other hosts count as alive."""
    host, pid = owner.get("host"), owner.get("pid")
    if isinstance(host, str) and host != socket.gethostname():
        return True
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return owner.get("started") in ("", _started(pid))


def read_owner(folder: Path) -> dict[str, object] | None:
    """Host, pid and start of the process that holds the lock, or None where there is no lock."""
    try:
        content = _read(folder / LOCK_NAME)
    except OSError:
        return {}
    return None if content is None else _parse(content)


def _read(path: Path) -> bytes | None:
    """What stands in a lock file, or None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _parse(content: bytes) -> dict[str, object]:
    """The owner that a lock file names; an empty one where the file is damaged."""
    try:
        owner = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _write(path: Path) -> None:
    """Write who we are, durably: after a crash of the machine a lock is whole or absent."""
    with path.open("xb") as handle:
        handle.write(json.dumps(_identity()).encode())
        handle.flush()
        os.fsync(handle.fileno())


def _try_lock(folder: Path) -> bool:
    """Take the lock if it is free or its owner is dead."""
    path = folder / LOCK_NAME
    # The lock appears with its content: a lock that is written after it exists could be read empty.
    mine = folder / f"{LOCK_NAME}-{os.getpid()}-{os.urandom(6).hex()}"
    try:
        _write(mine)
        try:
            os.link(mine, path)
        except FileExistsError:
            try:
                content = _read(path)
            except OSError:  # somebody's whose files we may not read
                return False
            if content is None or _alive(_parse(content)):
                return False
            return _take_over(mine, path, content)
        return True
    finally:
        mine.unlink(missing_ok=True)


def _take_over(mine: Path, path: Path, dead: bytes) -> bool:
    """Replace a dead owner's lock; of several processes that try, one wins."""
    stale = path.with_name(f"{mine.name}-stale")
    try:
        path.rename(stale)
    except FileNotFoundError:
        return False
    try:
        if stale.read_bytes() != dead:
            # Somebody took it over between our look and our rename: give it back.
            with contextlib.suppress(FileExistsError):
                os.link(stale, path)
            return False
        os.link(mine, path)
    except FileExistsError:
        return False
    finally:
        stale.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def locked(
    folder: Path, wait_s: float = 0.0, waiting: Callable[[dict[str, object]], None] | None = None
) -> Iterator[None]:
    """Hold the folder's lock; wait up to ``wait_s`` seconds for another living writer.

    ``waiting(owner)`` is called once when there is somebody to wait for. Raises LockedError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    while not _try_lock(folder):
        owner = read_owner(folder)
        if owner is None:
            continue
        if waiting is not None:
            waiting(owner)
            waiting = None
        if time.monotonic() >= deadline:
            message = (
                f"{folder} is being written by process {owner.get('pid')} on {owner.get('host')}. Wait for "
                f"it to end, or, if that process is gone, delete {folder / LOCK_NAME} and try again."
            )
            raise LockedError(message)
        time.sleep(0.05)
    try:
        yield
    finally:
        (folder / LOCK_NAME).unlink(missing_ok=True)
