"""What git is asked, and what is said where it cannot answer."""

from __future__ import annotations

import pytest

from darkmatter.errors import UsageError
from darkmatter.leaderboard.history import read_base


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
