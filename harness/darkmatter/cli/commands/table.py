"""``darkmatter table``: results folders as a table."""

from __future__ import annotations

from pathlib import Path

import click

from darkmatter.cli.output import rendered, warn


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@rendered
def table(folders: tuple[Path, ...], reporter: str, *, all_metrics: bool) -> int:
    """Show the results of one or more folders.

    Exit status 1 says that some file in the folders was no usable result.
    """
    from darkmatter.results.collection import ResultSet

    results = ResultSet.read(*folders)
    # Reporters escape for their own format; escaping again here would change data.
    click.echo(results.table(all=all_metrics, format=reporter), nl=False)
    for problem in results.problems:
        warn(f"not used: {problem.path} {problem.reason}")
    if not results and not results.problems:
        warn(f"no results below {', '.join(map(str, folders))}. `darkmatter run --out DIR` makes them.")
    return 1 if results.problems else 0
