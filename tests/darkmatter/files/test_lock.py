"""One writer per folder."""

import json
import os
import signal
import subprocess
import sys

import pytest

from darkmatter.files import lock

HOLD = (
    "import pathlib, sys, time\n"
    "from darkmatter.files.lock import locked\n"
    "with locked(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)\n"
)


def test_second_writer_is_refused_while_the_first_lives_and_takes_over_after_its_death(tmp_path):
    """A living owner's lock holds; a killed owner's is taken over without a question."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(lock.LockedError, match=str(child.pid)), lock.locked(tmp_path):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
    with lock.locked(tmp_path):
        assert lock.read_owner(tmp_path)["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_lock_of_another_host_is_respected(tmp_path):
    """We cannot see another machine's processes, so its lock holds."""
    (tmp_path / lock.LOCK_NAME).write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": ""}))
    with pytest.raises(lock.LockedError, match="elsewhere"), lock.locked(tmp_path):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": "', b"{}", b"\xff\0", b"[" * 100_000])
def test_a_damaged_lock_has_no_owner(tmp_path, content):
    """A lock file that names nobody was left by a crash of the machine, and is taken over."""
    (tmp_path / lock.LOCK_NAME).write_bytes(content)
    with lock.locked(tmp_path):
        assert lock.read_owner(tmp_path)["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_read_is_respected(tmp_path):
    """What stands in the lock's place and is not ours to read holds, and is named in the error."""
    (tmp_path / lock.LOCK_NAME).mkdir()
    with pytest.raises(lock.LockedError, match=lock.LOCK_NAME), lock.locked(tmp_path):
        pass


def test_a_lock_is_on_the_disk_before_it_is_taken(tmp_path, monkeypatch):
    """The lock's content is synced before its name appears, so no crash leaves an empty lock."""
    done = []
    sync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda *where: done.append("sync") or sync(*where))
    monkeypatch.setattr(os, "link", lambda *where: done.append("link") or link(*where))
    with lock.locked(tmp_path):
        assert done == ["sync", "link"]


def test_reused_pid_does_not_hold_a_lock(tmp_path):
    """A lock whose pid now belongs to a younger process is stale."""
    owner = lock._identity() | {"started": "1"}
    (tmp_path / lock.LOCK_NAME).write_text(json.dumps(owner))
    with lock.locked(tmp_path):
        pass


def test_waiting_is_told_once(tmp_path):
    """Who waits learns for whom, one time."""
    seen = []
    with lock.locked(tmp_path), pytest.raises(lock.LockedError), lock.locked(tmp_path, 0.2, seen.append):
        pass
    assert [owner["pid"] for owner in seen] == [os.getpid()]
