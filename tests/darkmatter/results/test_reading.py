"""Files in a results folder that are no trustworthy results."""

import json
import os
import shutil

import pytest

from darkmatter.errors import UsageError
from darkmatter.results import reading
from darkmatter.results.reading import read_folder
from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result


@pytest.fixture
def stored(tmp_path):
    """A good result, and beside it the victim of each test."""
    good, victim = sample_result("good"), sample_result("victim")
    with ResultStore.open(tmp_path) as store:
        store.write(good.result, good.units())
        return store.write(victim.result, victim.units()).path


def edit(path, **changes):
    """Change fields of a result file, leaving its checksum."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip_digit(path):
    """Change one digit of the first value."""
    text = path.read_text()
    place = text.index('"value": 0.0') + len('"value": 0.0')
    path.write_text(text[:place] + ("3" if text[place] != "3" else "4") + text[place + 1 :])


def sidecar(path):
    """The victim's sidecar."""
    return path.with_name(f"{path.stem}.units.safetensors")


def flip_bit(path):
    """Flip one bit in the last number of a file."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


def replace_by_folder(path):
    """A folder in the place of the file."""
    path.unlink()
    path.mkdir()


def replace_by_link(path):
    """A link to the good file elsewhere."""
    elsewhere = path.parent.parent / "elsewhere.txt"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def no_permission(path):
    """A file that cannot be opened."""
    path.chmod(0)


CORPUS = {
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:200]), "not JSON, perhaps cut off"),
    "changed digit": (flip_digit, "changed after it was written"),
    "wrong schema": (lambda p: edit(p, metrics="none"), "does not fit the result schema at metrics"),
    "unknown field": (lambda p: edit(p, surprise=1), "does not fit the result schema at surprise"),
    "future schema": (lambda p: edit(p, schema_version=2), "newer darkmatter"),
    "odd schema": (lambda p: edit(p, schema_version="one"), "unknown result schema"),
    "foreign key": (lambda p: edit(p, key="0" * 32), "changed after it was written"),
    "foreign JSON": (lambda p: p.write_text('{"name": "package"}'), "no darkmatter result"),
    "a list": (lambda p: p.write_text("[1, 2]"), "no darkmatter result"),
    "duplicate JSON key": (lambda p: p.write_text('{"key": 1, "key": 2}'), "occurs twice in one object"),
    "NaN": (lambda p: p.write_text('{"schema_version": NaN}'), "holds the constant NaN"),
    "too deep": (lambda p: p.write_text("[" * 200_000), "nested more than 64 levels deep"),
    "invalid UTF-8": (lambda p: p.write_bytes(b'{"key": "\xff\xfe"}'), "not UTF-8"),
    "folder": (replace_by_folder, "not a regular file"),
    "symlink": (replace_by_link, "symbolic link"),
    "sidecar gone": (lambda p: sidecar(p).unlink(), "is missing"),
    "sidecar empty": (lambda p: sidecar(p).write_bytes(b""), "its hash does not match"),
    "sidecar bit flip": (lambda p: flip_bit(sidecar(p)), "its hash does not match"),
    "sidecar symlink": (lambda p: replace_by_link(sidecar(p)), "symbolic link"),
}


@pytest.mark.parametrize("name", CORPUS)
def test_a_bad_file_is_a_problem_and_the_rest_is_read(tmp_path, stored, name):
    """Each way to be damaged or foreign gives a reason; the good result is still there."""
    damage, reason = CORPUS[name]
    damage(stored)
    results, problems = read_folder(tmp_path)

    assert [entry.result.sae.name for entry in results] == ["good"]
    assert [problem.path for problem in problems] == [str(stored)]
    assert reason in problems[0].reason


def test_a_sidecar_named_elsewhere_is_not_followed(tmp_path, stored):
    """A result cannot make the reader open a file of its choice."""
    raw = json.loads(stored.read_text())
    raw["units"]["file"] = "../../etc/passwd"
    raw["checksum"] = reading.result_checksum(raw)
    stored.write_text(json.dumps(raw))

    assert "names the sidecar" in read_folder(tmp_path)[1][0].reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_problem(tmp_path, stored):
    """A file that cannot be opened is reported."""
    no_permission(stored)

    assert "ermission" in read_folder(tmp_path)[1][0].reason


def test_a_huge_file_is_not_read(tmp_path, stored, monkeypatch):
    """Size is checked before anything is read."""
    monkeypatch.setattr(reading, "MAX_JSON_BYTES", 100)

    assert all("is not read" in problem.reason for problem in read_folder(tmp_path)[1])


def test_a_copied_result_counts_once(tmp_path, stored):
    """The copy is named as a problem, and the first is used."""
    shutil.copytree(stored.parent, tmp_path / "zcopy")
    results, problems = read_folder(tmp_path)

    assert len(results) == 2
    assert "is the same result as" in problems[0].reason


def test_other_numbers_under_one_key_are_called_so(tmp_path, stored):
    """A second file of one key that says something else is no copy, and the message does not call it one."""
    raw = json.loads(stored.read_text())
    raw["metrics"][0].update(value=0.99, ci_low=None, ci_high=None)
    raw["checksum"] = reading.result_checksum(raw)
    shutil.copytree(stored.parent, tmp_path / "zcopy")
    copy = tmp_path / "zcopy" / stored.name
    copy.write_text(json.dumps(raw))
    results, problems = read_folder(tmp_path)

    assert len(results) == 2
    assert [problem.reason for problem in problems] == [
        f"has the key of {stored}, which is used, but other numbers"
    ]


def test_files_that_are_no_results_are_left_alone(tmp_path, stored):
    """Schemas, indexes, cards, hidden files and other suffixes are not looked at."""
    for name in ("result.schema.json", "INDEX.json", "model_card.json", ".hidden.json", "notes.txt"):
        (tmp_path / name).write_text("{")
    results, problems = read_folder(tmp_path)

    assert len(results) == 2
    assert problems == []


def test_an_evaluator_called_like_an_index_is_still_read(tmp_path):
    """Names that the store gives count, whatever they contain."""
    entry = sample_result("mine", evaluator="cardinality_index")
    with ResultStore.open(tmp_path) as store:
        store.write(entry.result, entry.units())

    assert len(read_folder(tmp_path)[0]) == 1


def test_one_file_can_be_read_alone(stored):
    """A path to a result file is as good as a folder."""
    assert len(read_folder(stored)[0]) == 1


def test_a_missing_folder_is_a_usage_error(tmp_path):
    """The message says which folder and how results are made."""
    with pytest.raises(UsageError, match=r"nowhere.*darkmatter run"):
        read_folder(tmp_path / "nowhere")
