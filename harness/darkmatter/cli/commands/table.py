"""``darkmatter table``: results folders as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from darkmatter.cli.output import rendered, warn
from darkmatter.errors import UsageError

if TYPE_CHECKING:
    from darkmatter.descriptors import Evaluator


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="DIR...")
@click.option(
    "--metrics",
    metavar="A,B,...",
    help="Only these, of all: fvu, 'share.*', 'density.*' (an evaluator's). Patterns in quotes.",
)
@click.option("--sae", "saes", multiple=True, metavar="GLOB", help="Only these SAEs, beside the controls.")
@click.option("--no-controls", is_flag=True, help="Leave the controls out.")
@click.option(
    "--sort", "by", metavar="METRIC[:asc|desc]", help="Order of the SAEs; without a direction the best first."
)
@click.option(
    "--pivot",
    metavar="ROWS[,COLUMNS]",
    help="One metric laid out by width, l0, layer or architecture; name it with --metrics.",
)
@click.option("--pareto", is_flag=True, help="Who is on the fronts of FVU (or --metrics) and L0.")
@click.option(
    "--saebench",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Result files of SAEBench, or a folder of them: its numbers under its names, beside ours.",
)
@rendered
def table(
    folders: tuple[Path, ...],
    metrics: str | None,
    saes: tuple[str, ...],
    by: str | None,
    pivot: str | None,
    saebench: tuple[Path, ...],
    reporter: str,
    *,
    no_controls: bool,
    pareto: bool,
    all_metrics: bool,
) -> int:
    """Show the results of one or more folders.

    Only what was measured on the same data in the same way stands in one table, and what differs is said.
    Exit status 1 says that some file in the folders was no usable result.
    """
    if not folders and not saebench:
        message = "Missing argument 'DIR...': name a results folder, or --saebench PATH."
        raise click.UsageError(message)
    if pivot and pareto:
        message = "--pivot and --pareto are two views; choose one."
        raise click.UsageError(message)
    from darkmatter.results.collection import ResultSet
    from darkmatter.results.render import render, render_table
    from darkmatter.results.selecting import find_metric, find_metrics, select, sort

    chosen = [name for name in map(str.strip, (metrics or "").split(",")) if name]
    results = ResultSet.read(*folders)
    described: dict[str, Evaluator] = {}
    if saebench:
        from darkmatter.results.saebench import add_saebench

        results, described, unknown = add_saebench(results, saebench)
        for path, fields in unknown.items():
            warn(f"fields that this version does not know, left out: {path}: {', '.join(fields)}")
    problems = results.problems
    # Views of named metrics take what they need; who lacks it is listed there.
    kept = () if pivot or pareto else chosen
    shown = select(sort(results, by) if by else results, metrics=kept, saes=saes, controls=not no_controls)
    if pivot:
        from darkmatter.results.pivot import axes_of, pivot_table

        axes = axes_of(pivot)
        if len(chosen) != 1:
            message = f"--pivot {pivot} lays out one metric. Name it, such as --metrics fvu."
            raise UsageError(message)
        text = render_table(pivot_table(shown, axes, find_metric(shown, chosen[0])), reporter)
    elif pareto:
        from darkmatter.results.pareto import METRICS, pareto_table

        wanted = (
            sorted(find_metrics(shown, chosen)) if chosen else [find_metric(shown, each) for each in METRICS]
        )
        text = render_table(pareto_table(shown, wanted), reporter)
    else:
        text = render(shown, reporter, all_metrics=all_metrics or bool(chosen), described=described)
    # Reporters escape for their own format; escaping again here would change data.
    click.echo(text, nl=False)
    for problem in problems:
        warn(f"not used: {problem.path} {problem.reason}")
    if not results and not problems:
        warn(f"no results below {', '.join(map(str, folders))}. `darkmatter run --out DIR` makes them.")
    return 1 if problems else 0
