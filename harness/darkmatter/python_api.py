"""The Python side of the command line: ``dm.evaluate`` and ``dm.run``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from darkmatter.errors import ResultWarning, UsageError
from darkmatter.plugins import host
from darkmatter.progress import Progress
from darkmatter.references import check_name, parse_reference, unique_names
from darkmatter.results.rows import ItemFailure
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import choose_evaluators
from darkmatter.runs.controls import ControlPolicy, baseline_item
from darkmatter.runs.items import BaselineItem, SAEItem
from darkmatter.runs.job import Job, default_jobs, make_engine, open_results
from darkmatter.runs.loaded import Budget, LoadedFile
from darkmatter.runs.suite import explain, make_suite, read_suite
from darkmatter.sae.base import SAE

if TYPE_CHECKING:
    from torch import Tensor

    from darkmatter.results.collection import ResultSet

SAELike = SAE | str | Path | Any
"""An SAE, a reference, or any object with ``encode`` and ``decode``."""


def evaluate(
    saes: Mapping[str, SAELike] | SAELike,
    *,
    activations: Tensor,
    tokens: Tensor | None = None,
    loss: Tensor | None = None,
    labels: Tensor | None = None,
    mask: Tensor | None = None,
    y: Tensor | None = None,
    evaluators: str | Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    jobs: int | None = None,
    **analysis: Any,
) -> ResultSet:
    """Evaluate SAEs on activations in memory; exactly the SAEs given, no controls are added.

    Args:
        saes: one SAE, or a mapping from names to SAEs: objects, references, baselines.
        activations: [contexts, positions, d], or [n, d], where every row is its own context.
        tokens: token ids [contexts, positions] (or [n]).
        loss: losses in nats, of the same shape.
        labels: labels, of the same shape.
        mask: True where a row counts, of the same shape.
        y: targets of a transcoder [contexts, positions, d_out].
        evaluators: names, or names with options; default: all built-in ones but those that run only
            where named.
        seed: seed of the split, of intervals and of baselines.
        out: a folder that keeps results and lets a later call reuse them; None keeps nothing.
        jobs: worker threads (any number gives the same bytes).
        **analysis: fields of ``darkmatter.runs.analysis.Analysis`` such as ``skip_first``.
    """
    from darkmatter.raw_activations import tensor_activations

    store = tensor_activations(activations, tokens=tokens, loss=loss, labels=labels, mask=mask, y=y)
    named = saes if isinstance(saes, Mapping) else {_name_of(saes): saes}
    if not named:
        message = "no SAE: give one, or a mapping from names to SAEs"
        raise UsageError(message)
    settings = _analysis(seed=seed, **analysis)
    evaluators = [evaluators] if isinstance(evaluators, str) else evaluators
    asked = evaluators if isinstance(evaluators, Mapping | None) else {name: {} for name in evaluators}
    plugin_host = host()
    items, baselines = _items(named)
    with open_results(None if out is None else Path(out)) as results:
        engine = make_engine(
            store,
            settings,
            choose_evaluators(plugin_host, asked),
            host=plugin_host,
            results=results,
            jobs=jobs or default_jobs(),
            progress=Progress(emit=plugin_host.emit),
        )
        found = engine.run(items, baselines, ControlPolicy(automatic=False))
    found.order = tuple(named)
    _warn(engine.recorder.failures, engine.recorder.warnings)
    return found


def run(
    suite: str | Path | None = None,
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    recompute: bool = False,
    **fields: Any,
) -> ResultSet:
    """Run a suite file, or one given by its fields: ``dm.run(model=..., text=..., saes={...})``.

    ``out`` keeps the results in a folder and lets a later call reuse them.
    """
    if suite is not None and fields:
        message = (
            f"{', '.join(fields)} cannot be combined with the suite file {str(suite)!r}; change the file."
        )
        raise UsageError(message)
    checked = read_suite(Path(suite)) if suite is not None else make_suite(fields)
    plugin_host = host()
    job = Job.of(checked, plugin_host, Progress(emit=plugin_host.emit), jobs)
    outcome = job.run(None if out is None else Path(out), recompute=recompute)
    _warn(outcome.failures, outcome.warnings)
    return outcome.results


def _warn(failures: Sequence[ItemFailure], found: Sequence[str]) -> None:
    """Say in Python what the command line says at its end: a failed row is easily overlooked."""
    for failure in failures:
        warnings.warn(f"{failure.sae} failed: {failure.reason}", ResultWarning, stacklevel=3)
    for text in found:
        warnings.warn(text, ResultWarning, stacklevel=3)


def _analysis(**fields: Any) -> Analysis:
    try:
        return Analysis.model_validate(fields)
    except ValidationError as error:
        raise UsageError(explain(error, Analysis, "dm.evaluate")) from None


def _items(named: Mapping[str, SAELike]) -> tuple[list[SAEItem], list[BaselineItem]]:
    items: list[SAEItem] = []
    baselines: list[BaselineItem] = []
    budget = Budget()
    for name, given in named.items():
        check_name(name)
        if isinstance(given, str) and given.startswith("baseline:"):
            reference = parse_reference(given)
            baselines.append(baseline_item(host(), reference.target, name, reference.fields))
        elif isinstance(given, str | Path):
            file = LoadedFile(str(given), None, budget)
            items.append(SAEItem(name, str(given), file))
        else:
            items.append(SAEItem(name, f"object:{type(given).__name__}", _loader(given)))
    return items, baselines


def _loader(given: Any) -> Any:
    def load() -> SAE:
        if isinstance(given, SAE):
            return given
        return SAE.from_object(given)

    return load


def _name_of(sae: SAELike) -> str:
    if isinstance(sae, str | Path):
        return unique_names([parse_reference(str(sae))])[0]
    return "sae"
