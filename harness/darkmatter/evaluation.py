"""What an evaluator is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from darkmatter.results.schema import Estimator, MetricValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from darkmatter.descriptors import Config
    from darkmatter.sae.base import SAE
    from darkmatter.sae.codes import Codes

Rows = Literal["train", "test"]


class Chunk(Protocol):
    """Some rows of the cache with what one SAE makes of them; n rows that count.

    Attributes:
        x: [n, d_in] float32, what the SAE reads.
        target: [n, d_out] float32, what it should give (x itself unless it is a transcoder).
        codes: its sparse codes.
        reconstruction: [n, d_out] float32, Sae(x).
        error: [n, d_out] float32, target - Sae(x) (the paper's sign).
        unit: [n] int64, the resampling unit of each row, ascending.
        position: [n] int64, position within the context.
        tokens, loss, labels: [n], or None where the cache has none.
    """

    x: Tensor
    target: Tensor
    codes: Codes
    reconstruction: Tensor
    error: Tensor
    unit: Tensor
    position: Tensor
    tokens: Tensor | None
    loss: Tensor | None
    labels: Tensor | None


@dataclass(frozen=True)
class PassInfo:
    """What a collector must know before the first row."""

    d_in: int
    d_out: int
    d_sae: int
    n_units: int


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
    """A frozen, hashable recipe for a collector: equal recipes are collected once and shared.

    ``scope`` "hook" marks statistics of x and target alone, which all SAEs of a hook share.
    """

    scope: Literal["sae", "hook"]

    def start(self, info: PassInfo) -> Collector:
        """A fresh collector for one shard."""
        ...


@dataclass
class EvalOutput:
    """What an evaluator found. ``columns`` are per-unit sums [n_units] behind ``estimators``."""

    metrics: list[MetricValue] = field(default_factory=list)
    tables: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    estimators: dict[str, Estimator] = field(default_factory=dict)


class EvalContext(Protocol):
    """Everything an evaluator may use; it never prints, writes results or reads the clock."""

    sae: SAE
    sae_name: str
    hook: str
    config: Config
    info: PassInfo
    seed: int
    scratch: Path
    n_train: int
    n_test: int

    def collected(self, spec: CollectorSpec) -> Any:
        """The finished statistic of a collector that rode the shared pass."""
        ...

    def sweep(self, rows: Rows) -> Iterator[Chunk]:
        """Read the cache and the spooled codes again, in order, without encoding."""
        ...

    def estimate(self, name: str, estimator: Estimator, output: EvalOutput, **guard: float) -> None:
        """Add the metric ``name`` with its interval to ``output`` from ``output.columns``."""
        ...


class EvaluatorImplementation(Protocol):
    """What ``Evaluator.implementation`` resolves to (called with the configuration)."""

    def collectors(self) -> Sequence[CollectorSpec]:
        """Statistics that shall ride the shared pass."""
        ...

    def run(self, ctx: EvalContext) -> EvalOutput:
        """Everything that follows from them."""
        ...
