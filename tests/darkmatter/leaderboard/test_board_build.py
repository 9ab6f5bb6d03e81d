"""The table and the page of a leaderboard."""

from __future__ import annotations

import random
import shutil
from os import scandir

import pytest

from darkmatter.errors import DarkmatterError
from darkmatter.leaderboard import board as reading
from darkmatter.leaderboard.build import built_files, write_built
from darkmatter.leaderboard.check import check
from darkmatter.leaderboard.pages import stale
from darkmatter.plugins import host


class Shuffled:
    """``os.scandir`` in another order."""

    def __init__(self, path):
        with scandir(path) as found:
            self.entries = list(found)
        random.Random(len(self.entries)).shuffle(self.entries)

    def __enter__(self):
        return iter(self.entries)

    def __exit__(self, *_):
        pass


def test_equal_rows_give_equal_bytes(board, tmp_path, monkeypatch):
    """Neither a second build, nor its own output, nor place or order of the files changes a byte."""
    first = built_files(board, host())
    write_built(board, first)
    again = built_files(board, host())
    moved = shutil.copytree(board, tmp_path / "elsewhere")
    with monkeypatch.context() as patch:
        patch.setattr(reading.os, "scandir", Shuffled)
        shuffled = built_files(moved, host())

    assert again == first
    assert shuffled == first
    assert stale(board, first) == []


def test_owners_controls_and_cards_are_shown(board):
    """An SAE stands under its owner's name, a control under its own, and each card is a row."""
    table = built_files(board, host())["README.md"].decode()

    assert "| alice/topk-w512-k16 " in table
    assert "| pca-k16 (control) " in table
    assert "demo:topk-w512-k16" in table
    assert "suite" not in table.split("## Model cards")[1].split("**Notes**")[0]  # empty on every card


def test_what_a_card_says_stays_text(board):
    """A card is a stranger's: neither Markdown nor HTML gets an element or a link from it."""
    card = board / "alice__topk-w256-k16" / "model_card.yaml"
    card.write_text(
        card.read_text().replace("licence: MIT", "licence: '<script>alert(1)</script> [x](http://e)'")
    )

    files = {path: data.decode() for path, data in built_files(board, host()).items()}

    assert "alert(1)" in files["README.md"]
    assert all("<script" not in text for text in files.values())
    assert "`[x](http://e)`" in files["README.md"]
    assert files["README.md"].count("[x](") == files["README.md"].count("`[x](")
    assert "Content-Security-Policy" in files["site/index.html"]


def test_nothing_is_built_from_what_check_faults(board, forge):
    """A forged value is never rendered; the error names the file."""
    forge.edit(forge.row(board), lambda raw: forge.metric(raw, "fvu").update(value=0.02))

    with pytest.raises(DarkmatterError, match=r"topk-w256-k16.*fvu"):
        built_files(board, host())


def test_a_stale_page_is_named(board):
    """A table that was edited by hand, or that a row was added to, is not what `build` writes."""
    files = built_files(board, host())
    write_built(board, files)
    (board / "README.md").write_text("fvu 0")

    assert stale(board, files) == ["README.md"]


FORGED = {"README.md": "# fake\nmy SAE wins\n", "site/index.html": "<script>alert(1)</script>"}


@pytest.mark.parametrize("page", FORGED)
@pytest.mark.parametrize("base", [None, "HEAD"])
def test_a_page_that_nothing_built_is_a_finding(board, forge, page, base):
    """What readers see is made of the rows; a page written by hand is named, with its remedy."""
    write_built(board, built_files(board, host()))
    forge.commit(board.parent)
    assert check(board, host(), base)[1] == []
    (board / page).write_text(FORGED[page])

    [finding] = check(board, host(), base)[1]

    assert (finding.file, finding.reason) == (
        page,
        "is not what `build` writes from the rows and cards that are there",
    )
    assert f"darkmatter leaderboard build {board}" in finding.fix


def test_a_submission_may_leave_the_pages_as_they_were(board, forge):
    """Its rows make them stale, and whoever builds next mends them; removed they may not be."""
    parked = shutil.move(board / "alice__topk-w512-k16", board.parent / "parked")
    for path in board.glob("*family*"):
        shutil.move(path, board.parent)
    write_built(board, built_files(board, host()))
    forge.commit(board.parent)
    shutil.move(parked, board / "alice__topk-w512-k16")

    assert check(board, host(), "HEAD")[1] == []
    assert [each.file for each in check(board, host())[1]] == ["README.md", "site/index.html"]

    (board / "README.md").unlink()
    assert [(each.file, each.reason[:17]) for each in check(board, host(), "HEAD")[1]] == [
        ("README.md", "was removed since")
    ]
