"""A click group whose commands are imported only when they run."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import click

from darkmatter.errors import did_you_mean


@dataclass(frozen=True)
class LazyCommand:
    """Where a command lives (``module:attribute``) and what ``--help`` says of it."""

    target: str
    help: str


class LazyGroup(click.Group):
    """Lists commands without importing them, and names the nearest where one is unknown."""

    def __init__(self, *, lazy: dict[str, LazyCommand], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table of commands: the order in which one needs them."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        entry = self.lazy.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The list of commands in ``--help``."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.lazy.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.lazy:
            hint = did_you_mean(name, self.lazy)
            message = f"there is no command {name!r}. {hint} `{ctx.command_path} --help` shows all."
            raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)
