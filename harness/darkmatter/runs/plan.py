"""What a run would do: made, reused, skipped or failing, and what it needs. Nothing is computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from darkmatter.descriptors import Requirement, import_named
from darkmatter.errors import DarkmatterError, UsageError
from darkmatter.results.reading import Problem, StoredResult, read_folder
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import Job
from darkmatter.runs.keys import result_key
from darkmatter.runs.recorder import Chosen
from darkmatter.sae.base import SAE

GUESSED_L0 = 64
"""Codes per token taken for the size of scratch files where an SAE does not say."""


@dataclass(frozen=True)
class PlannedResult:
    """One result: ``action`` is make, reuse, skip or fail."""

    sae: str
    evaluator: str
    action: str
    reason: str = ""


@dataclass
class Plan:
    """Everything that a run would do and need."""

    activations: dict[str, Any]
    results: list[PlannedResult] = field(default_factory=list)
    needs: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON-able data."""
        return asdict(self)


def plan_job(job: Job, out: Path) -> Plan:
    """The plan of a job whose results would go to ``out``."""
    activations = _activations(job)
    plan = Plan(activations)
    found: list[StoredResult] = []
    problems: list[Problem] = []
    if out.is_dir():
        found, problems = read_folder(out)
    present = {
        (entry.result.key, entry.result.sae.name) for entry in found if entry.result.status != "failed"
    }
    for item in job.items:
        plan.results += _of_item(job, item, activations, present)
    for baseline in job.baselines:
        plan.results += [
            PlannedResult(
                baseline.name, chosen.evaluator.name, "make", "fitted on the training rows (or reused)"
            )
            for chosen in job.chosen
        ]
    if job.suite.controls:
        reason = "controls at the SAEs' L0, known when they have been encoded"
        plan.results.append(PlannedResult("mean, pca-k…", "all", "make", reason))
    plan.needs = _needs(job, activations)
    if problems:
        plan.needs["damaged results"] = f"{len(problems)} files in {out} would be set aside and made again"
    return plan


def _activations(job: Job) -> dict[str, Any]:
    if job.suite.activations is not None:
        store = job.open_store()
        tokens = store.n_contexts * store.n_positions
        return {
            "source": job.suite.activations,
            "key": store.key,
            "cached": True,
            "tokens": tokens,
            "positions": store.n_positions,
            "defaults": [store.default_skip_first, store.default_skip_last],
        }
    assert job.suite.model is not None
    name = job.suite.model.provider or "transformer_lens"
    source = job.host.sources().get(name)
    if source is None or source.plan is None:
        message = f"the activation source {name!r} cannot be planned for; `darkmatter run` can use it."
        raise UsageError(message)
    return dict(import_named(source.plan, name)(job.request()))


def _of_item(
    job: Job, item: SAEItem, activations: dict[str, Any], present: set[tuple[str, str]]
) -> list[PlannedResult]:
    try:
        sae = item.load()
    except DarkmatterError as error:
        return [PlannedResult(item.name, c.evaluator.name, "fail", str(error)) for c in job.chosen]
    hook = item.hook or sae.hook_in or (job.hooks()[0] if len(job.hooks()) == 1 else "")
    out_hook = sae.hook_out or hook
    if job.suite.activations is not None:
        hook = out_hook = "activations"
    return [_one(job, item, sae, chosen, (hook, out_hook), activations, present) for chosen in job.chosen]


def _one(
    job: Job,
    item: SAEItem,
    sae: SAE,
    chosen: Chosen,
    hooks: tuple[str, str],
    activations: dict[str, Any],
    present: set[tuple[str, str]],
) -> PlannedResult:
    name = chosen.evaluator.name
    unmet = chosen.evaluator.requires - {Requirement.TOKENS, Requirement.LOSS, Requirement.DECODER}
    if unmet:
        return PlannedResult(item.name, name, "skip", "needs " + ", ".join(sorted(r.value for r in unmet)))
    if sae.fingerprint is None:
        return PlannedResult(item.name, name, "make", "functions are never reused")
    analysis = job.suite.analysis.resolved(*activations["defaults"]).record()
    config = chosen.config.model_dump(mode="json")
    key = result_key(chosen.owned, config, sae.fingerprint, hooks, activations["key"], analysis)
    if (key, item.name) in present:
        return PlannedResult(item.name, name, "reuse", f"key {key[:12]} is there")
    return PlannedResult(item.name, name, "make", f"key {key[:12]}")


def _needs(job: Job, activations: dict[str, Any]) -> dict[str, str]:
    tokens = activations["tokens"]
    loaded = [item.load() for item, file in zip(job.items, job.files, strict=True) if file.facts is not None]
    codes = sum(int(sae.metadata.extra.get("k") or GUESSED_L0) for sae in loaded)
    weights = sum(4 * sae.d_sae * (sae.d_in + sae.d_out) for sae in loaded)
    dims = {(sae.hook_in or "").lower(): sae.d_in for sae in loaded}
    stored = 4 * tokens * sum(dims.values())
    widest = max((sae.d_in for sae in loaded), default=0)
    working = job.jobs * (6 * 8 * job.suite.analysis.chunk_rows * widest + 4 * 8 * widest**2)
    return {
        "model forward": "none, cached" if activations["cached"] else f"{tokens} tokens",
        "cache": "nothing new" if activations["cached"] else f"about {_size(stored)}",
        "scratch": f"about {_size(8 * codes * tokens)}",
        "memory": f"about {_size(weights + working)} beyond the libraries and the model",
    }


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
