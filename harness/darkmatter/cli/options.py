"""Checks of options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

from darkmatter.errors import UsageError, did_you_mean


def results_folder(_context: click.Context, _option: click.Parameter, value: Path) -> Path:
    """A folder to write results into: it may be absent, but it is not a file."""
    there = next((path for path in (value, *value.parents) if path.exists()), value)
    if there.exists() and not there.is_dir():
        message = f"--out {value}: {there} is a file; results go to a folder. Name another one with --out."
        raise UsageError(message)
    return value


def executor(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Where a run computes: ``local`` is the only executor so far."""
    if value == "local":
        return value
    if value.partition(":")[0] == "ray":
        message = (
            f"--executor {value}: this version has no Ray executor; a run uses threads of this machine. "
            "Leave --executor out and choose the number of threads with --jobs; to use several machines, "
            "give each a part of the SAEs and an --out of its own, and show all with "
            "`darkmatter table OUT_A OUT_B`."
        )
    else:
        message = f"there is no executor {value!r}. {did_you_mean(value, ['local'])}"
    raise UsageError(message)
