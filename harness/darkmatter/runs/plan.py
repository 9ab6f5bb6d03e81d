"""What a run would do: made, reused, skipped or failing, and what it needs. Nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from darkmatter.activations import RAW_HOOK, TARGET_HOOK
from darkmatter.descriptors import Requirement, import_named
from darkmatter.errors import DarkmatterError, ItemError, UsageError
from darkmatter.results.reading import Problem, StoredResult, read_folder
from darkmatter.results.schema import Result
from darkmatter.runs.bench import Candidate, Family, family_of, identities, seen_beside
from darkmatter.runs.chosen import Chosen, Hooks, Identity
from darkmatter.runs.controls import ControlPolicy, matched_controls, matched_names
from darkmatter.runs.items import BaselineItem, Facts, SAEItem, check_size, hooks_of
from darkmatter.runs.job import Job
from darkmatter.runs.requirements import OF_MODELS, of_company, of_sae, of_store, unmet
from darkmatter.runs.writing import Draft
from darkmatter.sae.base import SAE
from darkmatter.sae.load import place

GUESSED_L0 = 64
"""Codes per token taken for the size of scratch files where an SAE does not say."""


@dataclass(frozen=True)
class PlannedResult:
    """One result: ``action`` is make, reuse, skip or fail; evaluator ``all`` where all share its fate."""

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


def plan_job(job: Job, out: Path, *, recompute: bool = False) -> Plan:
    """The plan of a job whose results would go to ``out``."""
    source = _source(job)
    found: list[StoredResult] = []
    problems: list[Problem] = []
    if out.is_dir():
        found, problems = read_folder(out)
    planner = _Planner(job, source, [entry.result for entry in found], recompute)
    plan = Plan(source.account, planner.results(), _needs(job, source.account))
    if problems:
        plan.needs["damaged results"] = f"{len(problems)} files in {out} would be set aside and made again"
    return plan


@dataclass(frozen=True)
class _Source:
    """What is known of the activations before they are there.

    ``dims`` has the features per hook point as far as they are known; ``has`` is what evaluators
    may need and find.
    """

    account: dict[str, Any]
    hooks: tuple[str, ...]
    dims: dict[str, int]
    has: frozenset[Requirement]

    @property
    def raw_hook(self) -> str | None:
        """The only hook point of raw activations; None for those of a model."""
        return RAW_HOOK if RAW_HOOK in self.hooks else None


def _source(job: Job) -> _Source:
    if job.suite.activations is not None:
        store = job.open_store()
        account = {
            "source": job.suite.activations,
            "key": store.key,
            "cached": True,
            "tokens": store.n_contexts * store.n_positions,
            "positions": store.n_positions,
            "defaults": [store.default_skip_first, store.default_skip_last],
        }
        dims = {hook: store.dim(hook) for hook in store.hooks}
        return _Source(account, store.hooks, dims, of_store(store))
    assert job.suite.model is not None
    name = job.suite.model.provider or "transformer_lens"
    source = job.host.sources().get(name)
    if source is None or source.plan is None:
        message = f"the activation source {name!r} cannot be planned for; `darkmatter run` can use it."
        raise UsageError(message)
    account = dict(import_named(source.plan, name)(job.request()))
    return _Source(account, job.hooks(), {}, OF_MODELS)


@dataclass
class _Admitted:
    """An SAE at its hook points, as the engine would take it, or why it would fail."""

    item: SAEItem
    sae: SAE | None = None
    hooks: Hooks = ("", "")
    failure: str = ""

    @property
    def candidate(self) -> Candidate:
        """The SAE as the engine would have it."""
        item, sae = self.item, self.sae
        assert sae is not None
        stated = sae.overrides.given()
        draft = Draft(item.name, item.reference, item.adapter, item.is_control, (), stated)
        return Candidate(draft, item.load, Facts.of(sae), self.hooks, sae.fingerprint or "")


@dataclass
class _Planner:
    """Follows the engine's steps without reading an activation; ``stored`` are the results that are there."""

    job: Job
    source: _Source
    stored: Sequence[Result]
    recompute: bool
    _bench: list[Candidate] = field(default_factory=list)

    @cached_property
    def _analysis(self) -> dict[str, Any]:
        """What a result records of rows, split and arithmetic."""
        return self.job.suite.analysis.resolved(*self.source.account["defaults"]).record()

    @cached_property
    def _present(self) -> dict[tuple[str, str], Result]:
        """The results that a run would find, by key and name."""
        return {(result.key, result.sae.name): result for result in self.stored if result.is_final}

    @cached_property
    def _dims(self) -> dict[str, int]:
        """Features per hook point, as far as the source or results over the same activations tell."""
        same = [r.sae for r in self._present.values() if r.cache.get("key") == self.source.account["key"]]
        return {**{sae.hook: sae.d_in for sae in same if sae.hook in self.source.hooks}, **self.source.dims}

    def results(self) -> list[PlannedResult]:
        """What would become of every result, in the order of a run."""
        admitted = [self._admit(item) for item in self.job.items]
        self._bench = [each.candidate for each in admitted if each.sae is not None]
        doubts = self._doubts(admitted)
        planned: list[PlannedResult] = []
        for each in admitted:
            if each.failure:
                planned.append(PlannedResult(each.item.name, "all", "fail", each.failure))
                continue
            doubt = doubts.get(each.hooks[0], "")
            measuring = self._measuring(each.item.name)
            planned += [self._of_sae(each, chosen, doubt) for chosen in measuring]
        planned += self._of_baselines([each for each in admitted if not each.failure])
        return planned + list(self._of_families())

    def _measuring(self, name: str, *, control: bool = False) -> list[Chosen]:
        """The evaluators that speak of one SAE (one control)."""
        return [each for each in self.job.chosen if each.measures(name, control=control)]

    def _of_families(self) -> Iterator[PlannedResult]:
        """The evaluators that speak of all SAEs of a hook point."""
        for hooks in dict.fromkeys(each.hooks for each in self._bench):
            for chosen in self.job.chosen:
                if chosen.evaluator.scope == "family":
                    family = Family(chosen, hooks, family_of(hooks, self._bench))
                    known = all(each.fingerprint for each in family.members)
                    fingerprint = family.fingerprint if known else None
                    assert family.speaker is not None
                    has = self.source.has | of_sae(family.speaker.facts)
                    yield self._one(family.draft.name, chosen, fingerprint, hooks, has)

    # -- SAEs -----------------------------------------------------------------------------------

    def _admit(self, item: SAEItem) -> _Admitted:
        analysis = self.job.suite.analysis
        try:
            import torch

            sae = item.load()
            sae = place(sae, analysis.device, getattr(torch, sae.overrides.dtype or analysis.dtype))
            hooks = hooks_of(sae, item, dict.fromkeys(self.source.hooks, 0), self.source.raw_hook)
            if hooks[1] not in self.source.hooks:
                message = f"predicts other activations than it reads, and there is no tensor {TARGET_HOOK!r}"
                raise ItemError(message)
            # What is not known is taken to fit.
            check_size(sae, hooks, {hooks[1]: sae.d_out, hooks[0]: sae.d_in, **self._dims})
        except DarkmatterError as error:
            return _Admitted(item, failure=str(error))
        return _Admitted(item, sae, hooks)

    def _doubts(self, admitted: Sequence[_Admitted]) -> dict[str, str]:
        """By hook point: that SAEs of different sizes cannot all be made for it."""
        sizes: dict[str, set[int]] = {}
        for each in admitted:
            if each.sae is not None:
                sizes.setdefault(each.hooks[0], set()).add(each.sae.d_in)
        return {
            hook: f"the SAEs at {hook!r} have d_in {' and '.join(map(str, sorted(found)))}; only those fit "
            "that are as wide as the model, the others will fail"
            for hook, found in sizes.items()
            if len(found) > 1
        }

    def _of_sae(self, admitted: _Admitted, chosen: Chosen, doubt: str) -> PlannedResult:
        item, sae = admitted.item, admitted.sae
        assert sae is not None
        has = self.source.has | of_sae(Facts.of(sae))
        return self._one(item.name, chosen, sae.fingerprint, admitted.hooks, has, doubt, sae.overrides.dtype)

    def _one(
        self,
        name: str,
        chosen: Chosen,
        fingerprint: str | None,
        hooks: Hooks,
        has: frozenset[Requirement],
        doubt: str = "",
        dtype: str | None = None,
    ) -> PlannedResult:
        """One result of an SAE or control that can be evaluated."""
        evaluator = chosen.evaluator.name
        needs = unmet(chosen.evaluator, has | of_company(chosen, hooks, name, self._bench))
        if needs:
            return PlannedResult(name, evaluator, "skip", needs)
        if fingerprint is None:
            return PlannedResult(name, evaluator, "make", doubt or "functions are never reused")
        beside = seen_beside(chosen, hooks, name, self._bench)
        if not all(each.fingerprint for each in beside):
            return PlannedResult(name, evaluator, "make", doubt or "it looks at functions: never reused")
        key = self._key(chosen, fingerprint, hooks, dtype, identities(beside))
        stored = self._present.get((key, name))
        if stored is None or self.recompute:
            return PlannedResult(name, evaluator, "make", doubt or f"key {key[:12]}")
        if stored.status == "skipped":
            return PlannedResult(name, evaluator, "skip", stored.reason or "")
        return PlannedResult(name, evaluator, "reuse", f"key {key[:12]} is there")

    def _key(
        self,
        chosen: Chosen,
        fingerprint: str,
        hooks: Hooks,
        dtype: str | None = None,
        beside: Sequence[Identity] = (),
    ) -> str:
        return chosen.key(fingerprint, hooks, self.source.account["key"], self._analysis, dtype, beside)

    # -- baselines and controls -----------------------------------------------------------------

    def _of_baselines(self, admitted: Sequence[_Admitted]) -> Iterator[PlannedResult]:
        """Baselines and automatic controls at every hook point that SAEs use, as the engine does it."""
        used = sorted({each.hooks for each in admitted})
        used = used or [(hook, hook) for hook in self.source.hooks if hook != TARGET_HOOK]
        for hook in dict.fromkeys(read for read, predicted in used if read == predicted):
            several = len(self.source.hooks) > 1
            l0s = self._l0s([each for each in admitted if each.hooks == (hook, hook)])
            for item in [*self.job.baselines, *self._controls(admitted, hook, l0s or [])]:
                if item.fits(hook):
                    yield from self._of_baseline(item, item.name_at(hook, several=several), (hook, hook))
            if l0s is None and self.job.suite.controls:
                reason = "at the SAEs' L0, which is known when they have been encoded"
                for name in matched_names(self.job.host):
                    label = f"{name}-k…@{hook}" if several else f"{name}-k…"
                    yield PlannedResult(label, "all", "make", reason)

    def _l0s(self, admitted: Sequence[_Admitted]) -> list[float] | None:
        """The L0 of each SAE of a hook point; None unless all are on record."""
        found = []
        for each in admitted:
            assert each.sae is not None
            name, keys = each.item.name, []
            for chosen in self._measuring(name):
                beside = identities(seen_beside(chosen, each.hooks, name, self._bench))
                dtype = each.sae.overrides.dtype
                keys.append(self._key(chosen, each.sae.fingerprint or "", each.hooks, dtype, beside))
            stored = [self._present.get((key, name)) for key in keys]
            known = [result.sae.l0 for result in stored if result and result.sae.l0 is not None]
            if not known:
                return None
            found.append(known[0])
        return found

    def _controls(self, admitted: Sequence[_Admitted], hook: str, l0s: Sequence[float]) -> list[BaselineItem]:
        sizes = [each.sae.d_in for each in admitted if each.sae is not None and each.hooks[0] == hook]
        d = self._dims.get(hook) or max(sizes, default=1)
        policy, names = ControlPolicy(self.job.suite.controls), set(self.job.suite.saes)
        return matched_controls(policy, self.job.host, l0s, d, self.job.baselines, names)

    def _of_baseline(self, item: BaselineItem, name: str, hooks: Hooks) -> list[PlannedResult]:
        rows = {key: self._analysis[key] for key in ("split", "skip_first", "skip_last", "seed")}
        recipe = item.recipe(self.source.account["key"], hooks, rows)
        # What a control has is known when it is fitted; the built-in ones have a decoder and reconstruct.
        has = self.source.has | {Requirement.DECODER, Requirement.RECONSTRUCTION}
        measuring = self._measuring(name, control=True)
        return [self._one(name, chosen, recipe, hooks, has) for chosen in measuring]


def _needs(job: Job, activations: Mapping[str, Any]) -> dict[str, str]:
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
