"""What may be published: no path of anyone's machine."""

from __future__ import annotations

import pytest

from darkmatter.leaderboard.public import paths_in, without_paths


@pytest.mark.parametrize(
    "text",
    [
        "/home/alice/x",
        "~/alice/x",
        "C:\\alice\\x",
        "\\\\server\\alice\\x",
        "/home//alice/x",
        "file:///home/alice/x",
    ],
)
@pytest.mark.parametrize("around", ["{}", "read {}", "`{}`", "<{}>", "{{{}}}", "|{}", "at={}, once"])
def test_a_path_is_found_and_cut_wherever_it_stands(text, around):
    """Of a machine's path its last component is published, whatever stands around it."""
    said = {"notes": [around.format(text)]}

    assert list(paths_in(said)) == said["notes"]
    assert "alice" not in without_paths(said)["notes"][0]
    assert "x" in without_paths(said)["notes"][0]


@pytest.mark.parametrize(
    "text", ["https://example.org/a/b", "hf:org/repo/folder", "10 / 20 / 30", "and/or", "tokens/s"]
)
def test_what_is_no_path_stays(text):
    """Addresses, references and fractions are no paths."""
    assert list(paths_in([text])) == []
    assert without_paths(text) == text
