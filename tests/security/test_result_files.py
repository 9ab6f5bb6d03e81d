"""Result files and boards made to stop whoever reads them: each is a named problem, the others are shown."""

import json

import numpy as np
import pytest
import torch
import xxhash
from safetensors.numpy import save
from safetensors.torch import save as save_torch

from darkmatter.errors import UsageError
from darkmatter.files import limits
from darkmatter.leaderboard import board as boards
from darkmatter.references import check_name
from darkmatter.results.collection import ResultSet
from darkmatter.results.reading import result_checksum
from darkmatter.results.saebench import read_saebench
from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result

FORMATS = ("md", "html", "csv", "json", "latex")
BIG = 10**4000


@pytest.fixture
def stored(tmp_path):
    """Two good results, and the victim of each test."""
    values = {"victim": 0.01, "good": 0.02, "better": 0.015}
    entries = {name: sample_result(name, {"fvu": value}) for name, value in values.items()}
    with ResultStore.open(tmp_path) as store:
        written = [store.write(entry.result, entry.units()) for entry in entries.values()]
    return written[0].path


def forge(path, change):
    """Change a result's object and seal it again, as its writer could; what cannot be sealed has no seal."""
    raw = json.loads(path.read_text())
    change(raw)
    try:
        raw["checksum"] = result_checksum(raw)
    except (ValueError, RecursionError):
        raw["checksum"] = None
    path.write_text(json.dumps(raw))


def nested(levels, wrap):
    """A value of so many levels."""
    value = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def deep(field, levels, wrap):
    """The change that puts such a value into a field."""
    return lambda raw: raw.update({field: {"z": nested(levels, wrap)}})


def only_problem(folder):
    """The one problem of a folder whose other two results give every kind of table."""
    results = ResultSet.read(folder)
    for name in FORMATS:
        assert "good" in results.table(name)

    assert sorted(result.sae.name for result in results) == ["better", "good"]
    (problem,) = results.problems
    return problem


CONTENTS = {
    "infinite number": (lambda raw: raw["config"].update(zz=float("inf")), "holds the constant Infinity"),
    "negative seed": (lambda raw: raw["analysis"].update(seed=-1), "the seed is -1, expected"),
    "seed as text": (lambda raw: raw["analysis"].update(seed="0"), "the seed is '0', expected"),
    "true as seed": (lambda raw: raw["analysis"].update(seed=True), "the seed is True, expected"),
    "long name": (lambda raw: raw["sae"].update(name="9" * 5000), "at most 512 characters"),
    "long metric": (lambda raw: raw["metrics"][0].update(name="m" * 513), "at most 512 characters"),
    "long evaluator": (lambda raw: raw["evaluator"].update(name="e" * 513), "at most 512 characters"),
    "long member": (lambda raw: raw["sae"].update(members=["m" * 513]), "at most 512 characters"),
    "half a character": (lambda raw: raw["sae"].update(name="\ud800"), "unicode"),
    "a metric twice": (lambda raw: raw.update(metrics=raw["metrics"] * 2), "the metric 'fvu' occurs 2 times"),
    "rows": (lambda raw: raw["metrics"][0].update(n=BIG), "less than or equal to"),
    "width": (lambda raw: raw["sae"].update(d_sae=BIG), "less than or equal to"),
    "negative width": (lambda raw: raw["sae"].update(d_in=-1), "greater than or equal to 0"),
    "version": (lambda raw: raw["evaluator"].update(version=BIG), "less than or equal to"),
    "units": (lambda raw: raw["units"].update(count=BIG), "less than or equal to"),
}
for _field in ("config", "tables", "curves", "provenance", "timings"):
    for _levels in (64, 600, 900):
        for _kind, _wrap in (("lists", lambda value: [value]), ("objects", lambda value: {"a": value})):
            _change = deep(_field, _levels, _wrap)
            CONTENTS[f"{_field} of {_levels} {_kind}"] = (_change, "is nested more than 64 levels deep")


@pytest.mark.parametrize("name", CONTENTS)
def test_a_sealed_forgery_is_a_problem_and_every_table_is_made(tmp_path, stored, name):
    """Whatever a well-formed result says, the others are shown and it is named with its reason."""
    change, reason = CONTENTS[name]
    forge(stored, change)
    problem = only_problem(tmp_path)

    assert problem.path == str(stored)
    assert reason in problem.reason


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400 + ".0"])
def test_a_number_beyond_floats_is_refused(tmp_path, stored, number):
    """JSON can write numbers that become infinite: they are refused where the file is parsed."""
    stored.write_text(stored.read_text().replace('"config": {', '"config": {"zz": ' + number, 1))

    assert "larger than any finite float" in only_problem(tmp_path).reason


def test_a_number_of_too_many_digits_is_refused(tmp_path, stored):
    """Python's own limit on digits becomes a reason that says what is wrong with the file."""
    stored.write_text(stored.read_text().replace('"config": {', '"config": {"zz": ' + "9" * 5000, 1))

    assert only_problem(tmp_path).reason == "holds a whole number of 5000 digits, more than are read"


