"""``darkmatter cache``: list, verify and remove cached activations."""

from __future__ import annotations

import dataclasses

import click

from darkmatter.cli.lazy import LazyCommand, LazyGroup
from darkmatter.cli.output import readable_size, say, say_columns, say_json, warn

_HERE = "darkmatter.cli.commands.cache"


@click.group(
    cls=LazyGroup,
    lazy={
        "ls": LazyCommand(f"{_HERE}:ls", "List the entries."),
        "verify": LazyCommand(f"{_HERE}:verify", "Read every byte and report damage."),
        "rm": LazyCommand(f"{_HERE}:rm", "Remove entries."),
    },
)
def cache() -> None:
    """List, verify or remove cached activations."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def ls(*, as_json: bool) -> None:
    """List the entries of the cache."""
    from darkmatter.cache.manage import list_entries
    from darkmatter.cache.root import cache_root

    entries = list_entries()
    if as_json:
        say_json([dataclasses.asdict(entry) for entry in entries])
        return
    total = sum(entry.size for entry in entries)
    say(f"{cache_root()}: {len(entries)} entries, {readable_size(total)}")
    for entry in entries:
        say_columns([(entry.key, readable_size(entry.size), f"{entry.model}, {entry.text}")])
        if entry.problem:
            say(f"    {entry.problem}")
            continue
        say(f"    {entry.n_contexts} contexts of {entry.n_positions} positions")
        for hook, share in entry.hooks.items():
            say(f"    {hook}" + ("" if share == 1 else f" ({share:.0%} there)"))


@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY...]")
def verify(keys: tuple[str, ...]) -> int:
    """Read every byte of some entries, or of all, and report damage.

    Damaged parts are made again by the next run that needs them.
    """
    from darkmatter.cache.manage import find_entry, list_entries
    from darkmatter.cache.manage import verify as check

    entries = [find_entry(key) for key in keys or [entry.key for entry in list_entries()]]
    damaged = 0
    for entry in entries:
        problems = check(entry)
        damaged += bool(problems)
        say(f"{entry.key}: {'damaged' if problems else 'ok'}")
        for problem in problems:
            say(f"  {problem}")
    if damaged:
        warn(f"{damaged} of {len(entries)} entries are damaged; the next run makes the missing parts again.")
    return 1 if damaged else 0


@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY...]")
@click.option("--all", "everything", is_flag=True, help="Remove every entry.")
def rm(keys: tuple[str, ...], *, everything: bool) -> None:
    """Remove entries by the first digits of their keys."""
    from darkmatter.cache.manage import find_entry, list_entries, remove

    if bool(keys) == everything:
        message = "name the entries to remove, or say --all. `darkmatter cache ls` shows them."
        raise click.UsageError(message)
    for key in [entry.key for entry in list_entries()] if everything else keys:
        entry = find_entry(key)
        remove(entry)
        say(f"removed {entry.key}")
