"""From a suite to an engine: open SAEs, activations and evaluators."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from darkmatter.activations import ActivationStore
from darkmatter.cache.spec import ActivationRequest, TextSpec
from darkmatter.errors import DarkmatterError, ItemError, UsageError, is_out_of_room
from darkmatter.plugins import PluginHost
from darkmatter.progress import Progress
from darkmatter.references import parse_reference
from darkmatter.results.collection import ResultSet
from darkmatter.results.rows import ItemFailure
from darkmatter.results.store import NO_ACTIVATIONS, ResultStore
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.choosing import choose_evaluators
from darkmatter.runs.controls import ControlPolicy, baseline_item
from darkmatter.runs.engine import GROUP_BYTES, Engine
from darkmatter.runs.items import BaselineItem, Facts, SAEItem
from darkmatter.runs.recorder import Chosen, Recorder
from darkmatter.runs.suite import SAESpec, Suite, explain
from darkmatter.runs.trained import bos_of_all, departures
from darkmatter.runs.writing import Draft
from darkmatter.sae.base import SAE, SAEMetadata
from darkmatter.sae.load import load_sae
from darkmatter.sae.overrides import Overrides
from darkmatter.split import make_split
from darkmatter.stream.chunk import RowSelection

DEFAULT_CONTEXT_LENGTH = 256


@dataclass
class LoadedFile:
    """Loads an SAE, and remembers its facts or why it cannot be loaded.

    The weights are kept while ``budget`` lasts and loaded again otherwise: a family of wide SAEs
    need not fit into memory together.
    """

    reference: str
    adapter: str | None
    budget: Budget
    overrides: Overrides = field(default_factory=Overrides)
    _kept: SAE | None = None

    @cached_property
    def outcome(self) -> Facts | DarkmatterError:
        """What is known after loading it once."""
        try:
            sae = self._load()
        except DarkmatterError as error:
            return error
        facts = Facts.of(sae)
        if self.budget.take(facts.weight_bytes):
            self._kept = sae
        return facts

    def __call__(self) -> SAE:
        """The SAE."""
        if isinstance(self.outcome, DarkmatterError):
            raise self.outcome
        return self._kept or self._load()

    def _load(self) -> SAE:
        return load_sae(self.reference, adapter=self.adapter, overrides=self.overrides)

    @property
    def facts(self) -> Facts | None:
        """Its facts, or None where it cannot be loaded."""
        return None if isinstance(self.outcome, DarkmatterError) else self.outcome


@dataclass
class Budget:
    """Memory that loaded SAEs may hold together."""

    bytes: int = GROUP_BYTES

    def take(self, wanted: int) -> bool:
        """Whether there is so much left; if so, it is taken."""
        if wanted > self.bytes:
            return False
        self.bytes -= wanted
        return True


@dataclass
class Job:
    """A checked suite with everything that it names found."""

    suite: Suite
    host: PluginHost
    progress: Progress
    jobs: int
    items: list[SAEItem] = field(default_factory=list)
    baselines: list[BaselineItem] = field(default_factory=list)
    files: list[LoadedFile] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)

    @classmethod
    def of(cls, suite: Suite, host: PluginHost, progress: Progress, jobs: int | None = None) -> Job:
        """Check evaluators and baselines, load the SAEs."""
        job = cls(suite, host, progress, jobs or default_jobs())
        job.chosen  # noqa: B018 - unknown evaluators are wrong usage, before anything is loaded
        for name, spec in suite.saes.items():
            job._add(name, spec)
        return job

    def _add(self, name: str, spec: SAESpec) -> None:
        reference = parse_reference(spec.ref)
        if reference.kind == "baseline":
            if spec.given().keys() - {"hook"}:
                message = (
                    f"{name}: a baseline is fitted in this run and has no file to be corrected, so "
                    f"{', '.join(spec.given())} would change nothing; leave it out."
                )
                raise UsageError(message)
            item = baseline_item(self.host, reference.target, name, reference.fields)
            self.baselines.append(replace(item, hook=spec.hook))
            return
        file = LoadedFile(spec.ref, spec.adapter, self.budget, spec.overrides)
        self.files.append(file)
        self.items.append(SAEItem(name, spec.ref, file, adapter=spec.adapter or ""))

    @cached_property
    def chosen(self) -> list[Chosen]:
        """The evaluators with their checked options."""
        return choose_evaluators(self.host, self.suite.evaluators, self.suite.only)

    # -- activations ----------------------------------------------------------------------------

    def hooks(self) -> tuple[str, ...]:
        """The hook points of the run: those asked for, else those that the SAEs record."""
        if self.suite.hooks:
            return self.suite.hooks
        recorded: list[str] = []
        for file in self.files:
            stated = (file.overrides.hook, file.overrides.hook_out)
            recorded += [hook for hook in (file.facts.hooks if file.facts else stated) if hook]
        if recorded:
            return tuple(dict.fromkeys(recorded))
        unreadable = [f"{file.reference}: {file.outcome}" for file in self.files if file.facts is None]
        if unreadable:
            message = "no SAE can be read, so there is no hook point to measure at. " + " ".join(unreadable)
            raise ItemError(message)
        message = (
            "no hook point: none was given and no SAE records one. Name one, for example "
            "--hook blocks.2.hook_resid_post."
        )
        raise UsageError(message)

    def context_length(self) -> int:
        """What was asked for, else what the SAEs record (the shortest), else 256."""
        text = self.suite.text
        if text is not None and text.context_length is not None:
            return text.context_length
        recorded = {metadata.context_length for metadata in self._recorded() if metadata.context_length}
        if len(recorded) > 1:
            self.progress.note(f"the SAEs record context lengths {sorted(recorded)}; taking {min(recorded)}")
        return min(recorded, default=DEFAULT_CONTEXT_LENGTH)

    def _recorded(self) -> list[SAEMetadata]:
        """What the SAEs that can be read say of themselves, overrides included and assumptions not."""
        return [file.facts.recorded for file in self.files if file.facts is not None]

    def bos(self) -> str | None:
        """What was asked for, else what the SAEs record, if they agree; None: BOS if there is one."""
        text = self.suite.text
        if text is not None and text.bos is not None:
            return text.bos
        return bos_of_all(self._recorded())

    def request(self) -> ActivationRequest:
        """What the activation source is asked for."""
        model, text = self.suite.model, self.suite.text
        assert model is not None
        assert text is not None
        fields = {
            **text.model_dump(),
            "context_length": self.context_length(),
            "bos": self.bos(),
            "seed": self.suite.analysis.seed,
        }
        try:
            spec = TextSpec.model_validate(fields)
        except ValidationError as error:
            raise UsageError(explain(error, TextSpec, "text")) from None
        return ActivationRequest(model, spec, self.hooks())

    def open_store(self) -> ActivationStore:
        """The activations: from the file, or from the model through the cache."""
        if self.suite.activations is not None:
            from darkmatter.raw_activations import open_activations_file

            return open_activations_file(Path(self.suite.activations).expanduser())
        assert self.suite.model is not None
        source = self.host.get("sources", self.suite.model.provider or "transformer_lens")
        request = self.request()
        name = f"activations of {Path(request.model.name).name}"
        with self.progress.step(name, request.text.contexts, "contexts") as advance:
            store: ActivationStore = source.descriptor.resolve()(request, progress=advance)
        return store

    def _nothing_can_be_read(self) -> bool:
        """Whether a model would run for nothing: no SAE loads, and no baseline has a hook point."""
        unreadable = bool(self.files) and all(file.facts is None for file in self.files)
        served = bool(self.baselines) and bool(self.suite.hooks)
        return unreadable and not served and self.suite.activations is None

    def _failures_alone(self, results: ResultStore | None) -> Outcome:
        """A failed row for every SAE, without running the model."""
        analysis = self.suite.analysis.record()
        recorder = Recorder(NO_ACTIVATIONS, {}, analysis, {}, self.chosen, self.host, results, self.progress)
        for item, file in zip(self.items, self.files, strict=True):
            draft = Draft(item.name, item.reference, item.adapter, item.is_control, ())
            recorder.fail(draft, str(file.outcome))
        for baseline in self.baselines:
            draft = Draft(baseline.name, baseline.reference, baseline.qualified, baseline.is_control, ())
            recorder.skip(
                draft, "needs a hook point, and no SAE that can be read records one; name it with --hook"
            )
        found = ResultSet(recorder.done, order=tuple(self.suite.saes))
        return Outcome(found, recorder.failures, 0, [])

    # -- running --------------------------------------------------------------------------------

    def run(self, out: Path | None, *, recompute: bool = False) -> Outcome:
        """Evaluate everything; results go to ``out`` as they are made."""
        try:
            return self._run(out, recompute=recompute)
        except OSError as error:
            place = error.filename or out or "the disk"
            advice = "make room or choose" if is_out_of_room(error) else "choose"
            message = (
                f"{place}: {error.strerror or error}. What is finished is kept; {advice} another --out "
                "(scratch files go there) or DARKMATTER_CACHE, and run the same command again to go on."
            )
            raise DarkmatterError(message) from error

    def _run(self, out: Path | None, *, recompute: bool) -> Outcome:
        with open_results(out) as results:
            if self._nothing_can_be_read():
                return self._failures_alone(results)
            store = self.open_store()
            warnings = self._note_departures(store)
            engine = make_engine(
                store,
                self.suite.analysis,
                self.chosen,
                host=self.host,
                results=results,
                jobs=self.jobs,
                progress=self.progress,
                recompute=recompute,
            )
            found = engine.run(self.items, self.baselines, ControlPolicy(self.suite.controls))
        order = [*self.suite.saes, *found.names]
        found.order = tuple(dict.fromkeys(order))
        recorder = engine.recorder
        assumed = {
            name: tuple(each for each in sentences if f"{name}: {each}" not in warnings)
            for name, sentences in recorder.assumed.items()
        }
        return Outcome(found, recorder.failures, recorder.reused, [*warnings, *recorder.warnings], assumed)

    def _note_departures(self, store: ActivationStore) -> list[str]:
        """Note in each SAE's results where this run departs from its training; returns what to warn of."""
        if self.suite.model is None or self.suite.text is None:
            return []
        text = store.description.get("text", {})
        bos = text.get("bos_token") is not None if "bos_token" in text else self.bos() != "never"
        if self.suite.text.bos is None and self.bos() == "never":
            self.progress.note("contexts begin without BOS, as in the training of the SAEs that record it")
        warnings = []
        for item, file in zip(self.items, self.files, strict=True):
            if file.facts is None:
                continue
            facts = file.facts
            found = departures(facts.metadata, self.suite.model, bos=bos, assumed=facts.assumed)
            item.notes += [departure.sentence for departure in found]
            warnings += [f"{item.name}: {departure.sentence}" for departure in found if departure.warn]
        return warnings


