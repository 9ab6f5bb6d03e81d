"""One writer per folder: a lock file with pid and host; a dead process's lock is taken over."""

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
    if owner.get("host") != socket.gethostname():
        return True
    pid = owner.get("pid")
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
        owner = json.loads((folder / LOCK_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _try_lock(folder: Path) -> bool:
    """Take the lock if it is free or its owner is dead."""
    path = folder / LOCK_NAME
    # The lock appears with its content: a lock that is written after it exists could be read empty.
    mine = folder / f"{LOCK_NAME}-{os.getpid()}-{os.urandom(6).hex()}"
    mine.write_text(json.dumps(_identity()), encoding="utf-8")
    try:
        try:
            os.link(mine, path)
        except FileExistsError:
            owner = read_owner(folder)
            if owner is None or _alive(owner):
                return False
            return _take_over(mine, path, owner)
        return True
    finally:
        mine.unlink(missing_ok=True)


def _take_over(mine: Path, path: Path, dead: dict[str, object]) -> bool:
    """Replace a dead owner's lock; of several processes that try, one wins."""
    stale = path.with_name(f"{mine.name}-stale")
    try:
        path.rename(stale)
    except FileNotFoundError:
        return False
    try:
        if json.loads(stale.read_text(encoding="utf-8") or "{}") != dead:
            # Somebody took it over between our look and our rename: give it back.
            with contextlib.suppress(FileExistsError):
                os.link(stale, path)
            return False
        os.link(mine, path)
    except FileExistsError:
        return False
    except ValueError:
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
