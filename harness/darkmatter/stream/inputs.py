"""What is known of a hook point before any SAE is encoded, and shared by all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from darkmatter.activations import ActivationStore, Shard
from darkmatter.errors import DarkmatterError
from darkmatter.stats.moments import CrossMoments, Gram
from darkmatter.stats.regression import GramFactor
from darkmatter.stream.chunk import RowSelection, read_rows
from darkmatter.stream.shards import map_shards


@dataclass(frozen=True)
class InputStatistics:
    """Moments of x and of the target on both sides of the split.

    ``train`` is the Gram matrix of x on the training rows; ``train_target`` and ``test_target``
    hold count, mean [d_out] and Σ (target - mean)² [d_out] of the target on either side.
    """

    train: Gram
    train_target: CrossMoments
    test_target: CrossMoments

    @cached_property
    def factor(self) -> GramFactor:
        """The factored training Gram for regressions with intercept."""
        return GramFactor.of(self.train)

    @cached_property
    def factor_without_bias(self) -> GramFactor:
        """The factored training Gram for regressions without intercept."""
        return GramFactor.of(self.train, bias=False)

    @property
    def mean_target(self) -> Tensor:
        """Mean target [d_out] of the test rows, on which every FVU is centred."""
        return self.test_target.mean_y

    @property
    def total_variance(self) -> float:
        """Σ |target - mean|² over the test rows: the denominator of every FVU."""
        return float(self.test_target.syy.sum())


@dataclass
class _Part:
    """One shard's share of the statistics."""

    train: Gram
    train_target: CrossMoments
    test_target: CrossMoments

    def merge(self, other: _Part) -> None:
        self.train.merge(other.train)
        self.train_target.merge(other.train_target)
        self.test_target.merge(other.test_target)


def input_statistics(
    store: ActivationStore,
    hooks: tuple[str, str],
    selection: RowSelection,
    *,
    chunk_rows: int,
    jobs: int,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> InputStatistics:
    """One pass over the activations alone. Rows that are not finite are an error that names them."""
    d_in, d_out = store.dim(hooks[0]), store.dim(hooks[1])

    def work(shard: Shard) -> _Part:
        part = _empty(d_in, d_out)
        chunks = read_rows(store, hooks, selection, shard, chunk_rows=chunk_rows, device=device)
        for _, rows, inputs in chunks:
            _require_finite(hooks[0], shard, inputs.x)
            if hooks[1] != hooks[0]:
                _require_finite(hooks[1], shard, inputs.target)
            mean, xc = inputs.x_centred
            # Only mean and variance of the target are wanted here: a regressor of width 0.
            target = CrossMoments.of((mean[:0], xc[:, :0]), inputs.target)
            if rows == "train":
                part.train.merge(Gram(len(xc), mean.cpu(), (xc.T @ xc).cpu()))
                part.train_target.merge(target)
            else:
                part.test_target.merge(target)
        return part

    whole = _empty(d_in, d_out)
    shards = store.shards()
    for done, (_, part) in enumerate(map_shards(work, shards, jobs=jobs), start=1):
        whole.merge(part)
        progress(done, len(shards))
    return InputStatistics(whole.train, whole.train_target, whole.test_target)


def _empty(d_in: int, d_out: int) -> _Part:
    return _Part(Gram.zero(d_in), CrossMoments.zero(0, d_out), CrossMoments.zero(0, d_out))


def _require_finite(hook: str, shard: Shard, x: Tensor) -> None:
    bad = int((~torch.isfinite(x)).any(dim=1).sum())
    if bad:
        message = (
            f"{bad} of {len(x)} rows of {hook!r} in contexts {shard.start} to {shard.stop - 1} hold NaN or "
            "infinity; activations must be finite. Leave such rows out with a `mask`, or look at how they "
            "were made (half precision overflows above 65504)."
        )
        raise DarkmatterError(message)
