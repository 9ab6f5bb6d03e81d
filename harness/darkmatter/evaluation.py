"""What an evaluator is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from darkmatter.output import EvalOutput
    from darkmatter.sae.base import SAE
    from darkmatter.sae.codes import Codes
    from darkmatter.stream.inputs import InputStatistics

Rows = Literal["train", "test"]


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

    def collected(self, spec: CollectorSpec) -> Any:
        """The finished statistic of a collector that rode the shared pass."""
        ...

    def collect(self, specs: Sequence[CollectorSpec], rows: Rows) -> list[Any]:
        """Another pass over the cache and the spooled codes, nothing is encoded again."""
        ...

    def output(self) -> EvalOutput:
        """A fresh output that knows the rows, the units and the intervals of this run."""
        ...


class EvaluatorImplementation(Protocol):
    """What ``Evaluator.implementation`` resolves to (called with the configuration)."""

    def collectors(self) -> Sequence[CollectorSpec]:
        """Statistics that shall ride the shared pass."""
        ...

    def run(self, ctx: EvalContext) -> EvalOutput:
        """Everything that follows from them."""
        ...
