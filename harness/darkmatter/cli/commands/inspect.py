"""``darkmatter inspect``: what an SAE reference points to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import click

from darkmatter.cli.output import readable_size, say, say_columns, say_json

_MAX_TENSORS = 40


@click.command()
@click.argument("reference", metavar="REF")
@click.option("--adapter", help="Read it with this adapter, whatever the others claim.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def inspect(reference: str, adapter: str | None, *, as_json: bool) -> int:
    """Say what a file is, which adapter claims it and why, and what is assumed.

    Exit status 1 says that it cannot be used as an SAE.
    """
    from darkmatter.sae.inspection import inspect_reference

    found = inspect_reference(reference, adapter=adapter)
    fields = dataclasses.asdict(found)
    if as_json:
        say_json(fields)
    else:
        _show(fields)
    return 1 if fields.get("error") else 0


def _show(fields: Mapping[str, Any]) -> None:
    plain = {name: value for name, value in fields.items() if isinstance(value, str | int | float)}
    say_columns([(name, str(value)) for name, value in plain.items() if name != "error"], "")
    for name, value in fields.items():
        if name in plain or not value:
            continue
        say(f"\n{name}")
        if isinstance(value, Mapping):
            _show_mapping(value)
        else:
            _show_list(value)
    if fields.get("error"):
        say(f"\nerror: {fields['error']}")


def _show_mapping(value: Mapping[str, Any]) -> None:
    shown = list(value.items())[:_MAX_TENSORS]
    say_columns([(str(name), _one_line(item)) for name, item in shown])
    if len(value) > len(shown):
        say(f"  ... and {len(value) - len(shown)} more")


def _show_list(value: Sequence[Any]) -> None:
    if all(isinstance(item, Mapping) for item in value):
        say_columns([[_one_line(cell, name) for name, cell in item.items()] for item in value])
        return
    for item in value:
        say(f"  {item}")


def _one_line(value: Any, name: str = "") -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_one_line(item, key)}" for key, item in value.items() if item is not None)
    if name == "bytes" and isinstance(value, int):
        return readable_size(value)
    if name == "shape" and isinstance(value, list):
        return " x ".join(map(str, value)) or "scalar"
    return str(value)
