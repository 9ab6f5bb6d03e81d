"""``darkmatter plugins``: what is loaded and what failed."""

from __future__ import annotations

from typing import Any

import click

from darkmatter.cli.output import say, say_columns, say_json
from darkmatter.plugins import LoadedPlugin, PluginFailure, host


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def plugins(*, as_json: bool) -> None:
    """Show loaded and failed plugins."""
    found = host()
    if as_json:
        say_json([*map(_loaded, found.loaded), *map(_failed, found.failures)])
        return
    say(f"{len(found.loaded)} in use")
    say_columns(
        [
            (plugin.name, f"{plugin.distribution} {plugin.version}", ", ".join(plugin.hooks))
            for plugin in found.loaded
        ]
    )
    if not found.failures:
        return
    say(f"{len(found.failures)} failed")
    for failure in found.failures:
        say(f"  {failure.name}  {failure.distribution} {failure.version}: {failure.reason}")
        say("\n".join(f"    {line}" for line in failure.traceback.rstrip().splitlines()))


def _loaded(plugin: LoadedPlugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": "loaded",
        "hooks": list(plugin.hooks),
        "traceback": None,
    }


def _failed(failure: PluginFailure) -> dict[str, Any]:
    return {
        "name": failure.name,
        "distribution": failure.distribution,
        "version": failure.version,
        "status": "failed",
        "hooks": [],
        "traceback": failure.traceback,
    }
