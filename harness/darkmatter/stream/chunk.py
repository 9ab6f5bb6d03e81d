"""Rows of the cache, a few thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from darkmatter.activations import ActivationStore, Shard
from darkmatter.errors import ItemError
from darkmatter.evaluation import Rows
from darkmatter.sae.base import SAE
from darkmatter.sae.codes import Codes
from darkmatter.shuffle import permutation
from darkmatter.stats.moments import centred


@dataclass(frozen=True)
class RowSelection:
    """Which rows train, which test, and which resampling unit each context belongs to.

    ``train`` and ``test`` [contexts, positions] are disjoint; ``unit`` [contexts] is -1 for
    contexts without test rows. ``unit_kind`` names the unit for ``ci_method``.
    """

    train: Tensor
    test: Tensor
    unit: Tensor
    n_units: int
    unit_kind: str

    def side(self, rows: Rows) -> Tensor:
        """The mask [contexts, positions] of one side."""
        return self.train if rows == "train" else self.test

    def count(self, rows: Rows) -> int:
        """Rows on one side."""
        return int(self.side(rows).sum())


@dataclass(frozen=True)
class InputRows:
    """Rows before any SAE has seen them; what is derived here is shared by all SAEs."""

    x: Tensor
    target: Tensor
    unit: Tensor
    position: Tensor
    row: Tensor
    tokens: Tensor | None
    loss: Tensor | None
    labels: Tensor | None

    @cached_property
    def x_centred(self) -> tuple[Tensor, Tensor]:
        """Mean [d] and x - mean [n, d] in float64, for ``CrossMoments.of``."""
        return centred(self.x)


def reconstruction_of(sae: SAE, codes: Codes, x: Tensor) -> Tensor | str:
    """What an SAE makes of x [n, d_in] and its codes; of one that has codes alone, why it makes nothing."""
    return sae.reconstruct_from(codes, x) if sae.reconstructs else sae.no_reconstruction


@dataclass(frozen=True)
class ChunkRows:
    """What one SAE makes of some rows; the concrete ``darkmatter.api.Chunk``.

    ``made`` is what ``reconstruction_of`` says.
    """

    inputs: InputRows
    codes: Codes
    made: Tensor | str
    beside: Mapping[str, ChunkRows] = field(default_factory=dict)

    @property
    def reconstruction(self) -> Tensor:
        """[n, d_out] float32.

        Raises:
            ItemError: the SAE has codes alone.
        """
        if isinstance(self.made, str):
            raise ItemError(self.made)
        return self.made

    @property
    def x(self) -> Tensor:
        """[n, d_in] float32."""
        return self.inputs.x

    @property
    def target(self) -> Tensor:
        """[n, d_out] float32."""
        return self.inputs.target

    @property
    def x_centred(self) -> tuple[Tensor, Tensor]:
        """Mean and centred rows of x in float64."""
        return self.inputs.x_centred

    @property
    def unit(self) -> Tensor:
        """[n] resampling unit."""
        return self.inputs.unit

    @property
    def position(self) -> Tensor:
        """[n] position within the context."""
        return self.inputs.position

    @property
    def row(self) -> Tensor:
        """[n] number of the row in the cache."""
        return self.inputs.row

    @property
    def tokens(self) -> Tensor | None:
        """[n] token ids."""
        return self.inputs.tokens

    @property
    def loss(self) -> Tensor | None:
        """[n] clean loss in nats."""
        return self.inputs.loss

    @property
    def labels(self) -> Tensor | None:
        """[n] labels."""
        return self.inputs.labels

    @cached_property
    def error(self) -> Tensor:
        """Target - Sae(x) [n, d_out] in float64, the difference of the float32 values."""
        return self.inputs.target.to(torch.float64) - self.reconstruction.to(torch.float64)


def permuted(chunks: Sequence[ChunkRows], seed: int, purpose: str) -> Iterator[ChunkRows]:
    """Chunks of the same sizes that hold the rows of all of them in another order.

    The order depends on ``seed``, ``purpose`` and the number of rows, not on how they are cut.
    """
    if not chunks:
        return
    sizes = [len(chunk.x) for chunk in chunks]
    order = torch.from_numpy(permutation(sum(sizes), seed, purpose))
    codes = Codes.cat([chunk.codes for chunk in chunks])
    # One SAE reconstructs in all chunks or in none, and then ``made`` says why.
    rows = [chunk.made for chunk in chunks if isinstance(chunk.made, Tensor)]
    made = torch.cat(rows) if rows else chunks[0].made
    names = [each.name for each in fields(InputRows)]
    whole = {name: _joined([getattr(chunk.inputs, name) for chunk in chunks]) for name in names}
    for index in torch.split(order, sizes):
        at = index.to(codes.device)
        inputs: dict[str, Any] = {
            name: None if part is None else part[index.to(part.device)] for name, part in whole.items()
        }
        yield ChunkRows(InputRows(**inputs), codes.take(at), made[at] if isinstance(made, Tensor) else made)


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if len(there) == len(parts) else None


def read_rows(
    store: ActivationStore,
    hooks: tuple[str, str],
    selection: RowSelection,
    shard: Shard,
    *,
    chunk_rows: int,
    device: torch.device,
    only: Rows | None = None,
) -> Iterator[tuple[int, Rows, InputRows]]:
    """Numbered chunks of one shard: all its training rows in order, then all its test rows.

    ``only`` leaves out one side; the numbers stay those of the whole.
    """
    span = slice(shard.start, shard.stop)
    if not bool(selection.train[span].any() or selection.test[span].any()):
        return
    hook_in, hook_out = hooks
    x_all = store.read(hook_in, shard.start, shard.stop).flatten(0, 1)
    y_all = x_all if hook_out == hook_in else store.read(hook_out, shard.start, shard.stop).flatten(0, 1)
    whole = (shard.start, shard.stop)
    parts = (store.tokens(*whole), store.loss(*whole), store.labels(*whole))
    extras = [None if part is None else part.flatten() for part in parts]
    n_positions = store.n_positions
    for number, rows, index in _indices(selection, span, chunk_rows):
        if only in {None, rows}:
            x = x_all[index].to(device=device, dtype=torch.float32)
            y = x if y_all is x_all else y_all[index].to(device=device, dtype=torch.float32)
            tokens, loss, labels = (None if part is None else part[index] for part in extras)
            unit = selection.unit[shard.start + index // n_positions]
            row = shard.start * n_positions + index
            yield number, rows, InputRows(x, y, unit, index % n_positions, row, tokens, loss, labels)


def _indices(selection: RowSelection, span: slice, chunk_rows: int) -> Iterator[tuple[int, Rows, Tensor]]:
    number = 0
    sides: tuple[Rows, Rows] = ("train", "test")
    for rows in sides:
        chosen = selection.side(rows)[span].flatten().nonzero().squeeze(1)
        for index in torch.split(chosen, chunk_rows) if len(chosen) else ():
            yield number, rows, index
            number += 1
