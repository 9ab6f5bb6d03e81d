"""``darkmatter demo``: the embedded suite, offline."""

from __future__ import annotations

from pathlib import Path

import click

from darkmatter.cli.options import results_folder


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

    Nothing is downloaded. Afterwards OUT holds the results, and OUT/suite the suite as a file.
    """
    from darkmatter.cli.commands.run import execute
    from darkmatter.plugins import host
    from darkmatter.runs.suite import make_suite

    owned = host().get("suites", name)
    # Absolute, because the paths in a suite file start at the file's folder.
    suite = make_suite(owned.descriptor.resolve()(out.resolve() / "suite"))
    status = execute(suite, out, jobs, recompute=False, all_metrics=all_metrics)
    click.echo(
        f"Next: your own SAE with darkmatter run --model DIR --text FILE.jsonl --sae PATH; "
        f"the suite of this demo is {out / 'suite' / 'suite.yaml'}.",
        err=True,
    )
    return status
