"""Records that plugins keep in the cache folder."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from darkmatter.api import CachedRecords, content_hash
from darkmatter.cache.manage import list_entries

KEY = content_hash("question")


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    """An empty cache folder."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path))
    return tmp_path


def test_what_was_kept_is_found_again(root):
    """By its key and kind alone, in the cache folder, and it is no cache entry of activations."""
    CachedRecords("answers").keep(KEY, {"text": "é"})

    assert CachedRecords("answers").get(KEY) == {"text": "é"}
    assert CachedRecords("others").get(KEY) is None
    assert CachedRecords("answers").get(content_hash("another")) is None
    assert [path.relative_to(root).as_posix() for path in root.rglob("*.json")] == [
        f"answers/{KEY[:2]}/{KEY}.json"
    ]
    assert list_entries() == []


def test_the_first_record_stands():
    """Threads that ask the same at once all go on with one answer."""
    records = CachedRecords("answers")
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: records.keep(KEY, n), range(8)))

    assert set(given) == {records.get(KEY)}


def test_damage_is_no_record(root):
    """Half a file is as good as none, and is written over."""
    records = CachedRecords("answers")
    records.keep(KEY, {"text": "whole"})
    (path,) = root.rglob("*.json")
    path.write_text('{"text": "ha')

    assert records.get(KEY) is None
    assert records.keep(KEY, {"text": "again"}) == {"text": "again"}
    assert records.get(KEY) == {"text": "again"}


def test_keys_are_hashes():
    """No key can lead out of the folder."""
    with pytest.raises(ValueError, match="content_hash"):
        CachedRecords("answers").get("../../secrets")
