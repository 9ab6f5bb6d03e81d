"""A submission: what is copied, what is left out, and what must not be published."""

from __future__ import annotations

import json
import shutil

import pytest

from darkmatter.errors import UsageError
from darkmatter.leaderboard.check import check
from darkmatter.leaderboard.submit import Stated, submit
from darkmatter.plugins import host
from darkmatter.results.collection import ResultSet


def numbers(folder):
    """Every metric below a folder with its interval, by key."""
    found = ResultSet.read(folder)
    assert found.problems == []
    return {each.key: [(m.name, m.value, m.ci_low, m.ci_high) for m in each.metrics] for each in found}


def test_a_submission_is_the_same_results_in_their_places(made, submitted):
    """Numbers, intervals and keys are those of the run; the leaderboard reads as a results folder."""
    assert numbers(submitted) == numbers(made)
    family, *others = sorted(path.name for path in submitted.iterdir())
    assert family.startswith("alice__family_blocks.2.hook_resid_post-")
    assert others == ["alice__topk-w256-k16", "alice__topk-w512-k16", "controls"]
    assert check(submitted, host())[1] == []


def test_submitting_again_adds_nothing(made, board):
    """What is there already is recognised, and a card that was filled in stays."""
    card = board / "alice__topk-w256-k16" / "model_card.yaml"
    card.write_text(card.read_text().replace("licence: MIT", "licence: Apache-2.0"))

    again = submit(made, "alice", board, host(), stated=Stated())

    assert again.added == []
    assert len(again.known) == 7
    assert "Apache-2.0" in card.read_text()


def test_one_sae_comes_with_its_controls_and_without_its_family(made, tmp_path):
    """A family is submitted when all its members are."""
    done = submit(made, "alice", tmp_path / "b", host(), saes=["topk-w256-k16"], stated=Stated(licence="MIT"))

    assert sorted({path.split("/")[0] for path in done.added}) == ["alice__topk-w256-k16", "controls"]
    assert done.cards == ["alice__topk-w256-k16/model_card.yaml"]


def test_an_sae_without_controls_is_left_out(made, tmp_path):
    """Its numbers could not be read without them; the sentence says what to do."""
    alone = shutil.copytree(made, tmp_path / "alone")
    shutil.rmtree(alone / "mean")

    with pytest.raises(UsageError, match=r"nothing to submit.*no mean or zero was measured beside it"):
        submit(alone, "alice", tmp_path / "b", host(), saes=["topk-w256-k16"], stated=Stated())
    assert not (tmp_path / "b").exists()


def with_paths(made, folder, forge):
    """The results of someone who named everything by path."""
    results = shutil.copytree(made, folder)
    for path in results.glob("*/*.json"):
        forge.edit(path, _named_by_path)
    return results


def _named_by_path(raw):
    raw["cache"]["model"]["name"] = "/home/alice/models/gpt"
    raw["cache"]["text"]["path"] = "/home/alice/texts/mine.jsonl"
    if raw["sae"]["reference"].startswith("demo:"):
        raw["sae"]["reference"] = f"/home/alice/saes/{raw['sae']['name']}"
        raw["sae"]["metadata"]["dataset"] = "/home/alice/texts/train.jsonl"


def test_a_path_as_reference_is_refused_with_what_to_state(made, tmp_path, forge):
    """Nobody could follow it, and it tells of a home; nothing is written."""
    results = with_paths(made, tmp_path / "mine", forge)

    with pytest.raises(UsageError, match=r"So with topk-w512-k16\..*--reference topk-w256-k16=hf:ORG"):
        submit(results, "alice", tmp_path / "b", host(), stated=Stated())
    assert not (tmp_path / "b").exists()


def test_no_path_of_a_machine_is_published(made, tmp_path, forge):
    """With public references stated, every other path is cut to its last name."""
    results = with_paths(made, tmp_path / "mine", forge)
    stated = Stated({name: f"hf:alice/{name}" for name in ("topk-w256-k16", "topk-w512-k16")}, licence="MIT")

    done = submit(results, "alice", tmp_path / "b", host(), stated=stated)

    texts = [path.read_text() for path in (tmp_path / "b").rglob("*") if path.suffix in {".json", ".yaml"}]
    raw = json.loads(forge.row(tmp_path / "b", "topk-w512-k16").read_text())
    assert done.findings == []
    assert not any("/home" in text for text in texts)
    assert raw["sae"]["reference"] == "hf:alice/topk-w512-k16"
    assert raw["cache"]["text"]["path"] == "mine.jsonl"
    assert raw["sae"]["metadata"]["dataset"] == "train.jsonl"


