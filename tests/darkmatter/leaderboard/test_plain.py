"""Names and texts on a leaderboard."""

from __future__ import annotations

import pytest

from darkmatter.leaderboard.plain import folded, is_plain


@pytest.mark.parametrize("name", ["topk-w256-k16", "mean@blocks.2.hook_resid_post", "My SAE (v2)", "a/b:c"])
def test_names_that_a_suite_gives_are_plain(name):
    """Whatever is printable ASCII with single spaces stays allowed."""
    assert is_plain(name)


@pytest.mark.parametrize(
    "name", ["sae\u200b", "s\u0430e", "sae ", " sae", "a  b", "a\tb", "a\x1b", "x" * 201]
)
def test_names_with_what_is_not_seen_are_not(name):
    """Zero-width signs, letters of other alphabets, spaces at the ends and controls make look-alikes."""
    assert not is_plain(name)


def test_look_alikes_fold_together():
    """Case, and signs that the name of a folder cannot hold, do not tell two names apart; hyphens do."""
    assert folded("TopK w/16") == folded("topk w:16") == folded("topk_w_16")
    assert folded("topk-w16") != folded("topk_w16")
