"""Results are written whole, found by key, and never trusted when damaged."""

import json

import numpy as np
import pytest

from darkmatter.files.lock import LockedError
from darkmatter.results.schema import Result
from darkmatter.results.store import ResultStore
from darkmatter.results.units import Units
from darkmatter.testing.results import sample_result, sample_units


def written(folder, entry):
    """Store one result and return it as stored."""
    with ResultStore.open(folder) as store:
        return store.write(entry.result, entry.units())


def test_a_result_lies_at_its_documented_path(tmp_path):
    """The path is slug(sae)/evaluator@version-key12.json, with the sidecar beside it."""
    entry = sample_result("mine")
    stored = written(tmp_path, entry)

    stem = f"reconstruction@1-{entry.result.key[:12]}"
    assert stored.path == tmp_path / "mine" / f"{stem}.json"
    assert stored.path.with_name(f"{stem}.units.safetensors").is_file()


def test_what_is_written_is_read_back(tmp_path):
    """Result and per-unit sums survive the disk exactly."""
    entry = sample_result(
        "mine", {"fvu": 0.02, "cosine": 0.9}, config={"bias": True}, tables={"t": [1.5, None]}
    )
    stored = written(tmp_path, entry)
    with ResultStore.open(tmp_path) as store:
        found = store.find(entry.result.key)

    assert found.result == stored.result
    assert found.result.metrics == entry.result.metrics
    units, expected = found.units(), entry.units()
    np.testing.assert_array_equal(units.ids, expected.ids)
    assert {name: list(column) for name, column in units.columns.items()} == {
        name: list(column) for name, column in expected.columns.items()
    }
    assert units.estimators == expected.estimators


def test_writing_twice_gives_the_same_bytes_but_for_timings(tmp_path):
    """A result that is made again is the same file, its checksum included."""
    entry = sample_result("mine", timings={"seconds": 1.0})
    again = entry.result.model_copy(update={"timings": {"seconds": 2.0}})
    first = json.loads(written(tmp_path, entry).path.read_text())
    sidecar = next(tmp_path.rglob("*.safetensors")).read_bytes()
    with ResultStore.open(tmp_path) as store:
        second = json.loads(store.write(again, entry.units()).path.read_text())

    assert first.pop("timings") != second.pop("timings")
    assert first == second
    assert next(tmp_path.rglob("*.safetensors")).read_bytes() == sidecar


def test_find_knows_only_the_full_key(tmp_path):
    """A key that shares its first 12 digits with a stored one is not found."""
    entry = sample_result("mine")
    written(tmp_path, entry)
    with ResultStore.open(tmp_path) as store:
        assert store.find(entry.result.key[:12] + "0" * 20) is None
        assert store.find("f" * 32) is None
        assert store.find(entry.result.key, sae="other") is None
        assert store.find(entry.result.key, sae="mine") is not None


def test_find_sees_what_was_written_since(tmp_path):
    """Results written after the first search are found too."""
    entry = sample_result("mine")
    with ResultStore.open(tmp_path) as store:
        assert store.find(entry.result.key) is None
        store.write(entry.result, entry.units())
        assert store.find(entry.result.key) is not None


@pytest.mark.parametrize("part", ["json", "sidecar"])
def test_a_damaged_result_is_set_aside_and_made_again(tmp_path, part):
    """A damaged file is kept under another name, reported, and not found."""
    entry = sample_result("mine")
    path = written(tmp_path, entry).path
    victim = path if part == "json" else path.with_name(f"{path.stem}.units.safetensors")
    victim.write_bytes(victim.read_bytes()[:-30])
    with ResultStore.open(tmp_path) as store:
        assert store.find(entry.result.key) is None
        assert [problem.path for problem in store.quarantined] == [str(path)]
        store.write(entry.result, entry.units())
        assert store.find(entry.result.key) is not None
        assert store.read_all()[1] == []
    assert path.with_name(path.name + ".damaged").exists()


def test_quarantine_keeps_earlier_damage(tmp_path):
    """A second damaged file under the same key does not overwrite the first."""
    entry = sample_result("mine")
    for _ in range(2):
        path = written(tmp_path, entry).path
        path.write_text("{")
        with ResultStore.open(tmp_path) as store:
            assert store.find(entry.result.key) is None

    assert path.with_name(path.name + ".damaged").exists()
    assert path.with_name(path.name + ".damaged2").exists()


def test_a_kill_before_the_json_leaves_no_result(tmp_path, monkeypatch):
    """The JSON commits: a sidecar without it is nothing."""
    entry = sample_result("mine")
    monkeypatch.setattr(
        "darkmatter.results.store.write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, entry)

    with ResultStore.open(tmp_path) as store:
        assert store.find(entry.result.key) is None
        assert store.read_all() == ([], [])


def test_one_writer_per_folder(tmp_path):
    """A second writer is refused and told who holds the folder."""
    with ResultStore.open(tmp_path), pytest.raises(LockedError, match="process"), ResultStore.open(tmp_path):
        pass


def test_nan_never_reaches_a_file(tmp_path):
    """NaN and infinity in tables and curves are stored, and given back, as null."""
    entry = sample_result("mine", tables={"t": [float("nan"), float("inf"), 1.0]})
    stored = written(tmp_path, entry)

    assert json.loads(stored.path.read_text())["tables"] == {"t": [None, None, 1.0]}
    assert stored.result.tables == {"t": [None, None, 1.0]}


def test_hostile_names_stay_inside_the_folder(tmp_path):
    """An SAE called like a path is stored below the results folder."""
    stored = written(tmp_path, sample_result("../../etc/passwd"))

    assert stored.path.resolve().is_relative_to(tmp_path.resolve())


def test_units_refuse_columns_that_do_not_fit():
    """Lengths, names and estimators of per-unit sums are checked when they are made."""
    ids = np.arange(3)
    with pytest.raises(ValueError, match="shape"):
        Units("contexts", ids, {"a": np.ones(2)}, {})
    with pytest.raises(ValueError, match="cannot be a column"):
        Units("contexts", ids, {"unit_id": np.ones(3)}, {})
    with pytest.raises(ValueError, match="missing"):
        Units("contexts", ids, {}, sample_units({"fvu": 0.1}).estimators)


def test_results_without_units_have_no_sidecar(tmp_path):
    """A result without per-unit sums is one file, also where it replaces one with sums."""
    entry = sample_result("mine")
    written(tmp_path, entry)
    with ResultStore.open(tmp_path) as store:
        stored = store.write(entry.result)

    assert not list(tmp_path.rglob("*.safetensors"))
    assert Result.model_validate_json(stored.path.read_bytes()).units is None
