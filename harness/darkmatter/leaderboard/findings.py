"""What is wrong with a leaderboard, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong; ``file`` is relative to the leaderboard."""

    file: str
    reason: str
    fix: str


AS_MADE = "Publish the file as `darkmatter run` wrote it: `darkmatter leaderboard submit` copies it."
AGAIN = "Run the evaluator again and submit what it writes; numbers are never edited."
