"""What git is asked, and what is said where it cannot answer."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from darkmatter.errors import DarkmatterError, UsageError
from darkmatter.leaderboard import history
from darkmatter.leaderboard.check import check
from darkmatter.leaderboard.history import read_base
from darkmatter.plugins import host


def test_a_base_that_is_no_commit_is_wrong_usage(board, forge):
    """An unknown ref, or one that looks like an option, is named, and nothing else happens."""
    forge.commit(board.parent)

    for ref in ("nowhere", "--upload-pack=touch x"):
        with pytest.raises(UsageError, match="git knows no such commit"):
            read_base(board, ref)


def test_histories_without_a_common_commit_are_wrong_usage(board, forge):
    """As in a shallow clone: without the commit where they part, nothing can be said."""
    forge.commit(board.parent)
    forge.git(board.parent, "switch", "-q", "--orphan", "other")
    forge.commit(board.parent)
    board.mkdir(exist_ok=True)

    with pytest.raises(UsageError, match="no commit in common"):
        read_base(board, "main")


def test_a_base_lists_the_files_of_the_leaderboard_alone(board, forge):
    """Paths are relative to the leaderboard, whatever else the repository holds."""
    (board.parent / "README.md").write_text("not ours")
    forge.commit(board.parent)

    base = read_base(board, "HEAD")

    assert str(forge.row(board).relative_to(board)) in base.blobs
    assert "README.md" not in base.blobs


def test_a_listing_that_fails_is_an_error_and_no_empty_base(board, forge, monkeypatch):
    """Without the list of files nothing would count as changed; it is said, with what to do."""
    forge.commit(board.parent)
    objects = board.parent / ".git" / "objects"
    tree = forge.git(board.parent, "rev-parse", "HEAD:results").strip()
    (objects / tree[:2] / tree[2:]).unlink()

    with pytest.raises(DarkmatterError, match=r"git ls-tree` failed \(.*\), so nothing is known.*unshallow"):
        read_base(board, "HEAD")


def test_a_git_that_does_not_answer_is_an_error(board, forge, monkeypatch):
    """A time limit that runs out is no answer either."""
    forge.commit(board.parent)
    run = subprocess.run

    def slow(command, **options):
        if "ls-tree" in command:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return run(command, **options)

    monkeypatch.setattr(history.subprocess, "run", slow)
    with pytest.raises(DarkmatterError, match="git ls-tree` has not answered for 60 seconds"):
        read_base(board, "HEAD")


@pytest.mark.skipif(os.name == "nt", reason="names of files are bytes on POSIX")
def test_a_name_that_is_no_text_is_read(board, forge, tmp_path):
    """Git's names are bytes; one that is no UTF-8 is a stray file like any other, and is found again."""
    try:
        (board / os.fsdecode(b"\xff.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system takes no such name")
    forge.commit(board.parent)

    assert os.fsdecode(b"\xff.txt") in read_base(board, "HEAD").blobs
    assert [each.reason for each in check(board, host(), "HEAD")[1]] == [
        "is a stray file, no part of the layout"
    ]


def test_a_submission_brings_no_history_of_its_own(board, forge, tmp_path):
    """Files of a bare repository inside the leaderboard are not taken for its history."""
    forge.commit(board.parent)
    forge.git(board.parent, "clone", "-q", "--bare", str(board.parent), str(tmp_path / "bare"))
    for entry in (tmp_path / "bare").iterdir():
        shutil.move(entry, board / entry.name)

    with pytest.raises(DarkmatterError, match="bare"):
        read_base(board, "HEAD")


def changed_card(board, forge):
    """A leaderboard in which somebody wrote into alice's card; what `check` says of it for an author."""
    card = board / "alice__topk-w256-k16" / "model_card.yaml"
    forge.commit(board.parent)
    card.write_text(card.read_text().replace("licence: MIT", "licence: none"))

    def said(author):
        findings = check(board, host(), "HEAD", author)[1]
        return [each for each in findings if each.file == str(card.relative_to(board))]

    return said


@pytest.mark.parametrize("author", [None, "eve", "alice-2"])
def test_a_card_is_changed_by_nobody_but_its_owner(board, forge, author):
    """Who made an SAE, and where its weights are, is not for others to rewrite; the fix says who may."""
    [finding] = changed_card(board, forge)(author)

    assert "was changed since" in finding.reason
    assert "nothing says that alice did it" in finding.reason
    assert "--author alice" in finding.fix


def test_owners_change_their_own_cards(board, forge):
    """Their account opens the pull request, in whatever case the platform writes it; rows stay immutable."""
    said = changed_card(board, forge)
    forge.edit(forge.row(board), lambda raw: raw.update(timings={"evaluator_s": 1.0}), seal=False)

    assert said("Alice") == []
    assert [each.reason[:17] for each in check(board, host(), "HEAD", "alice")[1]] == ["was changed since"]


def test_nobody_adds_rows_in_anothers_name(board, forge):
    """A new SAE of alice's that eve's account brings is a finding; alice may bring it."""
    moved = board / "alice__topk-w256-k16"
    shutil.move(moved, board.parent / "kept")
    forge.commit(board.parent)
    shutil.move(board.parent / "kept", moved)

    def said(author):
        findings = check(board, host(), "HEAD", author)[1]
        return [each for each in findings if "nothing says that they added it" in each.reason]

    assert {each.file.partition("/")[0] for each in said("eve")} == {moved.name}
    assert "--author alice" in said("eve")[0].fix
    assert said("alice") == said(None) == []


@pytest.mark.parametrize("chunk_rows", [512, 1024, 4096])
def test_who_was_there_first_is_not_accused(board, forge, chunk_rows):
    """A second row on an SAE contradicts the first; with a base the newer is named, wherever it sorts."""
    forge.commit(board.parent)
    old = forge.row(board)
    shutil.copytree(old.parent, board.parent / "kept")
    new = forge.moved(old, lambda raw: raw["analysis"].update(chunk_rows=chunk_rows))
    for kept in (board.parent / "kept").iterdir():
        shutil.copy(kept, old.parent / kept.name)
    findings = check(board, host(), "HEAD")[1]

    assert {each.file for each in findings if "in this cell already" in each.reason} == {
        str(new.relative_to(board))
    }
    assert not [each for each in findings if each.file == str(old.relative_to(board))]
