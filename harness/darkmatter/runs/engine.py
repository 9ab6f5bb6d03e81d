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
from functools import cached_property
from pathlib import Path

import torch

from darkmatter.activations import RAW_HOOK, TARGET_HOOK, ActivationStore
from darkmatter.errors import DarkmatterError, is_out_of_room
from darkmatter.evaluation import CollectorSpec, PassInfo
from darkmatter.events import RunFinished, RunStarted
from darkmatter.results.collection import ResultSet
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.baselines import StreamFitData
from darkmatter.runs.bench import (
    Broken,
    Candidate,
    Family,
    family_of,
    identities,
    in_groups,
    is_late,
    looked_at,
    seen_beside,
    seen_by_controls,
)
from darkmatter.runs.chosen import Chosen, Hooks
from darkmatter.runs.controls import ControlPolicy, matched_controls
from darkmatter.runs.items import BaselineItem, Facts, SAEItem, check_size, hooks_of
from darkmatter.runs.measuring import Measuring
from darkmatter.runs.recorder import Recorder
from darkmatter.runs.scratch import scratch_folder, sweep_scratch
from darkmatter.runs.writing import Draft
from darkmatter.sae.base import SAE
from darkmatter.sae.load import place
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
    _kept: set[str] = field(default_factory=set)

    @cached_property
    def _measuring(self) -> Measuring:
        seed = self.analysis.seed
        return Measuring(self.store, self.selection, seed, self.recorder, self._settings, self._bench)

    def run(
        self, items: Sequence[SAEItem], baselines: Sequence[BaselineItem], controls: ControlPolicy
    ) -> ResultSet:
        """Evaluate all items, then the baselines at every hook point that was used."""
        if self.scratch_parent is not None:
            sweep_scratch(self.scratch_parent)
        recorder = self.recorder
        recorder.listed = tuple(item.name for item in items)
        recorder.plugins.emit(RunStarted((len(items) + len(baselines)) * len(recorder.evaluators)))
        with one_thread_each(), scratch_folder(self.scratch_parent) as scratch:
            self._bench[:] = [c for item in items if (c := self._admit(item)) is not None]
            families = self._families()
            for each in self._bench:
                each.wanted = self._wanted(each.draft, each.fingerprint, each.hooks)
            awaited = self._kept = looked_at(self._bench, self._bench, families)
            if baselines or controls.automatic:  # which results on controls are missing is known later
                self._kept = awaited | seen_by_controls(recorder.evaluators, self._own_hooks(), self._bench)
            self._evaluate([each for each in self._bench if each.wanted or each.name in awaited], scratch)
            names = [item.name for item in items]
            fitted = self._evaluate_baselines(baselines, controls, names, scratch)
            self._kept = looked_at([*self._bench, *fitted], self._bench, families)
            self._let_go(self._bench)
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
        wanted, usable = [], [each for each in self._bench if not each.failed]
        for chosen in self.recorder.evaluators:
            if not chosen.measures(draft.name, control=draft.is_control):
                continue
            beside = seen_beside(chosen, hooks, draft.name, usable)
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
            started = time.perf_counter()
            try:
                self._encode(group, scratch)
            except DarkmatterError as error:  # activations that cannot be used cost this hook point
                for candidate in group:
                    if not candidate.failed:
                        self._fail(candidate, error)
            self._finish_group(group, (time.perf_counter() - started) / len(group))

    def _encode(self, group: Sequence[Candidate], scratch: Path) -> None:
        """The pass that a group shares; an SAE that cannot be loaded or that fails costs itself alone."""
        hooks = group[0].hooks
        inputs, settings = self.inputs(hooks), self._settings(hooks)
        work = {}
        for candidate in group:
            try:
                sae = candidate.load()
            except DarkmatterError as error:
                self._fail(candidate, error)
                continue
            candidate.encoded = Encoded(candidate.load, self._info(sae, inputs), _sae=sae)
            work[candidate.name] = (candidate.encoded, self._specs(candidate))
        if not work:
            return
        label = f"encoding {len(work)} SAE{'s' if len(work) > 1 else ''} at {hooks[0]}"
        with self.recorder.progress.step(label, len(self.store.shards()), "shards") as advance:
            encode_all(settings, work, Path(tempfile.mkdtemp(dir=scratch)), advance)
        for candidate in group:
            if candidate.encoded is not None and candidate.encoded.failure is not None:
                self._fail(candidate, candidate.encoded.failure)
            elif candidate.encoded is not None and not candidate.draft.is_control:
                self.recorder.l0.setdefault(hooks, {})[candidate.name] = candidate.encoded.l0

    def _fail(self, candidate: Candidate, error: DarkmatterError) -> None:
        """One SAE is out: each result that was still wanted of it has failed; those that are there stand."""
        candidate.failed = True
        self.recorder.fail(candidate.draft, str(error), candidate.wanted)
        candidate.wanted.clear()

    def _finish_group(self, group: Sequence[Candidate], seconds: float) -> None:
        """Write one result per wanted evaluator that needs no other SAE, and let go of what has served."""
        total = sum(len(self._now(candidate)) for candidate in group)
        with self.recorder.progress.step("evaluating", total, "results") as advance:
            finished = 0
            for candidate in group:
                for chosen in self._now(candidate):
                    self._measuring.sae(candidate, chosen, {"shared_pass_s": seconds})
                finished += len(self._now(candidate))
                advance(finished, total)
                self._let_go([candidate])
        if sum(each.facts.weight_bytes for each in self._bench) > GROUP_BYTES:
            for candidate in group:
                if candidate.encoded is not None:
                    candidate.encoded.release()

    def _let_go(self, candidates: Sequence[Candidate]) -> None:
        """Drop what was encoded and at which no result that is still to be made will look."""
        for candidate in candidates:
            if candidate.encoded is not None and (candidate.name not in self._kept or not candidate.usable):
                candidate.encoded.drop()

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
                if not self._measuring.unmet(chosen, candidate):
                    specs.update(dict.fromkeys(made.collectors()))
            except Exception as error:  # noqa: BLE001 - an evaluator may raise anything
                made = Broken(error)
            candidate.evaluators[chosen.evaluator.name] = made
        return list(specs)

    def _info(self, sae: SAE, inputs: InputStatistics) -> PassInfo:
        return PassInfo(sae.d_in, sae.d_out, sae.d_sae, self.selection.n_units, inputs)

    def _evaluate_late(self, candidates: Sequence[Candidate]) -> None:
        """The results for which SAEs must have been encoded that come after the one they speak of."""
        work = [(each, chosen) for each in candidates for chosen in each.wanted if is_late(chosen.evaluator)]
        with self.recorder.progress.step("evaluating SAEs side by side", len(work), "results") as advance:
            for done, (candidate, chosen) in enumerate(work, start=1):
                if candidate.usable:
                    self._measuring.sae(candidate, chosen, {})
                advance(done, len(work))

    # -- baselines ------------------------------------------------------------------------------

    def _evaluate_baselines(
        self,
        baselines: Sequence[BaselineItem],
        controls: ControlPolicy,
        taken: Sequence[str],
        scratch: Path,
    ) -> list[Candidate]:
        """The baselines at every hook point of their own; returns those of which late results are wanted.

        A baseline reconstructs its input; where only other targets are predicted it is skipped, in a
        row that says so.
        """
        several, evaluated, own = len(self.store.hooks) > 1, [], self._own_hooks()
        for hooks in own:
            hook, recorder = hooks[0], self.recorder
            l0s, d = list(recorder.l0.get(hooks, {}).values()), self.store.dim(hook)
            matched = matched_controls(controls, recorder.plugins, l0s, d, baselines, taken)
            here = [item for item in [*baselines, *matched] if item.fits(hook)]
            admitted = [self._admit_baseline(item, hooks, several=several) for item in here]
            fitted = [candidate for candidate in admitted if candidate is not None]
            seen = looked_at(fitted, self._bench, ())
            self._kept |= seen
            # SAEs whose own results were all there, at which a control's missing result looks.
            waiting = [each for each in self._bench if each.encoded is None and not each.failed]
            self._evaluate([each for each in waiting if each.name in seen], scratch)
            self._evaluate(fitted, scratch)
            # Of the others nothing is left to do, and what they were fitted to need not be kept.
            evaluated += [each for each in fitted if each.name in self._kept]
        for item in [each for each in baselines if not any(each.fits(hook) for hook, _ in own)]:
            draft = Draft(item.name, item.reference, item.qualified, item.is_control, ())
            self.recorder.skip(draft, item.unfit)
        return evaluated

    def _own_hooks(self) -> list[Hooks]:
        """The hook points that were used and are their own targets: where baselines can be evaluated.

        Reused results count as use: a resumed run must not lose or rename a control.
        """
        if TARGET_HOOK in self.store.hooks:
            return []
        used = sorted(self._used) or [(hook, hook) for hook in self.store.hooks]
        return list(dict.fromkeys((read, read) for read, predicted in used if read == predicted))

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
            self.recorder.fail(draft, str(error), wanted)
            return None
        except Exception as error:
            if is_out_of_room(error):
                raise
            self.recorder.fail(draft, f"{type(error).__name__}: {error}", wanted)
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
                self._measuring.family(family)
                advance(done, len(families))
