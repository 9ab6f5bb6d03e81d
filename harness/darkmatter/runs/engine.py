"""Evaluate SAEs over one activation store: the heart of every run.

For each pair of hook points: what is already on disk is reused; the rest shares one pass over the
inputs and one encoding pass per group of SAEs; each (SAE, evaluator) gives one result, written as
soon as it is there. An item that fails becomes a failed result, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from darkmatter.activations import RAW_HOOK, TARGET_HOOK, ActivationStore
from darkmatter.descriptors import Evaluator, Requirement
from darkmatter.errors import DarkmatterError, is_out_of_room
from darkmatter.evaluation import CollectorSpec, EvalContext, EvaluatorImplementation, PassInfo
from darkmatter.events import RunFinished, RunStarted
from darkmatter.output import EvalOutput
from darkmatter.results.collection import ResultSet
from darkmatter.results.reading import StoredResult
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.baselines import StreamFitData
from darkmatter.runs.context import Context
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
class Candidate:
    """An SAE at its hook points with the results that are still to be made; loaded when its turn comes."""

    draft: Draft
    load: Callable[[], SAE]
    facts: Facts
    hooks: Hooks
    fingerprint: str
    wanted: list[Chosen]
    evaluators: list[EvaluatorImplementation] = field(default_factory=list)


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

    def run(
        self, items: Sequence[SAEItem], baselines: Sequence[BaselineItem], controls: ControlPolicy
    ) -> ResultSet:
        """Evaluate all items, then the baselines at every hook point that was used."""
        if self.scratch_parent is not None:
            sweep_scratch(self.scratch_parent)
        recorder = self.recorder
        recorder.plugins.emit(RunStarted((len(items) + len(baselines)) * len(recorder.evaluators)))
        with one_thread_each():
            self._evaluate([c for item in items if (c := self._admit(item)) is not None])
            self._evaluate_baselines(baselines, controls, taken=[item.name for item in items])
        made = len(recorder.done) - recorder.reused
        recorder.plugins.emit(RunFinished(made=made, reused=recorder.reused, failed=len(recorder.failures)))
        return ResultSet(recorder.done)

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

        if sae.fingerprint is None:  # functions are known only by what they will have done
            self.recorder.assumed[draft.name] = draft.assumptions
            return Candidate(draft, load, Facts.of(sae), hooks, "", list(self.recorder.evaluators))
        wanted = self.recorder.wanted(draft, sae.fingerprint, hooks)
        return Candidate(draft, load, Facts.of(sae), hooks, sae.fingerprint, wanted) if wanted else None

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

    def _evaluate(self, candidates: Sequence[Candidate]) -> None:
        for group in _groups(candidates, GROUP_BYTES):
            with scratch_folder(self.scratch_parent) as scratch:
                try:
                    self._evaluate_group(group, scratch)
                except DarkmatterError as error:  # activations that cannot be used cost this hook point
                    for candidate in group:
                        self.recorder.fail(candidate.draft, str(error))

    def _evaluate_group(self, group: Sequence[Candidate], scratch: Path) -> None:
        hooks = group[0].hooks
        started = time.perf_counter()
        inputs, settings = self.inputs(hooks), self._settings(hooks)
        work = {}
        for candidate in group:
            sae = candidate.load()
            work[candidate.draft.name] = (sae, self._info(sae, inputs), self._specs(candidate, sae))
        label = f"encoding {len(work)} SAE{'s' if len(work) > 1 else ''} at {hooks[0]}"
        with self.recorder.progress.step(label, len(self.store.shards()), "shards") as advance:
            encoded = encode_all(settings, work, scratch, advance)
        seconds = (time.perf_counter() - started) / len(group)
        total = sum(len(candidate.wanted) for candidate in group)
        with self.recorder.progress.step("evaluating", total, "results") as advance:
            finished = 0
            for candidate in group:
                self._finish(candidate, encoded[candidate.draft.name], settings, seconds)
                finished += len(candidate.wanted)
                advance(finished, total)

    def _specs(self, candidate: Candidate, sae: SAE) -> list[CollectorSpec]:
        """The collectors that an SAE's evaluators want, each once; who cannot say has failed.

        Those of an evaluator that will be skipped stay at home.
        """
        specs: dict[CollectorSpec, None] = {}
        for chosen in candidate.wanted:
            try:
                made = chosen.evaluator.resolve()(chosen.config)
                if not self._missing(chosen.evaluator, sae):
                    specs.update(dict.fromkeys(made.collectors()))
            except Exception as error:  # noqa: BLE001 - an evaluator may raise anything
                made = Broken(error)
            candidate.evaluators.append(made)
        return list(specs)

    def _info(self, sae: SAE, inputs: InputStatistics) -> PassInfo:
        return PassInfo(sae.d_in, sae.d_out, sae.d_sae, self.selection.n_units, inputs)

    def _finish(
        self, candidate: Candidate, encoded: Encoded, settings: StreamSettings, seconds: float
    ) -> None:
        """Write one result per wanted evaluator, whatever happens."""
        if encoded.failure is not None:
            self.recorder.fail(candidate.draft, str(encoded.failure))
            return
        fingerprint = candidate.fingerprint or encoded.behaviour
        for chosen, evaluator in zip(candidate.wanted, candidate.evaluators, strict=True):
            started = time.perf_counter()
            key = self.recorder.key(chosen, fingerprint, candidate.hooks, candidate.draft.dtype)
            draft = candidate.draft.of(encoded.sae, candidate.hooks, fingerprint, encoded.l0, key, chosen)
            made = self._one(draft, evaluator, encoded, settings)
            timings = {"shared_pass_s": seconds, "evaluator_s": time.perf_counter() - started}
            self.recorder.write(made, chosen, candidate.hooks, timings)

    def _one(
        self,
        draft: ResultDraft,
        evaluator: EvaluatorImplementation,
        encoded: Encoded,
        settings: StreamSettings,
    ) -> StoredResult:
        descriptor = draft.chosen.evaluator
        missing = self._missing(descriptor, encoded.sae)
        if missing:
            return skipped_result(draft, f"needs {missing}")
        resampler = Resampler(self.selection.n_units, self.analysis.seed, unit=self.selection.unit_kind)
        context = Context(
            draft.name, settings.hooks[0], self.analysis.seed, descriptor, settings, encoded, resampler
        )
        try:
            return finished_result(draft, evaluator.run(context), self.selection)
        except Exception as error:
            if is_out_of_room(error):
                raise
            reason = f"{type(error).__name__}: {error}"
            name = f"{draft.name} / {descriptor.name}"
            self.recorder.announce(name, reason, is_control=draft.sae.is_control)
            return failed_result(draft, reason)

    def _missing(self, evaluator: Evaluator, sae: SAE) -> str:
        """What an evaluator needs and this run does not have, in words; empty if nothing."""
        have = {
            Requirement.TOKENS: self.store.tokens() is not None,
            Requirement.LOSS: self.store.loss() is not None,
            Requirement.LABELS: self.store.labels() is not None,
            Requirement.DECODER: sae.W_dec is not None,
            Requirement.RECONSTRUCTION: sae.reconstructs,
        }
        return ", ".join(sorted(need.value for need in evaluator.requires if not have.get(need, False)))

    # -- baselines ------------------------------------------------------------------------------

    def _evaluate_baselines(
        self, baselines: Sequence[BaselineItem], controls: ControlPolicy, *, taken: Sequence[str]
    ) -> None:
        """The baselines at every hook point that was used and is its own target.

        A baseline reconstructs its input; where only other targets are predicted it is skipped, in a
        row that says so.
        """
        # What was used, reused results included: a resumed run must not lose or rename a control.
        used = sorted(self._used) or [(hook, hook) for hook in self.store.hooks]
        raw_targets = TARGET_HOOK in self.store.hooks
        own = [hook for hook in dict.fromkeys(h[0] for h in used if h[0] == h[1]) if not raw_targets]
        several = len(self.store.hooks) > 1
        for hook in own:
            hooks, recorder = (hook, hook), self.recorder
            l0s, d = recorder.l0.get(hooks, []), self.store.dim(hook)
            matched = matched_controls(controls, recorder.plugins, l0s, d, baselines, taken)
            admitted = [self._admit_baseline(i, hooks, several=several) for i in [*baselines, *matched]]
            self._evaluate([candidate for candidate in admitted if candidate is not None])
        for item in [] if own else baselines:
            draft = Draft(item.name, item.reference, item.qualified, item.is_control, ())
            self.recorder.skip(draft, "needs a hook point that is its own target: it reconstructs its input")

    def _admit_baseline(self, item: BaselineItem, hooks: Hooks, *, several: bool) -> Candidate | None:
        """Fit one control, unless all its results are there."""
        name = f"{item.name}@{hooks[0]}" if several else item.name
        rows = {key: self.recorder.analysis[key] for key in ("split", "skip_first", "skip_last", "seed")}
        recipe = item.recipe(self.store.key, hooks, rows)
        draft = Draft(name, item.reference, item.qualified, item.is_control, ())
        wanted = self.recorder.wanted(draft, recipe, hooks)
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


class Broken:
    """Stands for an evaluator that could not be made; running it raises why."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def collectors(self) -> Sequence[CollectorSpec]:
        """None."""
        return ()

    def run(self, ctx: EvalContext) -> EvalOutput:  # noqa: ARG002 - the protocol's
        """Raise what went wrong when it was made."""
        raise self._error


def _groups(candidates: Sequence[Candidate], limit: int) -> Iterator[list[Candidate]]:
    """SAEs of one pair of hook points whose weights together stay below ``limit`` bytes (or one)."""
    by_hooks: dict[Hooks, list[Candidate]] = {}
    for candidate in candidates:
        by_hooks.setdefault(candidate.hooks, []).append(candidate)
    for members in by_hooks.values():
        group: list[Candidate] = []
        size = 0
        for candidate in members:
            weight = candidate.facts.weight_bytes
            if group and size + weight > limit:
                yield group
                group, size = [], 0
            group.append(candidate)
            size += weight
        yield group
