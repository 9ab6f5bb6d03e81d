"""What is asked of rows that are new since a base."""

from __future__ import annotations

import shutil

from darkmatter.leaderboard.check import check
from darkmatter.plugins import host


def new_since(board, forge):
    """What is wrong with the controls of a leaderboard that had none before."""
    parked = shutil.move(board / "controls", board.parent.parent / "parked")
    forge.commit(board.parent)
    shutil.move(parked, board / "controls")
    return [each for each in check(board, host(), base="HEAD")[1] if each.file.startswith("controls/")]


def test_new_controls_of_a_run_are_what_their_references_make(board, forge):
    """The fingerprint of a control follows from its reference and its activations, on every machine."""
    assert new_since(board, forge) == []


def test_a_new_control_that_is_something_else_is_caught(board, forge):
    """A worthless control would make every SAE beside it look good."""
    path = forge.row(board, sae="pca-k16")
    there = forge.moved(path, lambda raw: raw["sae"].update(fingerprint="recipe:" + "0" * 32))
    name = str(there.relative_to(board))

    found = new_since(board, forge)

    reasons = [each.reason for each in found if each.file == name]
    assert any("is not what 'baseline:pca,k=16' makes of its activations" in reason for reason in reasons)
