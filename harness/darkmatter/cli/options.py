"""Checks of options that several commands have."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from darkmatter.errors import UsageError, did_you_mean
from darkmatter.sae.overrides import Overrides


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


AnyCommand = Callable[..., Any]


def override_option(metavar: str, help_text: str) -> Callable[[AnyCommand], AnyCommand]:
    """``--override``, which may be given several times."""
    text = f"{help_text} The fields stand below."
    return click.option("--override", "overrides", multiple=True, metavar=metavar, help=text)


def overrides_help() -> str:
    """Every field of ``--override`` with its meaning: what stands below a command's options."""
    fields = Overrides.model_fields.items()
    width = max(len(name) for name, _ in fields)
    lines = [_field_help(name, str(field.description), width) for name, field in fields]
    return "\n".join(["\b", "Fields of --override:", *lines])


def _field_help(name: str, meaning: str, width: int) -> str:
    """One field, its meaning wrapped beside its name."""
    return textwrap.fill(
        meaning, 76, initial_indent=f"  {name:{width}}  ", subsequent_indent=" " * (width + 4)
    )


def read_overrides(given: Iterable[str]) -> Overrides:
    """What ``--override FIELD=VALUE`` says of one SAE."""
    found: dict[str, Any] = {}
    for text in given:
        field, equals, value = text.partition("=")
        if not equals:
            message = f"--override {text!r}: expected FIELD=VALUE, such as norm_factor=0.3."
            raise UsageError(message)
        _put(found, field, value, text)
    return Overrides.of(found)


def overrides_by_name(given: Sequence[str], names: Sequence[str]) -> dict[str, Overrides]:
    """What ``--override [NAME.]FIELD=VALUE`` says of each of these SAEs; without NAME, of all.

    A NAME may hold dots. What is said of one SAE by name wins over what is said of all.
    """
    of_all: dict[str, Any] = {}
    of_one: dict[str, dict[str, Any]] = {name: {} for name in names}
    for text in given:
        target, equals, value = text.partition("=")
        name, dot, field = target.rpartition(".")
        if not equals:
            message = f"--override {text!r}: expected [NAME.]FIELD=VALUE, such as mine.norm_factor=0.3."
            raise UsageError(message)
        if not names:
            message = f"--override {text!r}: there is no --sae that is read from files; leave it out."
            raise UsageError(message)
        if dot and name not in of_one:
            message = (
                f"--override {text!r}: there is no --sae {name!r} that is read from files. "
                f"{did_you_mean(name, names)}"
            )
            raise UsageError(message)
        _put(of_one[name] if dot else of_all, field, value, text)
    return {name: Overrides.of({**of_all, **stated}) for name, stated in of_one.items()}


def setting_value(text: str, setting: str) -> Any:
    """What ``--set`` gives an option: a list in brackets and null are read as in YAML, the rest is text."""
    if text != "null" and not text.startswith("["):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        message = f"--set {setting!r}: {text!r} is no list; expected one such as [1, 2]."
        raise UsageError(message) from None


def _put(stated: dict[str, Any], field: str, value: str, text: str) -> None:
    """Add one statement; the same one twice is wrong usage, since one of them would be ignored."""
    if field in stated:
        message = f"--override {text!r}: {field} is given twice; leave one of them out."
        raise UsageError(message)
    stated[field] = value