@dataclass(frozen=True)
class Outcome:
    """What a run gave: results, what failed, how many were there already.

    ``assumed`` is by SAE what its results say was assumed, without what ``warnings`` say already.
    """

    results: ResultSet
    failures: list[ItemFailure]
    reused: int
    warnings: list[str]
    assumed: dict[str, tuple[str, ...]] = field(default_factory=dict)


@contextlib.contextmanager
def open_results(out: Path | None) -> Iterator[ResultStore | None]:
    """The results folder, held by this process alone; None keeps results in memory."""
    if out is None:
        yield None
        return
    with ResultStore.open(out) as store:
        yield store


def make_engine(
    store: ActivationStore,
    analysis: Analysis,
    chosen: Sequence[Chosen],
    *,
    host: PluginHost,
    results: ResultStore | None,
    jobs: int,
    progress: Progress,
    recompute: bool = False,
) -> Engine:
    """An engine with its split."""
    resolved = analysis.resolved(store.default_skip_first, store.default_skip_last)
    selection = select(store, resolved)
    counts = {
        "train_rows": selection.count("train"),
        "test_rows": selection.count("test"),
        "units": f"{selection.n_units} {selection.unit_kind}",
    }
    recorder = Recorder(
        store.key,
        store.description,
        resolved.record(),
        counts,
        chosen,
        host,
        results,
        progress,
        recompute=recompute,
    )
    if "note" in store.description:
        recorder.warnings.append(str(store.description["note"]))
    scratch = None if results is None else results.folder
    return Engine(store, selection, resolved, recorder, jobs, scratch)


def select(store: ActivationStore, analysis: Analysis) -> RowSelection:
    """The split of a store's rows."""
    split = make_split(store, analysis.seed, analysis.split, analysis.skip_first, analysis.skip_last)
    whole = (0, store.n_contexts)
    kind = split.unit.replace("block of", "blocks of") if " of " in split.unit else f"{split.unit}s"
    return RowSelection(split.train(*whole), split.test(*whole), split.unit_of_context, split.n_units, kind)


def default_jobs() -> int:
    """Workers: the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
