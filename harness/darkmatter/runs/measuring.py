"""One result at a time: what an evaluator has around it, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from darkmatter.activations import ActivationStore
from darkmatter.descriptors import Requirement
from darkmatter.errors import is_out_of_room
from darkmatter.evaluation import EvaluatorImplementation
from darkmatter.results.reading import StoredResult
from darkmatter.runs.bench import Broken, Candidate, Family, identities, seen_beside
from darkmatter.runs.chosen import Chosen, Hooks
from darkmatter.runs.context import Context, Shared, Surroundings
from darkmatter.runs.recorder import Recorder
from darkmatter.runs.requirements import of_company, of_sae, of_store, unmet
from darkmatter.runs.writing import ResultDraft, failed_result, finished_result, skipped_result
from darkmatter.stats.resample import Resampler
from darkmatter.stream.chunk import RowSelection
from darkmatter.stream.passes import StreamSettings


@dataclass
class Measuring:
    """Makes results and hands them to the recorder, whatever an evaluator does.

    ``bench`` are the SAEs of the run, controls not among them; ``settings`` gives how the rows at a
    pair of hook points are worked on.
    """

    store: ActivationStore
    selection: RowSelection
    seed: int
    recorder: Recorder
    settings: Callable[[Hooks], StreamSettings]
    bench: list[Candidate] = field(default_factory=list)
    _shared: Shared = field(default_factory=Shared)

    def sae(self, candidate: Candidate, chosen: Chosen, timings: Mapping[str, float]) -> None:
        """One result on one SAE that has been encoded."""
        started = time.perf_counter()
        beside = seen_beside(chosen, candidate.hooks, candidate.name, self.bench)
        beside = [each for each in beside if each.usable]
        dtype = candidate.draft.dtype
        key = self.recorder.key(chosen, candidate.known_as, candidate.hooks, dtype, identities(beside))
        draft = candidate.result_draft(key, chosen)
        if chosen.evaluator.sees:
            draft = replace(draft, beside=tuple(sorted(each.name for each in beside)))
        made = self._one(draft, candidate, candidate.evaluators[chosen.evaluator.name], beside)
        took = {**timings, "evaluator_s": time.perf_counter() - started}
        self.recorder.write(made, chosen, candidate.hooks, took)

    def family(self, family: Family) -> None:
        """One result on the members of a family that could be encoded."""
        started = time.perf_counter()
        usable = replace(family, members=[each for each in family.members if each.usable])
        chosen, speaker = family.chosen, usable.speaker
        draft = usable.result_draft(self.recorder.key(chosen, usable.fingerprint, family.hooks))
        if speaker is None:
            made = skipped_result(draft, "needs SAEs that can be evaluated")
        else:
            try:
                evaluator = chosen.evaluator.resolve()(chosen.config)
            except Exception as error:  # noqa: BLE001 - an evaluator may raise anything
                evaluator = Broken(error)
            beside = [each for each in usable.members if each is not speaker]
            made = self._one(draft, speaker, evaluator, beside)
        self.recorder.write(made, chosen, family.hooks, {"evaluator_s": time.perf_counter() - started})

    def unmet(self, chosen: Chosen, candidate: Candidate) -> str:
        """Why an evaluator will be skipped; empty if it has what it needs.

        SAEs that are still to be encoded count as there.
        """
        there = [each for each in self.bench if not each.failed]
        company = of_company(chosen, candidate.hooks, candidate.name, there)
        return unmet(chosen.evaluator, self._there | of_sae(candidate.facts) | company)

    @cached_property
    def _there(self) -> frozenset[Requirement]:
        return of_store(self.store)

    def _one(
        self,
        draft: ResultDraft,
        candidate: Candidate,
        evaluator: EvaluatorImplementation,
        beside: Sequence[Candidate],
    ) -> StoredResult:
        """What an evaluator gives: its findings, why it is skipped, or how it failed."""
        descriptor = draft.chosen.evaluator
        if needs := self.unmet(draft.chosen, candidate):
            return skipped_result(draft, needs)
        resampler = Resampler(self.selection.n_units, self.seed, unit=self.selection.unit_kind)
        shared = self._shared.at(candidate.hooks)
        uses = draft.chosen.uses
        around = Surroundings(beside, self.settings, self.seed, resampler, uses, shared)
        context = Context(around.member(candidate), descriptor, around)
        name = f"{draft.name} / {descriptor.name}"
        try:
            with self.recorder.progress.task(name):
                output = evaluator.run(context)
            return finished_result(draft, output)
        except Exception as error:
            if is_out_of_room(error):
                raise
            reason = f"{type(error).__name__}: {error}"
            self.recorder.announce(name, reason, is_control=draft.sae.is_control)
            return failed_result(draft, reason)
