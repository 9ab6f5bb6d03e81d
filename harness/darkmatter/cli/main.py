"""The command ``darkmatter``: its table of commands and what an error looks like.

Nothing heavy is imported here: ``--help``, ``list`` and ``plugins`` answer without torch.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import click

from darkmatter import __version__
from darkmatter.cli.lazy import LazyCommand, LazyGroup
from darkmatter.cli.output import warn
from darkmatter.errors import DarkmatterError, UsageError

_HERE = "darkmatter.cli.commands"

COMMANDS = {
    "demo": LazyCommand(f"{_HERE}.demo:demo", "Evaluate embedded SAEs: offline, in a minute or two."),
    "run": LazyCommand(f"{_HERE}.run:run", "Evaluate SAEs and print the comparison table."),
    "plan": LazyCommand(f"{_HERE}.run:plan", "What a run would make, reuse and skip, and what it needs."),
    "init": LazyCommand(f"{_HERE}.run:init", "Write a commented suite file to start from."),
    "inspect": LazyCommand(f"{_HERE}.inspect:inspect", "What an SAE file is, who reads it and why."),
    "fetch": LazyCommand(
        f"{_HERE}.fetch:fetch", "Download SAEs by reference, pinned to a commit and checked."
    ),
    "convert": LazyCommand(f"{_HERE}.convert:convert", "Write an SAE as darkmatter's own files, losslessly."),
    "table": LazyCommand(f"{_HERE}.table:table", "Results as a table: Markdown, CSV, JSON, LaTeX or HTML."),
    "compare": LazyCommand(
        f"{_HERE}.compare:compare", "Paired differences of two SAEs or two result folders."
    ),
    "report": LazyCommand(
        f"{_HERE}.report:report", "Results as one page to read, sort and send: offline HTML."
    ),
    "check": LazyCommand(f"{_HERE}.check:check", "Fail where SAEs became worse than a baseline, for CI."),
    "plot": LazyCommand(f"{_HERE}.plot:plot", "Results as the figures of the papers: SVG and PNG."),
    "feature": LazyCommand(
        f"{_HERE}.feature:feature", "What a latent fires on, does and is made of: a card."
    ),
    "leaderboard": LazyCommand(
        f"{_HERE}.leaderboard:leaderboard", "Published results: build, check, submit, audit."
    ),
    "list": LazyCommand(f"{_HERE}.catalog:list_", "Everything that plugins offer."),
    "describe": LazyCommand(f"{_HERE}.catalog:describe", "One evaluator, adapter, baseline ... in full."),
    "plugins": LazyCommand(f"{_HERE}.plugins:plugins", "Plugins that are in use, and those that failed."),
    "cache": LazyCommand(f"{_HERE}.cache:cache", "List, verify or remove cached activations."),
    "schema": LazyCommand(f"{_HERE}.schema:schema", "The JSON schema of a result file."),
    "doctor": LazyCommand(f"{_HERE}.doctor:doctor", "Versions, hardware, cache and plugins of this install."),
}
"""Name -> where it is and its line in ``--help``, in the order in which one needs them."""


@dataclass
class Session:
    """Options of the command itself."""

    debug: bool = False


def _block_plugins(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    """``-p no:NAME`` keeps a plugin from loading."""
    names = []
    for value in values:
        if not value.startswith("no:") or value == "no:":
            message = f"{value!r} is not of the form no:NAME"
            raise click.BadParameter(message)
        names.append(value.removeprefix("no:"))
    if names:
        from darkmatter.plugins import block

        block(names)
    return names


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`darkmatter COMMAND --help` explains a command.",
)
@click.version_option(__version__, prog_name="darkmatter", message="%(prog)s %(version)s")
@click.option(
    "-p",
    "plugin",
    multiple=True,
    metavar="no:NAME",
    expose_value=False,
    callback=_block_plugins,
    help="Do not load this plugin.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_obj
def cli(session: Session, *, debug: bool) -> None:
    """Measure what a sparse autoencoder misses."""
    session.debug = debug


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 failed, 2 wrong usage, 130 stopped)."""
    session = Session()
    try:
        status = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="darkmatter",
            standalone_mode=False,
            obj=session,
        )
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.Abort):
        warn("interrupted; what was finished is kept, and the same command goes on from there.")
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away; without this, Python complains again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence
        return _report(error, debug=session.debug)
    return status if isinstance(status, int) else 0


def _report(error: Exception, *, debug: bool) -> int:
    """Say what went wrong on stderr; returns the exit status."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    if debug:
        warn("".join(traceback.format_exception(error)))
    if isinstance(error, click.ClickException):
        where = getattr(error, "ctx", None)
        hint = f" See `{where.command_path} --help`." if where and "--help" not in error.message else ""
        warn(f"error: {error.format_message()}{hint}")
        return error.exit_code
    if isinstance(error, DarkmatterError):
        warn(f"error: {error}")
        return 2 if isinstance(error, UsageError) else 1
    kind = type(error).__name__
    warn(f"error: {kind}: {error}")
    if not debug:
        warn("This is unexpected. `darkmatter --debug COMMAND ...` shows where it happened.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
