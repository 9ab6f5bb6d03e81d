"""What an evaluator is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from torch import Tensor

    from darkmatter.choices import DatasetChoice, SimulatorChoice
    from darkmatter.models import LanguageModel, TextTokenizer
    from darkmatter.output import EvalOutput
    from darkmatter.sae.base import SAE
    from darkmatter.sae.codes import Codes
    from darkmatter.simulating import SimulatorMaker
    from darkmatter.stats.regression import LinearMap
    from darkmatter.stream.inputs import InputStatistics

Rows = Literal["train", "test"]
T = TypeVar("T")


class Chunk(Protocol):
    """Some rows of the cache with what one SAE makes of them; n rows that count."""

    @property
    def x(self) -> Tensor:
        """[n, d_in] float32, what the SAE reads."""
        ...

    @property
    def target(self) -> Tensor:
        """[n, d_out] float32, what it should give: x itself unless it is a transcoder."""
        ...

    @property
    def codes(self) -> Codes:
        """Its sparse codes."""
        ...

    @property
    def reconstruction(self) -> Tensor:
        """[n, d_out] float32, Sae(x); raises ItemError for an SAE that has codes alone."""
        ...

    @property
    def error(self) -> Tensor:
        """[n, d_out] float64, target - Sae(x) (the paper's sign); raises as ``reconstruction`` does."""
        ...

    @property
    def x_centred(self) -> tuple[Tensor, Tensor]:
        """Mean [d_in] and x - mean [n, d_in] in float64, shared by all SAEs."""
        ...

    @property
    def unit(self) -> Tensor:
        """[n] int64, the resampling unit of each row, ascending; -1 for training rows."""
        ...

    @property
    def position(self) -> Tensor:
        """[n] int64, position within the context."""
        ...

    @property
    def row(self) -> Tensor:
        """[n] int64, number of the row in the cache: context * positions + position.

        It names a row whatever the chunks, shards and workers: what is drawn per row is drawn from it.
        """
        ...

    @property
    def tokens(self) -> Tensor | None:
        """[n] token ids, where the cache has them."""
        ...

    @property
    def loss(self) -> Tensor | None:
        """[n] clean loss in nats, where the cache has it."""
        ...

    @property
    def labels(self) -> Tensor | None:
        """[n] labels, where the cache has them."""
        ...

    @property
    def beside(self) -> Mapping[str, Chunk]:
        """The same rows as other SAEs see them, by name: those that ``collect`` was given."""
        ...


@dataclass(frozen=True)
class PassInfo:
    """What a collector knows before the first row.

    ``inputs`` holds the statistics of x and target (moments on the training rows, mean and variance
    on the test rows), made before any SAE is encoded; ``n_units`` counts the resampling units.
    """

    d_in: int
    d_out: int
    d_sae: int
    n_units: int
    inputs: InputStatistics


class Collector(Protocol):
    """A small mergeable statistic over rows: one per shard, merged in shard order."""

    def update(self, chunk: Chunk, rows: Rows) -> None:
        """Take in rows that are all training rows, or all test rows."""
        ...

    def merge(self, other: Any) -> None:
        """Take in what the same collector found on the next shard."""
        ...

    def finish(self) -> Any:
        """The finished statistic."""
        ...


class CollectorSpec(Protocol):
    """A frozen, hashable recipe for a collector: equal recipes are collected once and shared."""

    def start(self, info: PassInfo) -> Collector:
        """A fresh collector for one shard."""
        ...


class EncodedSAE(Protocol):
    """An SAE of the run that has been encoded: the one measured, or one beside it."""

    @property
    def name(self) -> str:
        """Its name in this run."""
        ...

    @property
    def hook(self) -> str:
        """The hook point it reads."""
        ...

    @property
    def sae(self) -> SAE:
        """The SAE."""
        ...

    @property
    def l0(self) -> float:
        """Mean number of active latents on the held-out rows."""
        ...

    @property
    def info(self) -> PassInfo:
        """Sizes, and the statistics of its inputs."""
        ...

    def collect(
        self,
        specs: Sequence[CollectorSpec],
        rows: Rows,
        beside: Sequence[Any] = (),
        *,
        shuffled: int | None = None,
    ) -> list[Any]:
        """Another pass over its rows, see ``EvalContext.collect``."""
        ...

    def error_map(self, *, bias: bool = True) -> LinearMap:
        """b* and its intercept, fitted on the training rows, shared by all evaluators."""
        ...


class Contexts(Protocol):
    """Whole contexts, B of them, that hold held-out rows."""

    @property
    def index(self) -> Tensor:
        """[B] int64, numbers of the contexts."""
        ...

    @property
    def tokens(self) -> Tensor | None:
        """[B, P] token ids, where the cache has them."""
        ...

    @property
    def x(self) -> Tensor:
        """[B, P, d_in] float32 at the hook point read, every position."""
        ...

    @property
    def target(self) -> Tensor:
        """[B, P, d_out] float32 at the hook point predicted."""
        ...

    @property
    def rows(self) -> Tensor:
        """[B, P] bool, True at held-out rows."""
        ...

    @property
    def unit(self) -> Tensor:
        """[B] int64, resampling unit."""
        ...

    @property
    def loss(self) -> Tensor | None:
        """[B, P] clean loss in nats, where the cache has it."""
        ...


class EvalContext(Protocol):
    """Everything an evaluator may use; it never prints, writes results or reads the clock."""

    @property
    def sae(self) -> SAE:
        """The SAE."""
        ...

    @property
    def sae_name(self) -> str:
        """Its name in this run."""
        ...

    @property
    def hook(self) -> str:
        """The hook point it reads."""
        ...

    @property
    def hook_out(self) -> str:
        """The hook point it predicts: another one where it is a transcoder."""
        ...

    @property
    def info(self) -> PassInfo:
        """Sizes, and the statistics of the inputs."""
        ...

    @property
    def seed(self) -> int:
        """The run's seed."""
        ...

    @property
    def n_train(self) -> int:
        """Training rows."""
        ...

    @property
    def n_test(self) -> int:
        """Held-out rows."""
        ...

    @property
    def unit_kind(self) -> str:
        """The resampling unit, in the plural."""
        ...

    @property
    def family(self) -> Sequence[EncodedSAE]:
        """The SAEs at this hook point, this one among them, in the order of their names; no controls.

        In sight of evaluators with scope ``family`` and those whose ``sees`` has ``family``.
        """
        ...

    @property
    def others(self) -> Sequence[EncodedSAE]:
        """The SAEs at other hook points, by name; in sight where ``sees`` has ``elsewhere``."""
        ...

    @property
    def subject(self) -> EncodedSAE:
        """The SAE that the result is about, as one of those; of a family, its first."""
        ...

    @property
    def model(self) -> LanguageModel:
        """The language model behind the activations (``requires`` MODEL)."""
        ...

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """The tokenizer behind the token ids; None where there is none."""
        ...

    def dataset(self, choice: DatasetChoice) -> Any:
        """What the dataset plugin of an option gives for this tokenizer: ``MinimalPairs`` and others.

        BOS stands before prompts where the run's text has it. Raises ItemError where there is no tokenizer
        or it cannot write what the dataset needs.
        """
        ...

    def simulator(self, choice: SimulatorChoice) -> SimulatorMaker:
        """The simulator plugin of an option, ready to be fitted to latents."""
        ...

    def collected(self, spec: CollectorSpec) -> Any:
        """The finished statistic of a collector that rode the shared pass."""
        ...

    def collect(
        self,
        specs: Sequence[CollectorSpec],
        rows: Rows,
        beside: Sequence[Any] = (),
        *,
        shuffled: int | None = None,
    ) -> list[Any]:
        """Another pass over the cache and the spooled codes, nothing is encoded again.

        ``beside``: SAEs of ``family`` or ``others``, whose chunks of the same rows then stand in
        ``chunk.beside``. With the seed ``shuffled``, a control, their rows are permuted within each
        shard, all of theirs in the same way.
        """
        ...

    def error_map(self, *, bias: bool = True) -> LinearMap:
        """b* and its intercept, fitted on the training rows, shared by all evaluators."""
        ...

    def chunks(self, rows: Rows, *, shuffled: int | None = None) -> Iterator[Chunk]:
        """One side's chunks in order; with a number, the shards in an order drawn by it and the seed."""
        ...

    def contexts(self, size: int, *, limit: int | None = None) -> Iterator[Contexts]:
        """Whole contexts with held-out rows, in order, at most ``size`` at a time; the first ``limit``."""
        ...

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is the same for every SAE at these hook points: made once, then given again.

        It is kept while the run is at these hook points and let go of afterwards. Results may not
        depend on who made it.
        """
        ...

    def output(
        self, *, n_rows: int | None = None, n_units: int | None = None, units: str | None = None
    ) -> EvalOutput:
        """A fresh output that knows the rows, the units and the intervals of this run.

        For an evaluator that looks at the first ``n_units`` units alone, with ``n_rows`` rows; or at
        ``n_units`` things of its own, such as prompts, which ``units`` names in the plural.
        """
        ...


class EvaluatorImplementation(Protocol):
    """What ``Evaluator.implementation`` resolves to (called with the configuration)."""

    def collectors(self) -> Sequence[CollectorSpec]:
        """Statistics that shall ride the shared pass."""
        ...

    def run(self, ctx: EvalContext) -> EvalOutput:
        """Everything that follows from them."""
        ...
