"""Evaluate SAEs over one activation store: the heart of every run.

For each pair of hook points: what is already on disk is reused; the rest shares one pass over the
inputs and one encoding pass per group of SAEs; each (SAE, evaluator) gives one result, written as
soon as it is there. An item that fails becomes a failed result, and the others go on.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from darkmatter.activations import RAW_HOOK, ActivationStore
from darkmatter.descriptors import Config, Evaluator, Requirement
from darkmatter.errors import DarkmatterError
from darkmatter.evaluation import CollectorSpec, PassInfo
from darkmatter.events import ItemFailed, ResultWritten, RunFinished, RunStarted
from darkmatter.plugins import Owned, PluginHost
from darkmatter.progress import Progress
from darkmatter.results.collection import ResultSet
from darkmatter.results.reading import StoredResult
from darkmatter.results.rows import ItemFailure
from darkmatter.results.store import ResultStore
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.baselines import StreamFitData
from darkmatter.runs.context import Context
from darkmatter.runs.controls import ControlPolicy, matched_controls
from darkmatter.runs.items import BaselineItem, SAEItem, check_size, hooks_of
from darkmatter.runs.keys import provenance, result_key
from darkmatter.runs.writing import Draft, ResultDraft, failed_result, finished_result, skipped_result
from darkmatter.sae.base import SAE
from darkmatter.stats.resample import Resampler
from darkmatter.stream.chunk import RowSelection
from darkmatter.stream.inputs import InputStatistics, input_statistics
from darkmatter.stream.passes import Encoded, StreamSettings, encode_all
from darkmatter.stream.shards import one_thread_each

GROUP_BYTES = 8 << 30
"""SAEs whose weights fit together into so much memory share one encoding pass."""

SCRATCH = "darkmatter-scratch-"

WARNING = "warning: "
"""A note of a result that begins so is also said at the end of the run."""


@dataclass(frozen=True)
class Chosen:
    """An evaluator with its configuration."""

    owned: Owned
    config: Config

    @property
    def evaluator(self) -> Evaluator:
        """Its descriptor."""
        assert isinstance(self.owned.descriptor, Evaluator)
        return self.owned.descriptor


@dataclass
class Candidate:
    """A loaded SAE at its hook points with the results that are still to be made."""

    draft: Draft
    sae: SAE
    hooks: tuple[str, str]
    fingerprint: str
    wanted: list[Chosen]


@dataclass
class Engine:
    """Everything that the evaluation of one store shares."""

    store: ActivationStore
    selection: RowSelection
    analysis: Analysis
    evaluators: Sequence[Chosen]
    plugins: PluginHost
    results: ResultStore | None
    jobs: int
    scratch_parent: Path | None
    progress: Progress
    recompute: bool = False
    done: list[StoredResult] = field(default_factory=list)
    failures: list[ItemFailure] = field(default_factory=list)
    reused: int = 0
    warnings: list[str] = field(default_factory=list)
    _inputs: dict[tuple[str, str], InputStatistics] = field(default_factory=dict)
    _l0: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def run(
        self, items: Sequence[SAEItem], baselines: Sequence[BaselineItem], controls: ControlPolicy
    ) -> ResultSet:
        """Evaluate all items, then the baselines at every hook point that was used."""
        if self.scratch_parent is not None:
            # What a killed run left behind; the results folder has no other writer now.
            for stale in self.scratch_parent.glob(f"{SCRATCH}*"):
                shutil.rmtree(stale, ignore_errors=True)
        with one_thread_each():
            return self._run(items, baselines, controls)

    def _run(
        self, items: Sequence[SAEItem], baselines: Sequence[BaselineItem], controls: ControlPolicy
    ) -> ResultSet:
        self.plugins.emit(RunStarted((len(items) + len(baselines)) * len(self.evaluators)))
        self._resampler = Resampler(self.selection.n_units, self.analysis.seed, unit=self.selection.unit_kind)
        by_hooks: dict[tuple[str, str], list[Candidate]] = {}
        for item in items:
            candidate = self._admit(item)
            if candidate is not None:
                by_hooks.setdefault(candidate.hooks, []).append(candidate)
        for candidates in by_hooks.values():
            self._evaluate(candidates)
        self._evaluate_baselines(sorted(by_hooks) or self._default_hooks(), baselines, controls)
        made = len(self.done) - self.reused
        self.plugins.emit(RunFinished(made=made, reused=self.reused, failed=len(self.failures)))
        return ResultSet(self.done)

    # -- what is to be done ---------------------------------------------------------------------

    def _admit(self, item: SAEItem) -> Candidate | None:
        """Load one SAE and look up its results; one that cannot be used becomes a failure."""
        try:
            if item.failure is not None:
                raise DarkmatterError(item.failure)  # noqa: TRY301 - one place reports all failures
            sae = item.load()
            dims = {hook: self.store.dim(hook) for hook in self.store.hooks}
            raw = RAW_HOOK if RAW_HOOK in dims else None
            hooks = hooks_of(sae, item, dims, raw)
            check_size(sae, hooks[0], dims[hooks[0]])
        except DarkmatterError as error:
            self._fail(item.name, item.reference, str(error), is_control=item.is_control)
            return None
        draft = Draft(
            item.name, item.reference, item.adapter, item.is_control, (*sae.assumptions, *item.notes)
        )
        return self._candidate(draft, sae, hooks, sae.fingerprint)

    def _candidate(
        self, draft: Draft, sae: SAE, hooks: tuple[str, str], fingerprint: str | None
    ) -> Candidate | None:
        """What is left to do for an SAE; an opaque one is known only after it has run."""
        if fingerprint is None:
            return Candidate(draft, sae, hooks, "", list(self.evaluators))
        wanted = [c for c in self.evaluators if not self._reuse(draft, c, fingerprint, hooks)]
        return Candidate(draft, sae, hooks, fingerprint, wanted) if wanted else None

    def _key(self, chosen: Chosen, fingerprint: str, hooks: tuple[str, str]) -> str:
        config = chosen.config.model_dump(mode="json")
        return result_key(chosen.owned, config, fingerprint, hooks, self.store.key, self.analysis.record())

    def _reuse(self, draft: Draft, chosen: Chosen, fingerprint: str, hooks: tuple[str, str]) -> bool:
        if self.results is None or self.recompute:
            return False
        found = self.results.find(self._key(chosen, fingerprint, hooks), draft.name)
        if found is None or found.result.status == "failed":
            return False
        self._keep(found, hooks)
        self.reused += 1
        return True

    def _keep(self, stored: StoredResult, hooks: tuple[str, str]) -> None:
        self.done.append(stored)
        record = stored.result.sae
        if record.l0 is not None and not record.is_control:
            self._l0.setdefault(hooks, []).append(record.l0)

    def _default_hooks(self) -> list[tuple[str, str]]:
        return [(hook, hook) for hook in self.store.hooks if hook != "y"]

    # -- the passes -----------------------------------------------------------------------------

    def _settings(self, hooks: tuple[str, str]) -> StreamSettings:
        device = torch.device(self.analysis.device)
        jobs = self.jobs if device.type == "cpu" else 1
        return StreamSettings(self.store, hooks, self.selection, self.analysis.chunk_rows, jobs, device)

    def inputs(self, hooks: tuple[str, str]) -> InputStatistics:
        """The statistics of x and target at a pair of hook points, made once per run."""
        if hooks not in self._inputs:
            settings = self._settings(hooks)
            with self.progress.step(f"reading {hooks[0]}", len(self.store.shards()), "shards") as advance:
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
            scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=self.scratch_parent))
            try:
                self._evaluate_group(group, scratch)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    def _evaluate_group(self, group: Sequence[Candidate], scratch: Path) -> None:
        hooks = group[0].hooks
        started = time.perf_counter()
        inputs, settings = self.inputs(hooks), self._settings(hooks)
        work = {c.draft.name: (c.sae, self._info(c.sae, inputs), self._specs(c)) for c in group}
        label = f"encoding {len(work)} SAE{'s' if len(work) > 1 else ''} at {hooks[0]}"
        with self.progress.step(label, len(self.store.shards()), "shards") as advance:
            encoded = encode_all(settings, work, scratch, advance)
        seconds = (time.perf_counter() - started) / len(group)
        total = sum(len(candidate.wanted) for candidate in group)
        with self.progress.step("evaluating", total, "results") as advance:
            finished = 0
            for candidate in group:
                state = encoded[candidate.draft.name]
                for made in self._results(candidate, state, settings, seconds):
                    self._write(made, hooks)
                    finished += 1
                    advance(finished, total)

    def _info(self, sae: SAE, inputs: InputStatistics) -> PassInfo:
        return PassInfo(sae.d_in, sae.d_out, sae.d_sae, self.selection.n_units, inputs)

    @staticmethod
    def _specs(candidate: Candidate) -> list[CollectorSpec]:
        """The collectors that its evaluators want, each once."""
        wanted = (chosen.evaluator.resolve()(chosen.config).collectors() for chosen in candidate.wanted)
        return list(dict.fromkeys(spec for specs in wanted for spec in specs))

    def _results(
        self, candidate: Candidate, encoded: Encoded, settings: StreamSettings, seconds: float
    ) -> Iterator[StoredResult]:
        """One result per wanted evaluator, whatever happens."""
        if encoded.failure is not None:
            self._fail(
                candidate.draft.name,
                candidate.draft.reference,
                str(encoded.failure),
                is_control=candidate.draft.is_control,
            )
            return
        fingerprint = candidate.fingerprint or encoded.behaviour
        for chosen in candidate.wanted:
            started = time.perf_counter()
            key = self._key(chosen, fingerprint, candidate.hooks)
            draft = candidate.draft.of(candidate.sae, candidate.hooks, fingerprint, encoded.l0, key, chosen)
            made = self._one(draft, chosen, encoded, settings)
            timings = {"shared_pass_s": seconds, "evaluator_s": time.perf_counter() - started}
            yield self._stamped(made, timings, chosen)

    def _one(
        self, draft: ResultDraft, chosen: Chosen, encoded: Encoded, settings: StreamSettings
    ) -> StoredResult:
        missing = self._missing(chosen.evaluator, encoded.sae)
        if missing:
            return skipped_result(draft, f"needs {missing}")
        context = Context(
            draft.name,
            settings.hooks[0],
            self.analysis.seed,
            chosen.evaluator,
            settings,
            encoded,
            self._resampler,
        )
        try:
            output = chosen.evaluator.resolve()(chosen.config).run(context)
            return finished_result(draft, output, self.selection)
        except Exception as error:  # noqa: BLE001 - an evaluator may raise anything; the others go on
            reason = f"{type(error).__name__}: {error}"
            self._announce_failure(f"{draft.name} / {chosen.evaluator.name}", reason)
            return failed_result(draft, reason)

    def _missing(self, evaluator: Evaluator, sae: SAE) -> str:
        """What an evaluator needs and this run does not have, in words; empty if nothing."""
        have = {
            Requirement.TOKENS: self.store.tokens() is not None,
            Requirement.LOSS: self.store.loss() is not None,
            Requirement.LABELS: self.store.labels() is not None,
            Requirement.DECODER: sae.W_dec is not None,
        }
        return ", ".join(sorted(need.value for need in evaluator.requires if not have.get(need, False)))

    def _stamped(self, made: StoredResult, timings: Mapping[str, float], chosen: Chosen) -> StoredResult:
        extra: dict[str, Any] = {
            "cache": {"key": self.store.key, **self.store.description},
            "analysis": {
                **self.analysis.record(),
                "train_rows": self.selection.count("train"),
                "test_rows": self.selection.count("test"),
            },
            "provenance": provenance([chosen.owned]),
            "timings": dict(timings),
        }
        units = made.units()
        return StoredResult.in_memory(made.result.model_copy(update=extra), units)

    def _write(self, made: StoredResult, hooks: tuple[str, str]) -> None:
        if self.results is not None:
            made = self.results.write(made.result, made.units())
        self._keep(made, hooks)
        result = made.result
        if not result.sae.is_control:
            warnings = [note for note in result.notes if note.startswith(WARNING)]
            self.warnings += [f"{result.sae.name}: {note.removeprefix(WARNING)}" for note in warnings]
        self.plugins.emit(ResultWritten(result.sae.name, result.evaluator.name, str(made.path or "")))

    # -- baselines ------------------------------------------------------------------------------

    def _evaluate_baselines(
        self, all_hooks: Sequence[tuple[str, str]], baselines: Sequence[BaselineItem], controls: ControlPolicy
    ) -> None:
        for hooks in all_hooks:
            if hooks[0] != hooks[1]:
                continue  # a control predicts its own input; against a transcoder's target it has no meaning
            matched = matched_controls(
                controls, self.plugins, self._l0.get(hooks, []), self.store.dim(hooks[0]), baselines
            )
            candidates = []
            for item in [*baselines, *matched]:
                candidate = self._admit_baseline(item, hooks, several=len(all_hooks) > 1)
                if candidate is not None:
                    candidates.append(candidate)
            self._evaluate(candidates)

    def _admit_baseline(
        self, item: BaselineItem, hooks: tuple[str, str], *, several: bool
    ) -> Candidate | None:
        name = f"{item.name}@{hooks[0]}" if several else item.name
        analysis = self.analysis
        recipe = item.recipe(
            self.store.key,
            hooks,
            {key: analysis.record()[key] for key in ("split", "skip_first", "skip_last", "seed")},
        )
        draft = Draft(name, item.reference, item.qualified, item.is_control, ())
        wanted = [c for c in self.evaluators if not self._reuse(draft, c, recipe, hooks)]
        if not wanted:
            return None
        data = StreamFitData(self.store, hooks[0], self.selection, self.analysis.seed, self.inputs(hooks))
        try:
            sae = item.fit(data)
        except Exception as error:  # noqa: BLE001 - a baseline is a plugin and may raise anything
            self._fail(name, item.reference, f"{type(error).__name__}: {error}", is_control=item.is_control)
            return None
        draft = Draft(name, item.reference, item.qualified, item.is_control, sae.assumptions)
        return Candidate(draft, sae, hooks, recipe, wanted)

    # -- failures -------------------------------------------------------------------------------

    def _fail(self, name: str, reference: str, reason: str, *, is_control: bool) -> None:
        """Keep a failed row per evaluator, so that tables made later show it too."""
        self._announce_failure(name, reason)
        for chosen in self.evaluators:
            key = self._key(chosen, f"failed:{name}:{reference}", ("", ""))
            draft = Draft(name, reference, "", is_control, ()).unknown(key, chosen)
            made = self._stamped(failed_result(draft, reason), {}, chosen)
            self._write(made, ("", ""))

    def _announce_failure(self, item: str, reason: str) -> None:
        self.failures.append(ItemFailure(item, reason))
        self.progress.note(f"failed: {item}: {reason}")
        self.plugins.emit(ItemFailed(item, reason))


def _groups(candidates: Sequence[Candidate], limit: int) -> Iterator[list[Candidate]]:
    """Consecutive SAEs whose weights together stay below ``limit`` bytes (at least one each)."""
    group: list[Candidate] = []
    size = 0
    for candidate in candidates:
        weight = 8 * candidate.sae.d_sae * (candidate.sae.d_in + candidate.sae.d_out)
        if group and size + weight > limit:
            yield group
            group, size = [], 0
        group.append(candidate)
        size += weight
    if group:
        yield group
