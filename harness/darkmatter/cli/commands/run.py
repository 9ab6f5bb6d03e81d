"""``darkmatter run``, ``plan`` and ``init``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from darkmatter.cli.options import (
    AnyCommand,
    executor,
    override_option,
    overrides_by_name,
    overrides_help,
    results_folder,
    setting_value,
)
from darkmatter.cli.output import say_assumed
from darkmatter.errors import UsageError
from darkmatter.references import WITH_FILES, check_name, parse_named, unique_names

DEFAULT_OUT = "darkmatter-out"

_OPTIONS: list[Callable[[AnyCommand], AnyCommand]] = [
    click.argument("suite", required=False, type=click.Path(path_type=Path)),
    click.option("--model", help="Language model: a local Hugging Face folder, or a hub id."),
    click.option("--revision", help="Revision of a hub model."),
    click.option("--text", help="Text: .txt, .jsonl, or hf:NAME[:CONFIG[:SPLIT]]."),
    click.option("--text-field", default="text", show_default=True, help="Field that holds the text."),
    click.option("--activations", help="A .safetensors file with tensor x, instead of a model."),
    click.option("--hook", "hooks", multiple=True, help="Hook point, e.g. blocks.2.hook_resid_post."),
    click.option("--sae", "saes", multiple=True, metavar="[NAME=]REF", help="SAE: a path or a reference."),
    click.option("--adapter", help="The reader to use for all --sae paths."),
    override_option(
        "[NAME.]FIELD=VALUE", "What the file of an SAE (or of all) does not say, or says wrongly."
    ),
    click.option(
        "--evaluators",
        help="Comma-separated names; default: all built-in ones but those that `darkmatter list` says run "
        "only where named.",
    ),
    click.option("--set", "settings", multiple=True, metavar="EVALUATOR.FIELD=VALUE", help="An option."),
    click.option("--ctx", type=int, help="Context length; default: what the SAEs record, else 256."),
    click.option("--contexts", type=int, default=400, show_default=True, help="Number of contexts."),
    click.option(
        "--bos",
        type=click.Choice(["always", "never"]),
        help="BOS at the start of contexts; default: as the SAEs record, else always.",
    ),
    click.option("--packing", type=click.Choice(["packed", "truncate"]), default="packed", show_default=True),
    click.option("--skip-first", type=int, help="Positions left out at the start; default: length / 16."),
    click.option("--skip-last", type=int, help="Positions left out at the end; default: 1."),
    click.option("--split", type=click.Choice(["context", "token"]), default="context", show_default=True),
    click.option("--seed", type=int, default=0, show_default=True),
    click.option("--dtype", default="float32", show_default=True, help="Arithmetic of SAE encoding."),
    click.option("--model-dtype", default="float32", show_default=True),
    click.option(
        "--processing",
        type=click.Choice(["raw", "compat"]),
        default="raw",
        show_default=True,
        help="The model's weights as they are, or layer norms folded and weights centred.",
    ),
    click.option("--device", default="cpu", show_default=True),
    click.option(
        "--controls/--no-controls",
        default=True,
        help="Add the mean, and PCA, PCA top-k and random directions at equal L0.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        callback=results_folder,
        default=DEFAULT_OUT,
        show_default=True,
        help="Results folder.",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="Worker threads; default: the cores. Never changes a number.",
    ),
    click.option(
        "--executor",
        callback=executor,
        default="local",
        show_default=True,
        help="local, this machine in parallel threads, is the only one so far.",
    ),
    click.option("--recompute", is_flag=True, help="Make results again that are there already."),
]

IN_SUITE = {
    "model": "model.name",
    "revision": "model.revision",
    "model_dtype": "model.dtype",
    "processing": "model.processing",
    "text": "text.path",
    "text_field": "text.field",
    "ctx": "text.context_length",
    "contexts": "text.contexts",
    "bos": "text.bos",
    "packing": "text.packing",
    "activations": "activations",
    "hooks": "hooks",
    "saes": "saes",
    "adapter": "saes.NAME.adapter",
    "overrides": "saes.NAME.FIELD",
    "evaluators": "evaluators",
    "settings": "evaluators.EVALUATOR.FIELD",
    "skip_first": "analysis.skip_first",
    "skip_last": "analysis.skip_last",
    "split": "analysis.split",
    "dtype": "analysis.dtype",
    "device": "analysis.device",
    "seed": "seed",
    "controls": "controls",
}
"""What a suite file says too: where each such option stands in it."""

OF_MODELS = (
    *("model", "revision", "model_dtype", "processing"),
    *("text", "text_field", "ctx", "contexts", "bos", "packing"),
)
"""Options that mean nothing for a file of activations."""


def _with_options(command: AnyCommand) -> AnyCommand:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(epilog=overrides_help())
@_with_options
@click.option("--all", "all_metrics", is_flag=True, help="Show every metric, not only the primary ones.")
def run(*, recompute: bool, all_metrics: bool, out: Path, jobs: int | None, **options: Any) -> int:
    """Evaluate SAEs and print the comparison table.

    Give a SUITE.yaml, or everything by options. Running the same command again resumes it. Exit status 1 says
    that something failed, or that no evaluator that was named could measure anything.
    """
    return execute(suite_from(options), out, jobs, recompute=recompute, all_metrics=all_metrics)


@click.command(epilog=overrides_help())
@_with_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--all", is_flag=True, hidden=True, expose_value=False, help="As in run; changes no plan.")
def plan(*, recompute: bool, as_json: bool, out: Path, jobs: int | None, **options: Any) -> None:
    """Say what a run would make, reuse and skip, and what it needs; computes nothing.

    Takes the arguments of `darkmatter run`.
    """
    from darkmatter.plugins import host
    from darkmatter.progress import Progress
    from darkmatter.runs.job import Job
    from darkmatter.runs.plan import plan_job

    planned = plan_job(Job.of(suite_from(options), host(), Progress(), jobs), out, recompute=recompute)
    if as_json:
        click.echo(json.dumps(planned.to_json(), indent=2))
        return
    from tabulate import tabulate

    rows = [[r.sae, r.evaluator, r.action, _wrapped(r.reason)] for r in planned.results]
    click.echo(tabulate(rows, headers=["SAE", "evaluator", "action", "why"]))
    click.echo()
    for name, text in planned.needs.items():
        click.echo(f"{name}: {text}")


def _wrapped(reason: str) -> str:
    """A reason in lines of a table cell; paths are kept whole."""
    from darkmatter.printable import brief, printable

    return textwrap.fill(printable(brief(reason)), 60, break_long_words=False, break_on_hyphens=False)


@click.command()
@click.argument("path", default="suite.yaml", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def init(path: Path, *, force: bool) -> None:
    """Write a commented suite file to start from."""
    from darkmatter.runs.template import TEMPLATE

    if path.exists() and not force:
        message = f"{path} exists; name another file, or say --force to overwrite it."
        raise UsageError(message)
    path.write_text(TEMPLATE, encoding="utf-8")
    click.echo(f"wrote {path}; edit it, then: darkmatter run {path}")


def suite_from(options: dict[str, Any]) -> Any:
    """The suite from a file, or from options; an option that the file would decide is refused."""
    from darkmatter.runs.suite import make_suite, read_suite

    path: Path | None = options["suite"]
    if path is not None:
        given = _given(IN_SUITE)
        if given:
            places = ", ".join(f"{option} as `{IN_SUITE[name]}`" for name, option in given.items())
            message = (
                f"{', '.join(given.values())} cannot be combined with the suite file {str(path)!r}, which "
                f"alone says what is run. Put it into the file: {places}."
            )
            raise UsageError(message)
        return read_suite(path)
    return make_suite(_fields(options))


def _given(names: Iterable[str]) -> dict[str, str]:
    """Those of the parameters that stand on the command line, with the option as one writes it."""
    context = click.get_current_context()
    source = click.core.ParameterSource.COMMANDLINE
    written = {p.name: "/".join([p.opts[0], *p.secondary_opts]) for p in context.command.params}
    return {name: written[name] for name in names if context.get_parameter_source(name) is source}


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "hooks": options["hooks"],
        "saes": _named_saes(options["saes"], options["adapter"], options["overrides"]),
        "evaluators": _evaluators(options["evaluators"], options["settings"]),
        "controls": options["controls"],
        "seed": options["seed"],
        "analysis": {name: options[name] for name in ("skip_first", "skip_last", "split", "dtype", "device")},
    }
    if options["activations"]:
        fields["activations"] = options["activations"]
        given = _given(OF_MODELS)
        if given:
            message = (
                f"--activations and {', '.join(given.values())} cannot be combined: a file of activations "
                "has its contexts already and needs no model."
            )
            raise UsageError(message)
        return fields
    if not options["model"] or not options["text"]:
        one = next((name for name in ("model", "text") if options[name]), None)
        missing = {"model": "--text is missing. ", "text": "--model is missing. "}.get(one or "", "")
        message = (
            f"{missing}Give a SUITE.yaml, or --model and --text, or --activations; and at least one --sae. "
            "`darkmatter init` writes a suite to start from; `darkmatter demo` runs the embedded one."
        )
        raise UsageError(message)
    fields["model"] = {
        "name": options["model"],
        "dtype": options["model_dtype"],
        "device": options["device"],
        "processing": options["processing"],
    }
    if options["revision"]:
        fields["model"]["revision"] = options["revision"]
    fields["text"] = {
        "path": options["text"],
        "field": options["text_field"],
        "context_length": options["ctx"],
        "contexts": options["contexts"],
        "bos": options["bos"],
        "packing": options["packing"],
    }
    return fields


def _named_saes(
    given: tuple[str, ...], adapter: str | None, overrides: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    parsed = [parse_named(text) for text in given]
    names = [check_name(name) for name, _ in parsed if name is not None]
    for name in names:
        if names.count(name) > 1:
            message = f"two --sae are called {name!r}; give them different names."
            raise UsageError(message)
    automatic = iter(unique_names([ref for name, ref in parsed if name is None], taken=names))
    named = {name or next(automatic): ref for name, ref in parsed}
    from_files = [name for name, ref in named.items() if ref.kind != "baseline"]
    stated = overrides_by_name(overrides, from_files)
    return {
        name: {
            "ref": ref.raw,
            "adapter": adapter if ref.kind in WITH_FILES else None,
            **(stated[name].given() if name in stated else {}),
        }
        for name, ref in named.items()
    }


def _evaluators(names: str | None, settings: tuple[str, ...]) -> dict[str, dict[str, Any]] | None:
    """Options by evaluator; ``--set`` alone adds those it names to the default choice of evaluators."""
    if names is None and not settings:
        return None
    from darkmatter.plugins import host
    from darkmatter.runs.chosen import default_evaluators

    if names is None:
        targets = [setting.partition("=")[0].rpartition(".")[0] for setting in settings]
        set_here = [target.rpartition("/")[2] for target in targets]
        usual = default_evaluators(host())
        chosen = [name for name in host().owned("evaluators") if name in {*usual, *set_here}]
    else:
        chosen = [name.strip() for name in names.split(",") if name.strip()]
    options: dict[str, dict[str, Any]] = {name: {} for name in chosen}
    for setting in settings:
        target, equals, value = setting.partition("=")
        evaluator, dot, field = target.rpartition(".")
        if not (equals and dot and field):
            message = (
                f"--set {setting!r}: expected EVALUATOR.FIELD=VALUE, such as error_decomposition.bias=false."
            )
            raise UsageError(message)
        if evaluator not in options:
            evaluator = host().get("evaluators", evaluator).descriptor.name
        if evaluator not in options:
            message = f"--set {setting!r}: {evaluator!r} is not among --evaluators {names}."
            raise UsageError(message)
        options[evaluator][field] = setting_value(value, setting)
    return options


def execute(suite: Any, out: Path, jobs: int | None, *, recompute: bool, all_metrics: bool) -> int:
    """Run, print the table and what failed; returns the exit status."""
    from darkmatter.plugins import host
    from darkmatter.printable import brief, printable
    from darkmatter.progress import Progress
    from darkmatter.runs.job import Job

    plugin_host = host()
    progress = Progress.on_stderr(plugin_host.emit)
    job = Job.of(suite, plugin_host, progress, jobs)
    if not job.items and not job.baselines:
        message = (
            "no SAE: add --sae PATH (or saes: in the suite). `darkmatter inspect PATH` says what a file is."
        )
        raise UsageError(message)
    outcome = job.run(out, recompute=recompute)
    click.echo(outcome.results.table(all=all_metrics))
    say_assumed(outcome.assumed)
    for warning in outcome.warnings:
        click.echo(f"warning: {printable(warning)}", err=True)
    statuses = [result.status for result in outcome.results]
    counts = [f"{statuses.count('ok')} measured"]
    counts += [f"{statuses.count(each)} {each}" for each in ("skipped", "failed") if each in statuses]
    click.echo(f"results: {out} ({', '.join(counts)}; {outcome.reused} of them reused)", err=True)
    if outcome.failures:
        click.echo(f"{len(outcome.failures)} failed:", err=True)
        for failure in outcome.failures:
            click.echo(f"  {failure.sae}: {printable(brief(failure.reason))}", err=True)
        click.echo("What is done is kept. Mend the above and run the same command again to go on.", err=True)
        return 1
    if suite.evaluators and "ok" not in statuses:
        names = ", ".join(suite.evaluators)
        click.echo(f"Nothing was measured: {names} cannot measure what was given (see above).", err=True)
        return 1
    return 0
