"""What commands print: text made safe for terminals, or JSON and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from darkmatter.printable import printable
from darkmatter.sae.assumption import described


def rendered(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that shows results through a reporter."""
    every = click.option(
        "--all", "all_metrics", is_flag=True, help="Every metric, not only the headline ones."
    )
    reporter = click.option(
        "--format",
        "reporter",
        default="md",
        metavar="NAME",
        show_default=True,
        help="md, csv, json, latex, html, or a plugin's reporter.",
    )
    return reporter(every(command))


def say(text: str = "") -> None:
    """Print text that may come from a file; escape sequences and control characters are removed."""
    click.echo(printable(text, keep_lines=True))


def warn(text: str) -> None:
    """The same on stderr."""
    click.echo(printable(text, keep_lines=True), err=True)


def say_json(value: Any) -> None:
    """Print JSON in plain ASCII, so that nothing in it can steer a terminal; NaN becomes null."""
    plain = json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
    click.echo(json.dumps(plain, indent=2, allow_nan=False))


def say_columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> None:
    """Print aligned columns; the last one may be long."""
    clean = [[printable(cell) for cell in row] for row in rows]
    if not clean:
        return
    widths = [max(len(row[index]) for row in clean) for index in range(len(clean[0]) - 1)]
    for row in clean:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo((indent + "  ".join([*cells, row[-1]])).rstrip())


def say_assumptions(assumptions: Iterable[str]) -> None:
    """Print what was assumed or overridden, each with what would settle it."""
    for number, each in enumerate(described(assumptions)):
        if number == 0:
            say("\nassumed")
        say(f"  {each['sentence']}")
        if each["to_be_sure"]:
            say(f"    to be sure: {each['to_be_sure']}")


def say_assumed(by_sae: Mapping[str, Sequence[str]]) -> None:
    """Print on stderr what was assumed of each SAE, each sentence once with the SAEs that it holds of."""
    saes: dict[str, list[str]] = {}
    for name, sentences in by_sae.items():
        for sentence in dict.fromkeys(sentences):
            saes.setdefault(sentence, []).append(name)
    grouped: dict[tuple[str, ...], list[str]] = {}
    for sentence, names in saes.items():
        grouped.setdefault(tuple(names), []).append(sentence)
    if grouped:
        warn("assumed or overridden (`darkmatter inspect REF` says what would settle it):")
    for group, sentences in grouped.items():
        warn("\n    ".join([f"  {', '.join(group)}:", *map(printable, sentences)]))


def readable_size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
