"""The evaluator's side of a run: the concrete ``darkmatter.api.EvalContext``."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from darkmatter.choices import Choice, DatasetChoice, SimulatorChoice
from darkmatter.collectors import ErrorMoments, fit_error_map
from darkmatter.descriptors import Dataset, Evaluator
from darkmatter.errors import ItemError
from darkmatter.evaluation import CollectorSpec, PassInfo, Rows
from darkmatter.models import LanguageModel, TextTokenizer
from darkmatter.output import EvalOutput
from darkmatter.runs.bench import Candidate, elsewhere, family_of
from darkmatter.runs.chosen import Used
from darkmatter.sae.base import SAE
from darkmatter.simulating import SimulatorMaker
from darkmatter.stats.moments import CrossMoments
from darkmatter.stats.regression import LinearMap
from darkmatter.stats.resample import Resampler
from darkmatter.stream.chunk import ChunkRows
from darkmatter.stream.passes import Encoded, StreamSettings, collect_again, decoded_chunks
from darkmatter.tasks import TASKS, Task, in_words

T = TypeVar("T")


@dataclass(frozen=True)
class BenchSAE:
    """An SAE of the run that has been encoded; the concrete ``darkmatter.api.EncodedSAE``."""

    candidate: Candidate
    settings: StreamSettings

    @property
    def encoded(self) -> Encoded:
        """Spooled codes and collectors."""
        assert self.candidate.encoded is not None
        return self.candidate.encoded

    @property
    def name(self) -> str:
        """Its name in this run."""
        return self.candidate.name

    @property
    def hook(self) -> str:
        """The hook point it reads."""
        return self.candidate.hooks[0]

    @property
    def sae(self) -> SAE:
        """The SAE."""
        return self.encoded.sae

    @property
    def is_control(self) -> bool:
        """Whether it is a control."""
        return self.candidate.draft.is_control

    @property
    def info(self) -> PassInfo:
        """Sizes, and the statistics of the inputs."""
        return self.encoded.info

    @property
    def l0(self) -> float:
        """Mean number of active latents on the held-out rows."""
        return self.encoded.l0

    def collect(
        self,
        specs: Sequence[CollectorSpec],
        rows: Rows,
        beside: Sequence[Any] = (),
        *,
        shuffled: int | None = None,
    ) -> list[Any]:
        """Another pass over one side's rows; nothing is encoded again."""
        return collect_again(self.settings, self.encoded, specs, rows, _beside(beside), shuffled)

    def error_map(self, *, bias: bool = True) -> LinearMap:
        """b* and its intercept, fitted on the training rows once and shared by all evaluators."""
        kept = self.encoded.maps
        if bias not in kept:
            kept[bias] = fit_error_map(self.info, self._error_moments(), bias=bias)
        return kept[bias]

    def _error_moments(self) -> CrossMoments:
        spec = ErrorMoments()
        if spec in self.encoded.collectors or spec in self.encoded.broken:
            moments: CrossMoments = self.encoded.collected(spec)
            return moments
        (moments,) = self.collect([spec], "train")
        return moments


def _beside(saes: Sequence[BenchSAE]) -> dict[str, tuple[StreamSettings, Encoded]]:
    return {each.name: (each.settings, each.encoded) for each in saes}


@dataclass
class Shared:
    """What evaluators keep for all SAEs at one pair of hook points; that of the last pair alone."""

    hooks: tuple[str, str] | None = None
    kept: dict[Hashable, Any] = field(default_factory=dict)

    def at(self, hooks: tuple[str, str]) -> dict[Hashable, Any]:
        """What is kept for these hook points; what was kept for others is let go of."""
        if self.hooks != hooks:
            self.hooks, self.kept = hooks, {}
        return self.kept


@dataclass(frozen=True)
class Surroundings:
    """What an evaluator has around the SAE it measures.

    ``beside`` are the other SAEs in its sight, which are those that its result's key names; ``uses`` the
    plugins that its options name;
    ``shared`` is what evaluators keep for all SAEs at these hook points.
    """

    beside: Sequence[Candidate]
    settings: Callable[[tuple[str, str]], StreamSettings]
    seed: int
    resampler: Resampler
    uses: Sequence[Used] = ()
    shared: dict[Hashable, Any] = field(default_factory=dict)

    def member(self, candidate: Candidate) -> BenchSAE:
        """One of the SAEs."""
        return BenchSAE(candidate, self.settings(candidate.hooks))

    def members(self, candidates: Sequence[Candidate]) -> tuple[BenchSAE, ...]:
        """SAEs in the order of their names."""
        return tuple(self.member(each) for each in sorted(candidates, key=lambda each: each.name))


@dataclass(frozen=True)
class ContextBatch:
    """Whole contexts that hold held-out rows; the concrete ``darkmatter.api.Contexts``."""

    index: Tensor
    tokens: Tensor | None
    x: Tensor
    target: Tensor
    rows: Tensor
    unit: Tensor
    loss: Tensor | None


