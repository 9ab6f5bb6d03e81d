"""``darkmatter schema``: the JSON schema of a result file."""

from __future__ import annotations

import click

from darkmatter.cli.output import say_json


@click.command()
def schema() -> None:
    """Print the JSON schema of a result file."""
    from darkmatter.results.schema import Result

    say_json(Result.model_json_schema())
