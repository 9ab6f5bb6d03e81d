"""Leaderboards: published results in a git repository, and what keeps them honest."""