@dataclass
class Context:
    """One SAE (or the first of a family) after the shared pass, seen by one evaluator."""

    subject: BenchSAE
    evaluator: Evaluator
    around: Surroundings

    @property
    def sae(self) -> SAE:
        """The SAE."""
        return self.subject.sae

    @property
    def sae_name(self) -> str:
        """Its name in this run."""
        return self.subject.name

    @property
    def hook(self) -> str:
        """The hook point it reads."""
        return self.subject.hook

    @property
    def hook_out(self) -> str:
        """The hook point it predicts."""
        return self.subject.candidate.hooks[1]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.around.seed

    @property
    def info(self) -> PassInfo:
        """Sizes, and the statistics of the inputs."""
        return self.subject.info

    @property
    def _settings(self) -> StreamSettings:
        return self.subject.settings

    @property
    def n_train(self) -> int:
        """Training rows."""
        return self._settings.selection.count("train")

    @property
    def n_test(self) -> int:
        """Held-out rows."""
        return self._settings.selection.count("test")

    @property
    def unit_kind(self) -> str:
        """The resampling unit, in the plural."""
        return self._settings.selection.unit_kind

    @cached_property
    def family(self) -> tuple[BenchSAE, ...]:
        """The SAEs at this hook point, this one among them, by name; without controls."""
        own = self.subject.candidate
        return self.around.members(family_of(own.hooks, [own, *self.around.beside]))

    @cached_property
    def others(self) -> tuple[BenchSAE, ...]:
        """The SAEs at other hook points, by name; without controls."""
        return self.around.members(elsewhere(self.subject.candidate.hooks, self.around.beside))

    @property
    def model(self) -> LanguageModel:
        """The language model behind the activations.

        Raises:
            ItemError: there is none.
        """
        model = self._settings.store.model()
        if model is None:
            message = "these activations come without a language model"
            raise ItemError(message)
        return model

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """The tokenizer behind the token ids; None where there is none."""
        return self._settings.store.tokenizer()

    def dataset(self, choice: DatasetChoice) -> Task:
        """What the dataset plugin of an option gives for this tokenizer; BOS stands where the text has it.

        Raises:
            ItemError: there is no tokenizer, or it cannot write what the dataset needs.
        """
        if self.tokenizer is None:
            message = f"the dataset {choice.name!r} needs the tokenizer of a language model"
            raise ItemError(message)
        used = self._used(choice)
        descriptor = used.owned.descriptor
        assert isinstance(descriptor, Dataset)
        try:
            task: Task = descriptor.resolve()(used.config, self.tokenizer, self.seed)
        except ItemError as error:
            kind, others = in_words(descriptor.gives), ", ".join(used.alike)
            advice = f"Other datasets of {kind}: {others}." if others else "Name another dataset."
            message = f"{str(error).rstrip('.')}. {advice} `darkmatter list datasets` says what each is."
            raise ItemError(message) from error
        expected = TASKS[descriptor.gives]
        if not isinstance(task, expected):
            message = (
                f"the dataset {choice.name!r} gave {type(task).__name__}, not {expected.__name__} as it says"
            )
            raise ItemError(message)
        return task.after(self._settings.store.description.get("text", {}).get("bos_token"))

    def simulator(self, choice: SimulatorChoice) -> SimulatorMaker:
        """The simulator plugin of an option, ready to be fitted to latents."""
        used = self._used(choice)
        maker: SimulatorMaker = used.owned.descriptor.resolve()(used.config, self.tokenizer)
        return maker

    def _used(self, choice: Choice) -> Used:
        return next(
            each
            for each in self.around.uses
            if (each.kind, each.asked) == (choice.kind, choice.name)
            and each.config.model_dump(mode="json") == choice.options
        )

    def collected(self, spec: CollectorSpec) -> Any:
        """What a collector found in the shared pass."""
        return self.subject.encoded.collected(spec)

    def collect(
        self,
        specs: Sequence[CollectorSpec],
        rows: Rows,
        beside: Sequence[BenchSAE] = (),
        *,
        shuffled: int | None = None,
    ) -> list[Any]:
        """Another pass over one side's rows; nothing is encoded again."""
        return self.subject.collect(specs, rows, beside, shuffled=shuffled)

    def error_map(self, *, bias: bool = True) -> LinearMap:
        """b* and its intercept."""
        return self.subject.error_map(bias=bias)

    def chunks(self, rows: Rows, *, shuffled: int | None = None) -> Iterator[ChunkRows]:
        """One side's chunks one after another; with a number, the shards in an order drawn by it."""
        shards = self._settings.store.shards()
        if shuffled is not None:
            random.Random(f"{self.seed}/{shuffled}").shuffle(shards)  # noqa: S311 - no secret
        for shard in shards:
            yield from decoded_chunks(self._settings, self.subject.encoded, shard, rows, {})

    def contexts(self, size: int, *, limit: int | None = None) -> Iterator[ContextBatch]:
        """Whole contexts with held-out rows, in order, at most ``size`` at a time, never across shards."""
        store, selection = self._settings.store, self._settings.selection
        hook_in, hook_out = self.subject.candidate.hooks
        for shard in store.shards():
            wanted = selection.test[shard.start : shard.stop].any(dim=1).nonzero().flatten() + shard.start
            if limit is not None:
                wanted = wanted[:limit]
                limit -= len(wanted)
            for index in torch.split(wanted, size) if len(wanted) else ():
                first, last = int(index[0]), int(index[-1]) + 1
                inside = index - first
                x = store.read(hook_in, first, last)[inside]
                target = x if hook_out == hook_in else store.read(hook_out, first, last)[inside]
                tokens, loss = store.tokens(first, last), store.loss(first, last)
                yield ContextBatch(
                    index,
                    None if tokens is None else tokens[inside],
                    x,
                    target,
                    selection.test[index],
                    selection.unit[index],
                    None if loss is None else loss[inside],
                )

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is the same for every SAE at these hook points, made once."""
        kept, whole = self.around.shared, (self.evaluator.implementation, key)
        if whole not in kept:
            kept[whole] = make()
        found: T = kept[whole]
        return found

    def output(
        self, *, n_rows: int | None = None, n_units: int | None = None, units: str | None = None
    ) -> EvalOutput:
        """A fresh output, over all held-out rows, some of them, or other things."""
        resampler = self.around.resampler
        if n_units is not None:
            resampler = Resampler(n_units, resampler.seed, resampler.replicates, units or resampler.unit)
        return EvalOutput(self.evaluator, resampler, self.n_test if n_rows is None else n_rows)