def test_the_limit_on_nesting_is_the_one_that_is_named(tmp_path, stored):
    """64 levels are read; tables and config of real results have fewer than ten."""
    forge(stored, lambda raw: raw.update(config={"z": nested(limits.NESTING - 2, lambda value: [value])}))

    assert ResultSet.read(tmp_path).problems == []


def reading(columns, count=None, **estimator):
    """A sidecar of these columns under its true hash, and the record that says so."""

    def change(path):
        data = columns if isinstance(columns, bytes) else save(columns)
        path.with_name(f"{path.stem}.units.safetensors").write_bytes(data)
        record = {"xxh3": xxhash.xxh3_128_hexdigest(data)}
        if count is not None:
            record["count"] = count
        if estimator:
            record["estimators"] = {"fvu": estimator}
        forge(path, lambda raw: raw["units"].update(record))

    return change


IDS = np.arange(60)
SIDECARS = {
    "garbage": (reading(b"garbage"), "cannot be read"),
    "no ids": (reading({"x": np.ones(60)}), "has no int64 tensor"),
    "other columns": (reading({"unit_id": IDS}), "which is missing"),
    "estimator of nothing": (
        reading({"unit_id": IDS, "x": np.ones(60)}, numerator="y"),
        "needs the column 'y', which is missing",
    ),
    "other count": (reading({"unit_id": IDS, "x": np.ones(60)}, count=7, numerator="x"), "holds 60 units"),
    "half precision": (
        reading(save_torch({"unit_id": torch.arange(60), "x": torch.ones(60).bfloat16()}), numerator="x"),
        "of dtype 'BF16'",
    ),
}


@pytest.mark.parametrize("name", SIDECARS)
def test_a_sidecar_under_its_true_hash_may_still_be_none(tmp_path, stored, name):
    """A hash says that a sidecar is the writer's, not that it is one: that is checked when it is read."""
    change, reason = SIDECARS[name]
    change(stored)

    assert reason in only_problem(tmp_path).reason


SHELL = '{"eval_type_id": "core", "eval_result_metrics": {"a": {%s}}, "eval_config": {%s}}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SHELL % ('"b": 1', '"z": ' + "[" * 600 + "]" * 600), "is nested more than 64 levels deep"),
        (SHELL % (f'"{"m" * 600}": 1', ""), "at most 512 characters"),
        ((SHELL % ('"b": 1', ""))[:-1] + ', "sae_lens_release_id": "\\ud800"}', "parse raw data"),
    ],
    ids=["deep", "long metric", "half a character"],
)
def test_a_file_of_saebench_is_refused_by_the_same_rules(tmp_path, content, reason):
    """What would stop this reader, or make a result that fits no schema, is a problem of that file."""
    (tmp_path / "bad.json").write_text(content)
    (tmp_path / "good.json").write_text(SHELL % ('"b": 1e999', ""))
    found = read_saebench(tmp_path)

    assert [problem.path for problem in found.problems] == [str(tmp_path / "bad.json")]
    assert reason in found.problems[0].reason
    assert [metric.reason for metric in found.results[0].metrics] == ["it is inf in SAEBench's file"]


def board_row(folder, stored):
    """The victim as a row of a leaderboard."""
    place = folder / "x__victim" / ("a" * 12) / "reconstruction@1" / f"{'b' * 32}.json"
    place.parent.mkdir(parents=True)
    place.write_text(stored.read_text())
    return place


@pytest.mark.parametrize("name", ["negative seed", "tables of 900 lists", "provenance of 900 objects"])
def test_a_board_names_a_forged_row(tmp_path, stored, name):
    """What is wrong with a row is a finding with its file; reading the board ends."""
    place = board_row(tmp_path / "board", stored)
    forge(place, lambda raw: raw.update(units=None))
    CONTENTS[name][0](raw := json.loads(place.read_text()))
    place.write_text(json.dumps(raw))
    found = boards.read_board(tmp_path / "board")

    assert found.rows == []
    assert CONTENTS[name][1] in found.findings[0].reason


def test_a_board_is_not_searched_file_by_file(tmp_path, stored, monkeypatch):
    """Whether a sidecar has its result is looked up, so that 200 000 files do not take hours."""

    class Listed(list):
        def __contains__(self, path):
            message = "the list of all files was searched for one"
            raise AssertionError(message)

    board_row(tmp_path / "board", stored)
    real = boards.Board
    monkeypatch.setattr(boards, "Board", lambda folder: real(folder, Listed()))
    place = tmp_path / "board" / "x__victim" / ("a" * 12) / "reconstruction@1"
    (place / f"{'c' * 32}.units.safetensors").write_bytes(b"")

    assert "is a sidecar without its result" in {
        each.reason for each in boards.read_board(tmp_path / "board").findings
    }


def test_a_name_is_refused_before_a_run_makes_results_of_it():
    """A run says at once that a name is too long for a result file."""
    assert check_name("a" * limits.NAME)
    with pytest.raises(UsageError, match="at most 512 of them"):
        check_name("a" * (limits.NAME + 1))
