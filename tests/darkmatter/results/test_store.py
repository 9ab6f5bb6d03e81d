"""Results are written whole, found by key, and never trusted when damaged."""

import json

import numpy as np
import pytest

from darkmatter.errors import ItemError
from darkmatter.files.lock import LockedError
from darkmatter.results.reading import StoredResult, read_folder
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


def test_made_twice_is_the_same_bytes_but_for_timings(tmp_path):
    """The same result in two folders is the same file, its checksum included."""
    entry = sample_result("mine", timings={"seconds": 1.0})
    again = entry.result.model_copy(update={"timings": {"seconds": 2.0}})
    first = json.loads(written(tmp_path / "a", entry).path.read_text())
    sidecar = next((tmp_path / "a").rglob("*.safetensors")).read_bytes()
    with ResultStore.open(tmp_path / "b") as store:
        second = json.loads(store.write(again, entry.units()).path.read_text())

    assert first.pop("timings") != second.pop("timings")
    assert first == second
    assert next((tmp_path / "b").rglob("*.safetensors")).read_bytes() == sidecar


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
    assert read_folder(tmp_path)[1] == []
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
    assert read_folder(tmp_path) == ([], [])


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
    """A result without per-unit sums is one file, also where it replaces a failed one with sums."""
    entry = sample_result("mine")
    failed = entry.result.model_copy(update={"status": "failed", "reason": "MemoryError"})
    written(tmp_path, type(entry).in_memory(failed, entry.units()))
    with ResultStore.open(tmp_path) as store:
        stored = store.write(entry.result)

    assert not list(tmp_path.rglob("*.safetensors"))
    assert Result.model_validate_json(stored.path.read_bytes()).units is None


def contents(folder):
    """Every file below a folder with its bytes and time of change."""
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def remade(entry, units=None, **changes):
    """The same key with other content."""
    return StoredResult.in_memory(entry.result.model_copy(update=changes), units or entry.units())


@pytest.mark.parametrize("status", ["ok", "skipped"])
def test_a_failed_result_never_replaces_one_that_is_there(tmp_path, status):
    """A failure under the key of a good or skipped result leaves its files as they are."""
    entry = sample_result("mine", status=status, reason=None if status == "ok" else "needs labels")
    written(tmp_path, entry)
    before = contents(tmp_path)
    stored = written(tmp_path, remade(entry, status="failed", reason="MemoryError", metrics=()))

    assert (stored.path, stored.result.status) == (None, "failed")
    assert contents(tmp_path) == before


def test_an_equal_result_leaves_the_file_untouched(tmp_path):
    """Another time, machine, release or path of the SAE is no other result."""
    entry = sample_result("mine", timings={"seconds": 1.0}, provenance={"commit": "a"})
    written(tmp_path, entry)
    before = contents(tmp_path)
    moved = entry.result.sae.model_copy(update={"reference": "elsewhere/mine"})
    again = remade(entry, timings={"seconds": 2.0}, provenance={"commit": "b"}, sae=moved)
    stored = written(tmp_path, again)

    assert stored.result.timings == {"seconds": 1.0}
    assert contents(tmp_path) == before


def test_a_different_result_is_set_aside_and_named(tmp_path):
    """Other values keep the old file; the error says which metric, from what to what, and what it means."""
    entry = sample_result("mine")
    path = written(tmp_path, entry).path
    before = contents(tmp_path)
    metric = entry.result.metrics[0].model_copy(update={"value": 99.0})
    with pytest.raises(ItemError, match="not deterministic, or its code changed") as caught:
        written(tmp_path, remade(entry, metrics=(metric,)))

    message = str(caught.value)
    assert entry.result.key in message
    assert f"fvu (value) was {entry.result.metrics[0].value!r}, is now 99.0" in message
    aside = path.with_name(f"{path.stem}.differs")
    assert json.loads(aside.read_text())["metrics"][0]["value"] == 99.0
    assert {file: content for file, content in contents(tmp_path).items() if file in before} == before
    results, problems = read_folder(tmp_path)
    assert [each.result.metrics for each in results] == [entry.result.metrics]
    assert problems == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"notes": ("new",)}, "its notes"),
        ({"tables": {"t": [1]}}, "its tables"),
        ({"units": sample_units({"fvu": 0.021})}, "its units"),
        ({"status": "skipped", "reason": "needs labels", "metrics": ()}, "fvu (value) was 0.0"),
    ],
)
def test_every_difference_counts(tmp_path, changes, named):
    """Tables, notes, per-unit sums and status are as immutable as values."""
    entry = sample_result("mine")
    written(tmp_path, entry)
    with pytest.raises(ItemError) as caught:
        written(tmp_path, remade(entry, **changes))

    assert named in str(caught.value)


def test_a_damaged_result_is_replaced(tmp_path):
    """Only what can be verified is immutable; a damaged file is set aside, not overwritten."""
    entry = sample_result("mine")
    path = written(tmp_path, entry).path
    path.write_text("{")
    written(tmp_path, remade(entry, notes=("new",)))

    assert read_folder(tmp_path)[0][0].result.notes == ("new",)
    assert path.with_name(path.name + ".damaged").read_text() == "{"


def failure(reason="no such file", **options):
    """A failed result; without hook point, as for an SAE that cannot be read."""
    return sample_result(
        metrics={}, status="failed", reason=reason, **{"hook": "", "key": "1" * 32} | options
    )


def after(folder, old, new):
    """The reasons (None for good results) in a folder once ``new`` was recorded after ``old``."""
    with ResultStore.open(folder) as store:
        for entry in (old, new):
            store.write(entry.result, entry.units())
        store.drop_failures(new.result)
        assert store.find(new.result.key) is not None
    return [each.result.reason for each in read_folder(folder)[0]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (failure(), sample_result()),
        (failure(cache={"key": "none"}), sample_result()),
        (failure("a"), failure("b", key="2" * 32)),
        (failure("MemoryError", hook="h"), sample_result(hook="h")),
        (failure("MemoryError", hook="h", analysis={"chunk_rows": 9}), sample_result(hook="h", analysis={})),
    ],
)
def test_a_failure_that_was_overcome_or_repeated_goes(tmp_path, old, new):
    """A later result of the same name and evaluator removes the failed ones that it answers."""
    assert after(tmp_path, old, new) == [new.result.reason]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (failure("mis-shaped", hook="blocks.3.hook_resid_post"), sample_result()),
        (failure(evaluator="density"), sample_result()),
        (failure("raised", hook="h", config={"k": 1}), sample_result(hook="h")),
        (failure("raised", hook="h", analysis={"seed": 1}), sample_result(hook="h")),
        (failure("raised", hook="h"), failure(key="2" * 32)),
        (sample_result(), failure()),
    ],
)
def test_what_says_something_else_stays(tmp_path, old, new):
    """Success elsewhere answers no failure, and nothing ever removes a good result."""
    assert len(after(tmp_path, old, new)) == 2
