"""Documents from files, with errors that say what to do."""

import gzip
import json
import sys
from types import SimpleNamespace

import pytest

from darkmatter.cache.spec import TextSpec
from darkmatter.errors import UsageError
from darkmatter.text.documents import open_documents


def read(path, **fields):
    """The documents of a file."""
    return list(open_documents(TextSpec(path=str(path), **fields)).texts)


def test_plain_text_is_cut_at_blank_lines(tmp_path):
    """Blank lines, however many and whatever their spaces, end a document."""
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\ntwo\r\n \r\n\n\nthree\n\n")
    assert read(tmp_path / "a.txt") == ["one\ntwo", "three"]


def test_plain_text_is_cut_at_end_of_text_lines(tmp_path):
    """Where there are end-of-text lines, they alone end a document."""
    (tmp_path / "a.txt").write_text("one\n\ntwo\n<|endoftext|>\nthree\n")
    assert read(tmp_path / "a.txt") == ["one\n\ntwo", "three"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.json.gz"])
def test_json_records_are_objects_or_strings(tmp_path, name):
    """JSON lines and JSON lists read alike, packed or not."""
    records = [{"text": "one\u2028still one", "n": 1}, "two"]
    listed = json.dumps(records)
    text = listed if ".jsonl" not in name else "\n\n".join(json.dumps(r, ensure_ascii=False) for r in records)
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read(tmp_path / name) == ["one\u2028still one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            '{"text": "x"}\n{"story": "x", "n": 1}',
            "line 2: has no field 'text'. Its text fields: story",
        ),
        ("a.jsonl", '{"text": 3}', "line 1: has no string 'text'"),
        ("a.jsonl", '{"text": "x"}\n{"text"', "line 2: is not JSON"),
        ("a.jsonl", "[1]", "expected an object or a string"),
        ("a.json", '{"text": "x"}', "expected a JSON list"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.txt", " \n\n", "holds no text"),
        ("a.csv", "x", "texts end in"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl.gz", b"no gzip", "cannot be read"),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(tmp_path, name, content, message):
    """Every error names file, place and what was expected."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


def test_missing_file_names_the_nearest(tmp_path):
    """A misspelt file name is answered with the nearest one."""
    (tmp_path / "stories.jsonl").touch()
    with pytest.raises(UsageError, match=r"Did you mean 'stories\.jsonl'"):
        read(tmp_path / "storeis.jsonl")


def test_hash_follows_content_and_field(tmp_path):
    """The same file read by another field is another text."""
    (tmp_path / "a.jsonl").write_text('{"text": "x", "other": "y"}')
    path = str(tmp_path / "a.jsonl")
    hashes = {open_documents(TextSpec(path=path, field=field)).hash for field in ("text", "other")}
    assert len(hashes) == 2


class FakeDataset:
    """What we use of a Hugging Face dataset."""

    column_names = ("text", "id")
    _fingerprint = "f"

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return [{"text": "one"}, {"text": None}][index]


def test_dataset_reference_is_taken_apart(monkeypatch):
    """Name, configuration and split reach the library; rows are read one by one, missing text as empty."""
    calls = []
    fake = SimpleNamespace(load_dataset=lambda *a, **k: calls.append((a, k)) or FakeDataset())
    monkeypatch.setitem(sys.modules, "datasets", fake)
    assert read("hf:org/name:config:train[:10]") == ["one", ""]
    assert read("hf:org/name") == ["one", ""]
    assert calls == [
        (("org/name", "config"), {"split": "train[:10]"}),
        (("org/name", None), {"split": "train"}),
    ]
    with pytest.raises(UsageError, match=r"no field 'txt'\. Did you mean 'text'"):
        read("hf:org/name", field="txt")


def test_dataset_errors_say_what_to_do_offline(monkeypatch):
    """Whatever the library raises becomes one paragraph with a way out."""

    def fail(*_, **__):
        message = "Couldn't reach the Hub\nlong trace"
        raise ConnectionError(message)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=fail))
    with pytest.raises(UsageError, match=r"Couldn't reach the Hub If this machine is offline.*\.jsonl"):
        read("hf:org/name")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match="pip install"):
        read("hf:org/name")
