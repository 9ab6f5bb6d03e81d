"""Whole files or none, one text per value, one name per id."""

import os
import signal
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkmatter.files import atomic

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_write_replaces_and_leaves_no_temporary(tmp_path):
    """A finished write leaves exactly the new file."""
    path = tmp_path / "new" / "a.bin"
    atomic.write_bytes(path, b"old")
    atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_failed_write_keeps_the_old_file(tmp_path, kind):
    """An exception inside the block, an interrupt included, leaves the old file and no rubbish."""
    path = tmp_path / "a.bin"
    atomic.write_bytes(path, b"old")

    def interrupted():
        with atomic.write_atomically(path) as handle:
            handle.write(b"half")
            raise kind

    with pytest.raises(kind):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_is_synced_before_the_rename(tmp_path, monkeypatch):
    """The data reach the disk before the name does, and the name before we return."""
    steps = []
    real_fsync, real_replace = os.fsync, atomic.Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), real_fsync(fd))[1])
    monkeypatch.setattr(atomic.Path, "replace", lambda a, b: (steps.append("rename"), real_replace(a, b))[1])
    atomic.write_bytes(tmp_path / "a", b"x")
    assert steps == ["fsync", "rename", "fsync"]


def test_killed_writer_leaves_only_a_sweepable_file(tmp_path):
    """SIGKILL in the middle of a write leaves the old content and one file that sweep removes."""
    path = tmp_path / "a.bin"
    atomic.write_bytes(path, b"old")
    code = (
        "import os, signal, sys, pathlib\n"
        "from darkmatter.files.atomic import write_atomically\n"
        "with write_atomically(pathlib.Path(sys.argv[1])) as handle:\n"
        "    handle.write(b'half'); handle.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(atomic.sweep(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_umask_decides_permissions(tmp_path):
    """A written file is as readable as any other file of the user."""
    atomic.write_bytes(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@given(st.dictionaries(st.text(), JSON))
def test_canonical_json_ignores_order(value):
    """The same mapping in another order has the same text and hash."""
    turned = dict(reversed(list(value.items())))
    assert atomic.canonical_json(value) == atomic.canonical_json(turned)
    assert atomic.content_hash(value) == atomic.content_hash(turned)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": -float("inf")}])
def test_canonical_json_refuses_what_json_has_not(value):
    """NaN and infinity are refused instead of written."""
    with pytest.raises(ValueError, match="Out of range"):
        atomic.canonical_json(value)


def test_canonical_json_refuses_keys_that_would_merge():
    """A number as key is refused, because its text would equal a string's."""
    with pytest.raises(TypeError, match="keys must be strings"):
        atomic.canonical_json({"a": [{1: 2}]})


@given(st.lists(JSON | st.binary(), max_size=3), st.lists(JSON | st.binary(), max_size=3))
def test_content_hash_separates_lists_of_parts(left, right):
    """Two different lists of parts, however cut, have different hashes."""

    def stream(parts):
        return [
            p if isinstance(p, bytes) else atomic.canonical_json(p).decode("utf-8", "surrogatepass")
            for p in parts
        ]

    assert (atomic.content_hash(*left) == atomic.content_hash(*right)) == (stream(left) == stream(right))


def test_file_hash_is_the_hash_of_the_bytes(tmp_path):
    """Reading in blocks gives the hash of the whole, also for an empty file."""
    for size in (0, 1, atomic._BLOCK, atomic._BLOCK + 1):
        data = os.urandom(size)
        (tmp_path / "f").write_bytes(data)
        assert atomic.file_hash(tmp_path / "f") == atomic.xxhash.xxh3_128(data).hexdigest()


NASTY = [
    "",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "a/b",
    "a__b",
    "a_b",
    "a\\b",
    "A",
    "a",
    "CON",
    "con",
    "con.txt",
    "nul",
    "a\0b",
    "\u202etxt.exe",
    "x" * 300,
    "x" * 301,
    "é",
    unicodedata.normalize("NFD", "é"),
    "-rf",
    "a.",
    "a ",
    "C:x",
    "~",
    "~root",
    "\ud800",
    "com1.",
    ".hidden",
]


def test_slug_of_nasty_ids_is_injective():
    """Ids made to collide or to escape get different names, on case-blind file systems too."""
    names = [atomic.slug(raw) for raw in NASTY]
    names += [atomic.slug(name) for name in names if name not in NASTY]
    assert len({name.lower() for name in names}) == len(names)


@given(st.text() | st.text(alphabet="aA./\\-_0f", max_size=24))
def test_slug_never_leaves_its_folder(raw):
    """Every name is one portable path component of at most 80 bytes."""
    name = atomic.slug(raw)
    assert 0 < len(name.encode()) <= 80
    assert not name.startswith((".", "-"))
    assert not name.endswith(".")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not atomic._WINDOWS_DEVICE.fullmatch(name.lower())


@given(st.text(alphabet="aA./\\-_0f", max_size=24), st.text(alphabet="aA./\\-_0f", max_size=24))
def test_slug_separates_ids(left, right):
    """Different ids have different names, capitals ignored."""
    assert (atomic.slug(left).lower() == atomic.slug(right).lower()) == (left == right)


def test_slug_keeps_plain_names():
    """A hook point or a plain name stays readable."""
    assert atomic.slug("blocks.2.hook_resid_post") == "blocks.2.hook_resid_post"
