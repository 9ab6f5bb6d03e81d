"""Listing, checking and removing cache entries."""

import pytest

from darkmatter.cache import entry, manage
from darkmatter.cache.root import cache_root
from darkmatter.cache.store import open_cached
from darkmatter.errors import CacheError
from darkmatter.files.lock import LockedError, locked

HOOK = "blocks.0.hook_resid_post"


def test_listing_says_what_is_there(request_for, provider, root):
    """An entry is listed with model, text, shape, hook points and size."""
    assert manage.list_entries(root) == []
    store = open_cached(request_for(), provider, root)
    (info,) = manage.list_entries(root)
    assert (info.key, info.model, info.n_contexts, info.hooks) == (store.key, "fake", 20, {HOOK: 1.0})
    assert info.size == sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_verify_names_every_damaged_file(request_for, provider, root):
    """Flipped, missing and truncated files are each named once, by path or by number."""
    store = open_cached(request_for(), provider, root)
    assert manage.verify(store.entry) == []
    files = store.entry.shard_files(HOOK)
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
    files[1].unlink()
    store.entry.contexts_file().write_bytes(b"")
    problems = manage.verify(store.entry)
    assert len(problems) == 3
    assert [word in text for word, text in zip(["contexts-", "00000-", "shard 1"], problems, strict=True)]


def test_damaged_manifest_is_listed_and_verified_not_raised(request_for, provider, root):
    """One broken entry does not hide the others."""
    open_cached(request_for(), provider, root)
    broken = open_cached(request_for(seed=1), provider, root)
    (broken.entry.folder / entry.MANIFEST).write_text("[]")
    fresh = manage.find_entry(broken.key, root)
    assert len(manage.list_entries(root)) == 2
    assert "cache rm" in manage.verify(fresh)[0]
    manage.remove(fresh)
    assert len(manage.list_entries(root)) == 1


def test_remove_deletes_one_entry(request_for, provider, root):
    """The entry is gone, and the next run builds it again."""
    store = open_cached(request_for(), provider, root)
    manage.remove(manage.find_entry(store.key[:5], root))
    assert list(root.iterdir()) == []
    open_cached(request_for(), provider, root)
    assert provider.loads == 2


def test_entry_being_written_is_not_removed(request_for, provider, root):
    """A writer's lock protects its entry."""
    store = open_cached(request_for(), provider, root)
    with locked(store.entry.folder), pytest.raises(LockedError):
        manage.remove(store.entry)
    assert manage.verify(store.entry) == []


@pytest.mark.parametrize("key", ["", "..", "zz", "/"])
def test_unknown_keys_are_refused(request_for, provider, root, key):
    """What is no beginning of a key names nothing, least of all a folder elsewhere."""
    open_cached(request_for(), provider, root)
    with pytest.raises(CacheError, match="no cache entry"):
        manage.find_entry(key, root)


def test_root_follows_the_environment(monkeypatch, tmp_path):
    """DARKMATTER_CACHE wins over XDG_CACHE_HOME, which wins over the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DARKMATTER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root() == tmp_path / ".cache" / "darkmatter"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "darkmatter"
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "mine"))
    assert cache_root() == tmp_path / "mine"
