"""Our own leaderboard passes its own checks, its pages are current, and rows can be made again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from darkmatter.cli.main import main

RESULTS = Path(__file__).parents[1] / "results"

DRAWN = 6
"""Rows that are drawn, each of another evaluator; more than there are of those that cannot be made again."""

NOT_MADE_AGAIN = ("is not installed", "beside other SAEs than those")
"""Rows of older versions of an evaluator, and of controls whose company no row names."""


def test_evaluators_and_saes_of_the_embedded_suite_are_there():
    """The committed rows are of the whole family, of controls, and of every built-in evaluator."""
    rows = [json.loads(path.read_text("utf-8")) for path in RESULTS.rglob("*@*/*.json")]
    names = {row["sae"]["name"] for row in rows}

    assert {"topk-w256-k16", "topk-w4096-k16", "jumprelu-w1024", "attn-topk-w1024-k16"} <= names
    measured = {row["evaluator"]["name"] for row in rows}
    assert measured >= {"error_saes", "cross_layer", "autointerp", "concept_erasure"}
    assert any(row["sae"]["is_control"] for row in rows)


@pytest.mark.slow
def test_our_leaderboard_passes_its_check_and_its_pages_are_current(capsys):
    """No finding on the committed rows, and building again would change no byte."""
    for arguments in (["check", str(RESULTS)], ["build", str(RESULTS), "--check"]):
        assert main(["leaderboard", *arguments]) == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_of_our_leaderboard_can_be_made_again(tmp_path, monkeypatch, capsys):
    """Rows of as many evaluators give the same numbers when they are computed from their references.

    Each commit draws others, so that in time all are; the seed that draws them again is in the message.
    """
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path))
    seed = seed_of_commit()

    status = main(["leaderboard", "audit", str(RESULTS), "-n", str(DRAWN), "--seed", str(seed), "--json"])
    found = json.loads(capsys.readouterr().out)

    outcomes = [each["outcome"] for each in found]
    known = [each for each in found if any(reason in each["said"] for reason in NOT_MADE_AGAIN)]
    assert status == 0, (seed, found)
    assert len(outcomes) == DRAWN, seed
    assert outcomes.count("same") >= 1, (seed, found)
    assert outcomes.count("same") + outcomes.count("exempt") + len(known) == DRAWN, (seed, found)


def seed_of_commit():
    """The start of the commit that is checked out; 0 where there is no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(RESULTS), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return 0
    return int(done.stdout[:7], 16)
