"""Rows made again from their references."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from safetensors.numpy import load_file, save_file

from darkmatter.fetching.record import records_folder
from darkmatter.leaderboard import audit as auditing
from darkmatter.leaderboard.audit import Verdict, audit, drawn, passed, summary, without_findings
from darkmatter.leaderboard.board import read_board
from darkmatter.leaderboard.check import check
from darkmatter.plugins import host


def verdicts(board, n, seed=0):
    """What came of each row, by file."""
    return {each.file: each for each in audit(read_board(board).rows, host(), n, seed)}


def made_again(board, path):
    """What came of one row."""
    rows = [row for row in read_board(board).rows if row.file == str(path.relative_to(board))]
    return list(audit(rows, host(), 1, 0))


def test_embedded_rows_are_made_again(board):
    """An SAE, a control and a family follow from references that hold on every machine."""
    found = verdicts(board, 5)

    assert {each.outcome for each in found.values()} == {"same"}
    assert len(found) == 5


def test_a_control_that_is_called_by_its_hook_point_is_made_again(board, forge):
    """A run with several hook points writes them into the names of controls, where no suite may."""
    path = forge.row(board, sae="pca-k16")
    forge.edit(path, lambda raw: raw["sae"].update(name="pca-k16@blocks.2.hook_resid_post"))
    rows = [row for row in read_board(board).rows if row.file == str(path.relative_to(board))]

    [verdict] = audit(rows, host(), 1, 0)

    assert verdict.outcome == "same", verdict.said


def test_a_consistent_forgery_is_caught(board, forge):
    """A value, its interval and its sidecar that fit together pass `check`; made again, they do not."""
    path = forge.row(board)
    columns = load_file(forge.sidecar(path))
    save_file({**columns, "error_sq": columns["error_sq"] * 0.5}, forge.sidecar(path))
    halved = {"fvu": 0.5, "mse": 0.5, "fvu_uncentred": 0.5}

    def halve(raw):
        for name, factor in halved.items():
            found = forge.metric(raw, name)
            found.update({field: found[field] * factor for field in ("value", "ci_low", "ci_high")})
        found = forge.metric(raw, "saelens.explained_variance")
        found.update({field: 1 - (1 - found[field]) / 2 for field in ("value", "ci_low", "ci_high")})

    forge.edit(path, halve)
    [verdict] = made_again(board, path)

    assert check(board, host())[1] == []
    assert verdict.outcome == "differs"
    assert "fvu: value is" in verdict.said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw["sae"].update(reference="python:os:getcwd"), "names code, which is never run"),
        (lambda raw: raw["sae"].update(reference="/etc/sae"), "is a path"),
        (lambda raw: raw["sae"].update(reference="hf:nobody/nothing"), "is not on this machine"),
        (lambda raw: raw["cache"]["text"].update(path="/etc/passwd"), "known by a file's name"),
        (lambda raw: raw["cache"]["text"].update(path="hf:/etc"), "with a dataset's name on the"),
        (lambda raw: raw["cache"]["text"].pop("contexts_requested"), "lacks contexts_requested"),
        (lambda raw: raw["cache"]["text"].update(contexts_requested="all"), "contexts"),
        (lambda raw: raw["cache"].pop("text"), "names no text"),
        (lambda raw: raw["cache"].update(text="stories"), "names no text"),
        (lambda raw: raw["sae"].update(is_control=True, reference="pca"), "says that 'pca' is a control"),
        (lambda raw: raw["cache"]["model"].update(name="/etc/model"), "is a path"),
        (lambda raw: raw["cache"]["model"].update(name="hf:../model"), "is a path"),
        (
            lambda raw: raw["cache"]["model"].update(name="org/model", revision="../../etc"),
            "is no branch, tag or commit",
        ),
        (lambda raw: raw["cache"]["model"].update(name="gpt"), "known by a folder's name"),
        (lambda raw: raw["cache"].pop("model"), "given as a file"),
        (lambda raw: raw["evaluator"].update(version=7), "is not installed"),
    ],
)
def test_a_reference_that_leads_nowhere_is_said(board, forge, change, said):
    """What is not at hand, or must not be touched, is no mismatch and no success."""
    path = forge.row(board)
    forge.edit(path, change)

    [verdict] = made_again(board, path)

    assert verdict.outcome == "not recomputed"
    assert said in verdict.said


def test_a_width_that_is_not_the_saes_is_caught(board, forge):
    """What tables say of an SAE is made again too: all its rows may say the same and be wrong."""
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["sae"].update(d_sae=64))

    rows = [row for row in read_board(board).rows if row.file == str(path.relative_to(board))]
    [verdict] = audit(rows, host(), 1, 0)

    assert verdict.outcome == "differs"
    assert verdict.said == "the d_sae of its SAE is 64, made again 256"


def test_sums_in_another_order_are_caught(board, forge):
    """They give the same values and nearly the same intervals, and pair each text with another."""
    path = forge.row(board)
    columns = load_file(forge.sidecar(path))
    save_file(
        {name: each if name == "unit_id" else each[::-1].copy() for name, each in columns.items()},
        forge.sidecar(path),
    )
    forge.edit(path, lambda raw: None)

    rows = [row for row in read_board(board).rows if row.file == str(path.relative_to(board))]
    [verdict] = audit(rows, host(), 1, 0)

    assert verdict.outcome == "differs"
    assert "the sums of single units in its sidecar are others" in verdict.said


@pytest.mark.parametrize(
    ("outcomes", "line", "good"),
    [
        (("same", "same"), "2 drawn: 2 the same", True),
        (("same", "not recomputed"), "2 drawn: 1 the same, 1 not recomputed", True),
        (("same", "differs"), "2 drawn: 1 the same, 1 different", False),
        (("exempt", "not recomputed"), "2 drawn: 1 exempt, 1 not recomputed", False),
        (("not recomputed",), "1 drawn: 1 not recomputed", False),
        ((), "0 drawn", True),
    ],
)
def test_what_was_not_made_again_is_no_pass(outcomes, line, good):
    """Rows that lead nowhere are counted apart, and an audit that made none again has not passed."""
    verdicts = [Verdict("row.json", outcome) for outcome in outcomes]

    assert summary(verdicts) == line
    assert passed(verdicts) is good


def test_what_check_faults_is_not_followed(board, forge):
    """Rows with a finding, and those with one on their sidecar, are no candidates; the others are."""
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["cache"].pop("text"))
    other = forge.row(board, sae="pca-k16")
    forge.sidecar(other).chmod(0o755)
    read, findings = check(board, host())

    kept = {row.file for row in without_findings(read, findings)}

    left_out = {str(each.relative_to(board)) for each in (path, other)}
    assert not kept & left_out
    assert kept


def test_the_seed_draws_the_rows(board):
    """The same seed gives the same rows, so that an audit can be repeated; another one gives others."""
    rows = read_board(board).rows
    of_seed = [[row.file for row in drawn(rows, 2, seed)] for seed in range(8)]

    assert [[row.file for row in drawn(rows[::-1], 2, seed)] for seed in range(8)] == of_seed
    assert len({tuple(files) for files in of_seed}) > 1
    assert len(drawn(rows, 10_000, 0)) == len(rows)
    assert {row.file for row in drawn(rows, 10_000, 0)} == {row.file for row in rows}


def test_a_known_draw():
    """These seeds draw these rows of this leaderboard, on every machine: a reported seed says which."""
    rows = [row_of(name, place) for place in range(20) for name in ("common", "rare")]

    assert [row.file for row in drawn(rows, 3, 0)] == ["rare-1", "common-18", "rare-3"]
    assert [row.file for row in drawn(rows, 3, 1)] == ["rare-8", "common-19", "common-13"]


def test_each_evaluator_is_drawn_before_any_is_drawn_twice(board):
    """One evaluator with nearly all rows would else be all that is ever looked at."""
    rows = [row_of("common", place) for place in range(500)] + [row_of("rare", 0), row_of("seldom", 0)]

    for seed in range(20):
        found = [row.result.evaluator.name for row in drawn(rows, 4, seed)]
        assert sorted(found) == ["common", "common", "rare", "seldom"]


def row_of(evaluator, place):
    """A row, as far as a draw looks at it."""
    result = SimpleNamespace(evaluator=SimpleNamespace(name=evaluator))
    return SimpleNamespace(file=f"{evaluator}-{place}", result=result)


def test_an_audit_believes_no_cache_and_sees_what_was_fetched(tmp_path, monkeypatch):
    """Activations are made anew; records of fetched SAEs, which have hashes of their own, stay in sight."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path))
    (tmp_path / "fetched").mkdir()
    (tmp_path / "fetched" / "x.json").write_text("{}")

    with auditing._temporary_cache():
        inside = records_folder()
        seen = (inside / "x.json").exists()

    assert seen
    assert inside.parent != tmp_path
    assert (tmp_path / "fetched" / "x.json").exists()
    assert records_folder() == tmp_path / "fetched"
