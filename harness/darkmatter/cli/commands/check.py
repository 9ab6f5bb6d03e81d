"""``darkmatter check``: red where SAEs became worse than a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from darkmatter.cli.options import results_folder
from darkmatter.cli.output import say_json, warn
from darkmatter.errors import UsageError

if TYPE_CHECKING:
    from darkmatter.results.collection import ResultSet

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("suite", required=False, type=_FOLDER, metavar="[SUITE.yaml]")
@click.option("--baseline", required=True, type=_FOLDER, metavar="DIR", help="Results to compare with.")
@click.option("--results", type=_FOLDER, metavar="DIR", help="Finished results, instead of running a suite.")
@click.option(
    "--max-regression",
    default="2%",
    show_default=True,
    metavar="SHARE%",
    help="How much worse a metric may become, as a share of the baseline's value.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="EVALUATOR.METRIC=LIMIT",
    help="A limit of its own: 5%, or 0.01 in the metric's unit.",
)
@click.option("--require-all", is_flag=True, help="Red too: what the baseline has nothing to compare with.")
@click.option("--junit", type=_FILE, metavar="FILE.xml", help="Write JUnit XML: a test per SAE and metric.")
@click.option("--summary", type=_FILE, metavar="FILE.md", help="Write the summary as Markdown.")
@click.option(
    "--out",
    type=_FOLDER,
    callback=results_folder,
    default="darkmatter-out",
    show_default=True,
    help="Results folder of the suite's run.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Worker threads; never changes a number.")
@click.option("--json", "as_json", is_flag=True, help="Print the check as JSON.")
def check(
    suite: Path | None,
    baseline: Path,
    results: Path | None,
    max_regression: str,
    metrics: tuple[str, ...],
    junit: Path | None,
    summary: Path | None,
    out: Path,
    jobs: int | None,
    *,
    require_all: bool,
    as_json: bool,
) -> int:
    """Run a suite and compare it with a baseline; exit status 1 says that something is worse.

    A metric is red where the lower bound of the paired 95% interval of its relative worsening exceeds
    --max-regression. Checked are headline metrics without a unit that have a good direction, and those
    named with --metric. What the baseline has and cannot be compared is red too, with the reason, and so
    is a value that does not follow from its sums. What the baseline lacks is counted in the first line.
    """
    if (suite is None) == (results is None):
        message = "give a SUITE.yaml to run, or --results DIR with finished results, and not both."
        raise click.UsageError(message)
    from darkmatter.files.atomic import write_bytes
    from darkmatter.results.collection import ResultSet
    from darkmatter.results.junit import junit_xml
    from darkmatter.results.limits import parse_max_regression, parse_metric_limits
    from darkmatter.results.regression import check_regression
    from darkmatter.results.regression_table import check_table
    from darkmatter.results.render import render_table

    # Whatever is wrong with these is said before anything is run.
    limit, limits = parse_max_regression(max_regression), parse_metric_limits(metrics)
    before = ResultSet.read(baseline)
    if suite is not None:
        _refuse_overwriting(out, baseline)
    now = ResultSet.read(results) if results is not None else _run(suite, out, jobs)
    found = check_regression(before, now, limit, limits, require_all=require_all)
    text = render_table(check_table(found), "md")
    if junit is not None:
        write_bytes(junit, junit_xml(found))
    if summary is not None:
        write_bytes(summary, text.encode())
    if as_json:
        say_json(found.to_json())
    else:
        click.echo(text, nl=False)
    return 0 if found.passed else 1


def _refuse_overwriting(out: Path, baseline: Path) -> None:
    """A run into the baseline would compare it with itself."""
    if out.resolve() == baseline.resolve():
        message = f"--out and --baseline are the same folder {str(out)!r}; let the run write to another one."
        raise UsageError(message)


def _run(suite: Path | None, out: Path, jobs: int | None) -> ResultSet:
    """The results of a suite, those alone: others may lie in the folder from before."""
    from darkmatter.plugins import host
    from darkmatter.progress import Progress
    from darkmatter.runs.job import Job
    from darkmatter.runs.suite import read_suite

    assert suite is not None
    plugin_host = host()
    job = Job.of(read_suite(suite), plugin_host, Progress.on_stderr(plugin_host.emit), jobs)
    outcome = job.run(out)
    for text in outcome.warnings:
        warn(f"warning: {text}")
    for failure in outcome.failures:
        warn(f"failed: {failure.sae}: {failure.reason}")
    return outcome.results
