"""Evaluate SAEs over one activation store: the heart of every run.

For each pair of hook points: what is already on disk is reused; the rest shares one pass over the
inputs and one encoding pass per group of SAEs; each (SAE, evaluator) gives one result, written as
soon as it is there. An item that fails becomes a failed result, and the others go on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from darkmatter.activations import RAW_HOOK, TARGET_HOOK, ActivationStore
from darkmatter.descriptors import Requirement
from darkmatter.errors import DarkmatterError, is_out_of_room
from darkmatter.evaluation import CollectorSpec, EvaluatorImplementation, PassInfo
from darkmatter.events import RunFinished, RunStarted
from darkmatter.results.collection import ResultSet
from darkmatter.results.reading import StoredResult
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.baselines import StreamFitData
from darkmatter.runs.bench import (
    Broken,
    Candidate,
    Family,
    company,
    family_of,
    identities,
    in_groups,
    is_late,
    needed,
    seen_beside,
)
from darkmatter.runs.context import Context, Shared, Surroundings
from darkmatter.runs.controls import ControlPolicy, matched_controls
from darkmatter.runs.items import BaselineItem, Facts, SAEItem, check_size, hooks_of
from darkmatter.runs.recorder import Chosen, Hooks, Recorder
from darkmatter.runs.scratch import scratch_folder, sweep_scratch
from darkmatter.runs.writing import Draft, ResultDraft, failed_result, finished_result, skipped_result
from darkmatter.sae.base import SAE
from darkmatter.sae.load import place
from darkmatter.stats.resample import Resampler
from darkmatter.stream.chunk import RowSelection
from darkmatter.stream.inputs import InputStatistics, input_statistics
from darkmatter.stream.passes import Encoded, StreamSettings, encode_all
from darkmatter.stream.shards import one_thread_each

GROUP_BYTES = 8 << 30
"""SAEs whose weights fit together into so much memory share one encoding pass."""


@dataclass
class Engine:
    """Evaluates items over one store; ``recorder`` holds what came of it."""

    store: ActivationStore
    selection: RowSelection
    analysis: Analysis
    recorder: Recorder
    jobs: int
    scratch_parent: Path | None
    _inputs: dict[Hooks, InputStatistics] = field(default_factory=dict)
    _used: dict[Hooks, None] = field(default_factory=dict)
    _bench: list[Candidate] = field(default_factory=list)
    _shared: Shared = field(default_factory=Shared)

    def run(
        self, items: Sequence[SAEItem], baselines: Sequence[BaselineItem], controls: ControlPolicy
    ) -> ResultSet:
        """Evaluate all items, then the baselines at every hook point that was used."""
        if self.scratch_parent is not None:
            sweep_scratch(self.scratch_parent)
        recorder = self.recorder
        recorder.plugins.emit(RunStarted((len(items) + len(baselines)) * len(recorder.evaluators)))
        with one_thread_each(), scratch_folder(self.scratch_parent) as scratch:
            self._bench = [c for item in items if (c := self._admit(item)) is not None]
            families = self._families()
            for each in self._bench:
                each.wanted = self._wanted(each.draft, each.fingerprint, each.hooks)
            self._evaluate(needed(self._bench, families), scratch)
            names = [item.name for item in items]
            fitted = self._evaluate_baselines(baselines, controls, names, scratch)
            self._evaluate_late([*self._bench, *fitted])
            self._evaluate_families(families)
        made = len(recorder.done) - recorder.reused
        recorder.plugins.emit(RunFinished(made=made, reused=recorder.reused, failed=len(recorder.failures)))
        return ResultSet(recorder.in_order())

    # -- what is to be done ---------------------------------------------------------------------

    def _admit(self, item: SAEItem) -> Candidate | None:
        """Load one SAE and look up its results; one that cannot be used becomes a failure."""
        draft = Draft(item.name, item.reference, item.adapter, item.is_control, ())
        try:
            sae, own = self._placed(item.load())
            dims = {hook: self.store.dim(hook) for hook in self.store.hooks}
            hooks = hooks_of(sae, item, dims, RAW_HOOK if RAW_HOOK in dims else None)
            check_size(sae, hooks, dims)
        except DarkmatterError as error:
            self.recorder.fail(draft, str(error))
            return None
        self._used[hooks] = None
        draft = replace(
            draft, assumptions=(*sae.assumptions, *own, *item.notes), overrides=sae.overrides.given()
        )

        def load() -> SAE:
            return self._placed(item.load())[0]

        self.recorder.assumed[draft.name] = draft.assumptions
        return Candidate(draft, load, Facts.of(sae), hooks, sae.fingerprint or "")

    def _wanted(self, draft: Draft, fingerprint: str, hooks: Hooks) -> list[Chosen]:
        """The evaluators of one SAE whose results are still to be made; the others are reused.

        Where it or an SAE that shapes its result is a function, nothing can be reused: what functions
        do is known only when they have been called.
        """
        wanted = []
        for chosen in self.recorder.evaluators:
            if not chosen.measures(draft.name, control=draft.is_control):
                continue
            beside = seen_beside(chosen, hooks, draft.name, self._bench)
            known = fingerprint and all(each.fingerprint for each in beside)
            if not known or not self.recorder.reuse(draft, chosen, fingerprint, hooks, identities(beside)):
                wanted.append(chosen)
        return wanted

    def _placed(self, sae: SAE) -> tuple[SAE, tuple[str, ...]]:
        """The SAE where and how this run encodes, and what to say if it cannot be moved there."""
        wanted = (self.analysis.device, sae.overrides.dtype or self.analysis.dtype)
        if not hasattr(sae, "to") and wanted != ("cpu", "float32"):
            return sae, (f"computes in its own arithmetic; device and dtype {wanted} do not apply to it",)
        return place(sae, wanted[0], getattr(torch, wanted[1])), ()

    # -- the passes -----------------------------------------------------------------------------

    def _settings(self, hooks: Hooks) -> StreamSettings:
        device = torch.device(self.analysis.device)
        jobs = self.jobs if device.type == "cpu" else 1
        return StreamSettings(self.store, hooks, self.selection, self.analysis.chunk_rows, jobs, device)

    def inputs(self, hooks: Hooks) -> InputStatistics:
        """The statistics of x and target at a pair of hook points, made once per run."""
        if hooks not in self._inputs:
            settings = self._settings(hooks)
            step = self.recorder.progress.step(f"reading {hooks[0]}", len(self.store.shards()), "shards")
            with step as advance:
                self._inputs[hooks] = input_statistics(
                    self.store,
                    hooks,
                    self.selection,
                    chunk_rows=settings.chunk_rows,
                    jobs=settings.jobs,
                    device=settings.device,
                    progress=advance,
                )
        return self._inputs[hooks]

    def _evaluate(self, candidates: Sequence[Candidate], scratch: Path) -> None:
        """Encode candidates and make the results for which each SAE is enough."""
        for group in in_groups(candidates, GROUP_BYTES):
            try:
                self._evaluate_group(group, scratch)
            except DarkmatterError as error:  # activations that cannot be used cost this hook point
                for candidate in group:
                    self.recorder.fail(candidate.draft, str(error))
                    candidate.wanted.clear()

    def _evaluate_group(self, group: Sequence[Candidate], scratch: Path) -> None:
        hooks = group[0].hooks
        started = time.perf_counter()
        inputs, settings = self.inputs(hooks), self._settings(hooks)
        work = {}
        for candidate in group:
            sae = candidate.load()
            candidate.encoded = Encoded(candidate.load, self._info(sae, inputs), _sae=sae)
            work[candidate.name] = (candidate.encoded, self._specs(candidate))
        label = f"encoding {len(work)} SAE{'s' if len(work) > 1 else ''} at {hooks[0]}"
        with self.recorder.progress.step(label, len(self.store.shards()), "shards") as advance:
            encode_all(settings, work, Path(tempfile.mkdtemp(dir=scratch)), advance)
        seconds = (time.perf_counter() - started) / len(group)
        total = sum(len(self._now(candidate)) for candidate in group)
        with self.recorder.progress.step("evaluating", total, "results") as advance:
            finished = 0
            for candidate in group:
                self._finish(candidate, seconds)
                finished += len(self._now(candidate))
                advance(finished, total)
        if sum(each.facts.weight_bytes for each in self._bench) > GROUP_BYTES:
            for candidate in group:
                assert candidate.encoded is not None
                candidate.encoded.release()

    def _now(self, candidate: Candidate) -> list[Chosen]:
        """The wanted evaluators that need no other SAE."""
        return [chosen for chosen in candidate.wanted if not is_late(chosen.evaluator)]

    def _specs(self, candidate: Candidate) -> list[CollectorSpec]:
        """The collectors that an SAE's evaluators want, each once; who cannot say has failed.

        Those of an evaluator that will be skipped stay at home.
        """
        specs: dict[CollectorSpec, None] = {}
        for chosen in candidate.wanted:
            try:
                made = chosen.evaluator.resolve()(chosen.config)
                if not self._missing(chosen, candidate):
                    specs.update(dict.fromkeys(made.collectors()))
            except Exception as error:  # noqa: BLE001 - an evaluator may raise anything
                made = Broken(error)
            candidate.evaluators[chosen.evaluator.name] = made
        return list(specs)

    def _info(self, sae: SAE, inputs: InputStatistics) -> PassInfo:
        return PassInfo(sae.d_in, sae.d_out, sae.d_sae, self.selection.n_units, inputs)

    def _finish(self, candidate: Candidate, seconds: float) -> None:
        """Write one result per wanted evaluator that needs no other SAE, whatever happens."""
        assert candidate.encoded is not None
        if candidate.encoded.failure is not None:
            self.recorder.fail(candidate.draft, str(candidate.encoded.failure))
            candidate.wanted.clear()
            return
        for chosen in self._now(candidate):
            self._result(candidate, chosen, {"shared_pass_s": seconds})

    def _evaluate_late(self, candidates: Sequence[Candidate]) -> None:
        """The results for which SAEs must have been encoded that come after the one they speak of."""
        work = [(each, chosen) for each in candidates for chosen in each.wanted if is_late(chosen.evaluator)]
        with self.recorder.progress.step("evaluating SAEs side by side", len(work), "results") as advance:
            for done, (candidate, chosen) in enumerate(work, start=1):
                if candidate.usable:
                    self._result(candidate, chosen, {})
                advance(done, len(work))

    def _result(self, candidate: Candidate, chosen: Chosen, timings: dict[str, float]) -> None:
        """One result on one SAE."""
        started, encoded = time.perf_counter(), candidate.encoded
        assert encoded is not None
        beside = seen_beside(chosen, candidate.hooks, candidate.name, self._bench)
        beside = [each for each in beside if each.usable]
        fingerprint = candidate.known_as
        key = self.recorder.key(
            chosen, fingerprint, candidate.hooks, candidate.draft.dtype, identities(beside)
        )
        draft = candidate.draft.of(encoded.sae, candidate.hooks, fingerprint, encoded.l0, key, chosen)
        made = self._one(draft, candidate, candidate.evaluators[chosen.evaluator.name], beside)
        took = {**timings, "evaluator_s": time.perf_counter() - started}
        self.recorder.write(made, chosen, candidate.hooks, took)

    def _one(
        self,
        draft: ResultDraft,
        candidate: Candidate,
        evaluator: EvaluatorImplementation,
        beside: Sequence[Candidate],
    ) -> StoredResult:
        descriptor = draft.chosen.evaluator
        missing = self._missing(draft.chosen, candidate)
        if missing:
            return skipped_result(draft, f"needs {missing}")
        resampler = Resampler(self.selection.n_units, self.analysis.seed, unit=self.selection.unit_kind)
        shared = self._shared.at(candidate.hooks)
        uses = draft.chosen.uses
        around = Surroundings(beside, self._settings, self.analysis.seed, resampler, uses, shared)
        context = Context(around.member(candidate), descriptor, around)
        try:
            return finished_result(draft, evaluator.run(context), self.selection)
        except Exception as error:
            if is_out_of_room(error):
                raise
            reason = f"{type(error).__name__}: {error}"
            name = f"{draft.name} / {descriptor.name}"
            self.recorder.announce(name, reason, is_control=draft.sae.is_control)
            return failed_result(draft, reason)

    def _missing(self, chosen: Chosen, candidate: Candidate) -> str:
        """What an evaluator needs and this run does not have, in words; empty if nothing.

        SAEs that are still to be encoded count as there.
        """
        assert candidate.encoded is not None
        sae = candidate.encoded.sae
        usable = [each for each in self._bench if each.encoded is None or each.usable]
        have = {
            **dict.fromkeys(company(chosen, candidate.hooks, candidate.name, usable), True),
            Requirement.MODEL: self.store.has_model,
            Requirement.TRAINING: True,
            Requirement.TOKENS: self.store.tokens() is not None,
            Requirement.LOSS: self.store.loss() is not None,
            Requirement.LABELS: self.store.labels() is not None,
            Requirement.LABELS_OR_MODEL: self.store.has_model or self.store.labels() is not None,
            Requirement.DECODER: sae.W_dec is not None,
            Requirement.RECONSTRUCTION: sae.reconstructs,
        }
        return ", ".join(sorted(chosen.evaluator.requires - {need for need, there in have.items() if there}))

    # -- baselines ------------------------------------------------------------------------------

    def _evaluate_baselines(
        self,
        baselines: Sequence[BaselineItem],
        controls: ControlPolicy,
        taken: Sequence[str],
        scratch: Path,
    ) -> list[Candidate]:
        """The baselines at every hook point that was used and is its own target; returns them.

        A baseline reconstructs its input; where only other targets are predicted it is skipped, in a
        row that says so.
        """
        # What was used, reused results included: a resumed run must not lose or rename a control.
        used = sorted(self._used) or [(hook, hook) for hook in self.store.hooks]
        raw_targets = TARGET_HOOK in self.store.hooks
        own = [hook for hook in dict.fromkeys(h[0] for h in used if h[0] == h[1]) if not raw_targets]
        several, evaluated = len(self.store.hooks) > 1, []
        for hook in own:
            hooks, recorder = (hook, hook), self.recorder
            l0s, d = recorder.l0.get(hooks, []), self.store.dim(hook)
            matched = matched_controls(controls, recorder.plugins, l0s, d, baselines, taken)
            here = [item for item in [*baselines, *matched] if item.fits(hook)]
            admitted = [self._admit_baseline(item, hooks, several=several) for item in here]
            fitted = [candidate for candidate in admitted if candidate is not None]
            self._evaluate(fitted, scratch)
            evaluated += fitted
        for item in [each for each in baselines if not any(each.fits(hook) for hook in own)]:
            draft = Draft(item.name, item.reference, item.qualified, item.is_control, ())
            self.recorder.skip(draft, item.unfit)
        return evaluated

    def _admit_baseline(self, item: BaselineItem, hooks: Hooks, *, several: bool) -> Candidate | None:
        """Fit one control, unless all its results are there."""
        name = item.name_at(hooks[0], several=several)
        rows = {key: self.recorder.analysis[key] for key in ("split", "skip_first", "skip_last", "seed")}
        recipe = item.recipe(self.store.key, hooks, rows)
        draft = Draft(name, item.reference, item.qualified, item.is_control, ())
        wanted = self._wanted(draft, recipe, hooks)
        if not wanted:
            return None
        try:
            inputs = self.inputs(hooks)
            data = StreamFitData(self.store, hooks[0], self.selection, self.analysis.seed, inputs)
            sae, own = self._placed(item.fit(data))
        except DarkmatterError as error:
            self.recorder.fail(draft, str(error))
            return None
        except Exception as error:
            if is_out_of_room(error):
                raise
            self.recorder.fail(draft, f"{type(error).__name__}: {error}")
            return None
        draft = replace(draft, assumptions=(*sae.assumptions, *own))
        self.recorder.assumed[name] = draft.assumptions
        return Candidate(draft, lambda: sae, Facts.of(sae), hooks, recipe, wanted)

    # -- families -------------------------------------------------------------------------------

    def _families(self) -> list[Family]:
        """The results of whole families that are still to be made."""
        found = []
        for hooks in dict.fromkeys(each.hooks for each in self._bench):
            members = family_of(hooks, self._bench)
            for chosen in self.recorder.evaluators:
                if chosen.evaluator.scope == "family":
                    family = Family(chosen, hooks, members)
                    known = all(each.fingerprint for each in members)
                    if not known or not self.recorder.reuse(family.draft, chosen, family.fingerprint, hooks):
                        found.append(family)
        return found

    def _evaluate_families(self, families: Sequence[Family]) -> None:
        with self.recorder.progress.step("evaluating families", len(families), "results") as advance:
            for done, family in enumerate(families, start=1):
                self._evaluate_family(family)
                advance(done, len(families))

    def _evaluate_family(self, family: Family) -> None:
        started = time.perf_counter()
        usable = replace(family, members=[each for each in family.members if each.usable])
        chosen = family.chosen
        key = self.recorder.key(chosen, usable.fingerprint, family.hooks)
        draft = usable.result_draft(key)
        if not usable.members:
            made = skipped_result(draft, "needs SAEs that can be evaluated")
        else:
            whole = [each for each in usable.members if each.facts.reconstructs]
            first = (whole or usable.members)[0]
            try:
                evaluator = chosen.evaluator.resolve()(chosen.config)
            except Exception as error:  # noqa: BLE001 - an evaluator may raise anything
                evaluator = Broken(error)
            beside = [each for each in usable.members if each is not first]
            made = self._one(draft, first, evaluator, beside)
        self.recorder.write(made, chosen, family.hooks, {"evaluator_s": time.perf_counter() - started})
