"""``darkmatter leaderboard``: what it prints and its exit status; the rules have tests of their own."""

from __future__ import annotations

import json

import pytest

from darkmatter.results.reading import result_checksum
from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result


@pytest.fixture
def board(tmp_path):
    """A leaderboard with a single row, of which nearly everything is wrong."""
    stored = sample_result("mine")
    with ResultStore.open(tmp_path / "run") as store:
        path = store.write(stored.result, stored.units()).path
    place = tmp_path / "board" / "ann__mine" / "0"
    place.mkdir(parents=True)
    (place / "x\x1b[31m.json").write_bytes(path.read_bytes())
    return tmp_path / "board"


def test_check_names_file_reason_and_fix(call, board):
    """Each finding is a line with its fix below; without a base that is said, and the status is 1."""
    status, out, err = call("leaderboard", "check", board)

    assert status == 1
    assert f"{board}/ann__mine/0/x.json: is a stray file" in out
    assert "\n  fix: Remove it" in out
    assert "\x1b" not in out
    assert "Changes were not checked" in err


def test_check_as_json_is_json_alone(call, board):
    """CI reads file, reason and fix."""
    status, out, _ = call("leaderboard", "check", board, "--json")

    assert status == 1
    assert {"file", "reason", "fix"} == set(json.loads(out)["findings"][0])


def test_an_empty_leaderboard_is_fine(call, tmp_path):
    """It has a page that says so, which a second build finds unchanged."""
    assert call("leaderboard", "check", tmp_path)[0] == 0
    assert call("leaderboard", "build", tmp_path, "--check")[0] == 1
    assert call("leaderboard", "build", tmp_path)[0] == 0
    assert call("leaderboard", "build", tmp_path, "--check")[0] == 0
    assert "unchanged" in call("leaderboard", "build", tmp_path)[1]
    assert call("leaderboard", "audit", tmp_path)[0] == 0


def test_build_refuses_what_check_faults(call, board):
    """The error names the first thing and the command that lists all."""
    status, _, err = call("leaderboard", "build", board)

    assert status == 1
    assert "is a stray file" in err
    assert "darkmatter leaderboard check" in err
    assert not (board / "README.md").exists()


def test_a_folder_that_is_not_there_is_wrong_usage(call, tmp_path):
    """The next command is named."""
    status, _, err = call("leaderboard", "check", tmp_path / "no")

    assert status == 2
    assert "darkmatter leaderboard submit" in err


def test_a_reference_needs_its_sae(call, tmp_path):
    """Where several SAEs are submitted, it must be said whose it is."""
    status, _, err = call("leaderboard", "submit", tmp_path, "--owner", "ann", "--reference", "hf:a/b")

    assert status == 2
    assert "NAME=hf:a/b" in err


def test_an_audit_leaves_out_what_check_faults(call, board):
    """A row with findings is not followed: the error says so, and which command says what is wrong."""
    stray = next(board.rglob("*.json"))
    place = board / "ann__mine" / ("0" * 12) / "toy@1"
    place.mkdir(parents=True)
    raw = json.loads(stray.read_text())
    stray.unlink()
    raw["units"] = None
    raw["checksum"] = result_checksum(raw)
    (place / f"{'0' * 32}.json").write_text(json.dumps(raw))

    status, out, err = call("leaderboard", "audit", board)

    assert (status, out) == (1, "")
    assert "something is wrong with each of the 1 rows, and none is made again" in err
    assert f"darkmatter leaderboard check {board}" in err
