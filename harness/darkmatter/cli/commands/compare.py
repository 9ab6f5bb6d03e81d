"""``darkmatter compare``: paired differences with intervals, ties shown as ties."""

from __future__ import annotations

from pathlib import Path

import click

from darkmatter.cli.output import rendered, warn


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR_A [DIR_B]")
@click.option(
    "--sae", "names", nargs=2, metavar="A B", help="Compare two SAEs of one folder; B may be a pattern."
)
@rendered
def compare(
    folders: tuple[Path, ...], names: tuple[str, str] | None, reporter: str, *, all_metrics: bool
) -> int:
    """Compare two results folders, or with --sae an SAE of one folder with another, or with all that B names.

    Only what was measured on the same data in the same way is compared; for the rest the reason is
    given. Intervals are paired and Holm-adjusted, and one that contains 0 is a tie.
    """
    if len(folders) != (1 if names else 2):
        message = "give two results folders (DIR_A DIR_B), or one with --sae A B."
        raise click.UsageError(message)
    from darkmatter.results.collection import ResultSet
    from darkmatter.results.compare import compare_folders, compare_saes
    from darkmatter.results.render import render_table

    if names:
        results = ResultSet.read(*folders)
        problems = results.problems
        comparison = compare_saes(results, *names)
    else:
        comparison = compare_folders(*folders)
        problems = list(comparison.problems)
    click.echo(render_table(comparison.to_table(all_metrics=all_metrics), reporter), nl=False)
    for problem in problems:
        warn(f"not used: {problem.path} {problem.reason}")
    return 1 if problems else 0