def test_a_row_that_is_there_with_other_numbers_is_never_overwritten(made, board, tmp_path, forge):
    """Keys are immutable: the submission is refused and the leaderboard stays as it was."""
    results = shutil.copytree(made, tmp_path / "mine")
    [path] = (results / "topk-w256-k16").glob("*.json")
    forge.edit(path, lambda raw: forge.metric(raw, "dead_fraction").update(value=0.5))
    before = forge.row(board).read_bytes()

    done = submit(results, "alice", board, host(), stated=Stated())

    assert ["other numbers" in each.reason for each in done.findings] == [True]
    assert done.added == []
    assert forge.row(board).read_bytes() == before


def test_what_contradicts_another_owners_rows_is_refused_before_it_is_written(made, board):
    """Keys are of content: the same weights of a second owner would fail the check, so nothing is added."""
    before = sorted(path.name for path in board.iterdir())
    done = submit(made, "carol", board, host(), stated=Stated(licence="MIT"))

    assert {"duplicate key" in each.reason for each in done.findings} == {True}
    assert all(each.file.startswith("carol__") for each in done.findings)
    assert sorted(path.name for path in board.iterdir()) == before


def test_an_unfinished_result_is_left_out(made, tmp_path, forge):
    """The next run makes it again under the same key, which on a leaderboard could never be corrected."""
    results = shutil.copytree(made, tmp_path / "mine")
    [path] = (results / "topk-w256-k16").glob("*.json")
    forge.edit(path, lambda raw: raw.update(unfinished="the server was down"))

    done = submit(results, "alice", tmp_path / "b", host(), stated=Stated(licence="MIT"))

    assert done.findings == []
    assert "topk-w256-k16 / reconstruction: unfinished (the server was down)" in done.left_out[0]
    assert not any("topk-w256-k16" in path for path in done.added)


def test_a_control_that_is_there_under_another_name_is_not_added_again(made, tmp_path, forge):
    """Runs call controls as they like: a second submitter's are known by their keys, and `check` passes."""
    board, stated = tmp_path / "b", Stated(licence="MIT")
    submit(made, "alice", board, host(), saes=["topk-w256-k16"], stated=stated)
    results = shutil.copytree(made, tmp_path / "theirs")
    for path in results.glob("mean/*.json"):
        forge.edit(path, lambda raw: raw["sae"].update(name="the mean"))

    done = submit(results, "bob", board, host(), saes=["topk-w512-k16"], stated=stated)

    assert done.findings == []
    assert {path.split("/")[0] for path in done.added} == {"bob__topk-w512-k16"}
    assert check(board, host())[1] == []


def test_a_control_with_other_numbers_under_another_name_is_refused(made, board, tmp_path, forge):
    """A key says which numbers it has, whatever the control is called."""
    results = shutil.copytree(made, tmp_path / "theirs")
    [path] = (results / "mean").glob("*.json")

    def change(raw):
        raw["sae"].update(name="the mean")
        raw["metrics"].reverse()

    forge.edit(path, change)

    done = submit(results, "alice", board, host(), stated=Stated())

    assert ["other numbers" in each.reason for each in done.findings] == [True]


@pytest.mark.parametrize("owner", ["", "a__b", "../x", "a/b", "-a", "a" * 40, "a\n"])
def test_an_owner_is_a_plain_name(made, tmp_path, owner):
    """It becomes part of a folder's name, and ends where the SAE's begins."""
    with pytest.raises(UsageError, match="cannot be an owner"):
        submit(made, owner, tmp_path / "b", host(), stated=Stated())


def test_an_unknown_sae_names_the_nearest(made, tmp_path):
    """A misspelt name is wrong usage, with the one that was meant."""
    with pytest.raises(UsageError, match="Did you mean 'topk-w256-k16'"):
        submit(made, "alice", tmp_path / "b", host(), saes=["topk-w256-k17"], stated=Stated())
