"""``darkmatter demo``: the embedded suite, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from darkmatter.cli.options import results_folder

if TYPE_CHECKING:
    from darkmatter.runs.suite import Suite


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    callback=results_folder,
    default="darkmatter-demo",
    show_default=True,
    help="Results folder.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Worker threads; default: the cores. Never changes a number."
)
@click.option("--suite", "name", default="demo", show_default=True, help="Which embedded suite.")
@click.option("--all", "all_metrics", is_flag=True, help="Show every metric, not only the primary ones.")
def demo(*, out: Path, jobs: int | None, name: str, all_metrics: bool) -> int:
    """Evaluate real SAEs of a small embedded language model: offline, on a laptop.

    Nothing is downloaded. Afterwards OUT holds the results, and OUT/suite the suite as a file; the built-in
    demo also leaves paper.yaml there: the same with the full budgets of all evaluators.
    """
    from darkmatter.cli.commands.run import execute
    from darkmatter.plugins import host
    from darkmatter.runs.suite import make_suite

    owned = host().get("suites", name)
    # Absolute, because the paths in a suite file start at the file's folder.
    folder = out.resolve() / "suite"
    suite = make_suite(owned.descriptor.resolve()(folder))
    status = execute(suite, out, jobs, recompute=False, all_metrics=all_metrics)
    click.echo(_stated(suite))
    for file in sorted(folder.glob("*.yaml")):
        click.echo(f"written: {out / 'suite' / file.name}", err=True)
    click.echo("Next: your own SAE with darkmatter run --model DIR --text FILE.jsonl --sae PATH.", err=True)
    return status


def _stated(suite: Suite) -> str:
    """What the suite asks of evaluators that is not their default: a demo's budgets are cut."""
    lines = []
    for name, options in (suite.evaluators or {}).items():
        parts = [", ".join(f"{field} = {value}" for field, value in options.items())] if options else []
        parts += [f"measures only {', '.join(suite.only[name])}"] if name in suite.only else []
        lines += [f"- {name}: {'; '.join(parts)}"] if parts else []
    return "\n".join(["", "Options of this run other than the defaults:", "", *lines]) if lines else ""
