"""Sparse codes: what an SAE says about a batch of activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from darkmatter.errors import ItemError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Codes:
    """The non-zero codes of n rows, row after row (CSR).

    ``values`` [nnz] (float32), ``indices`` [nnz] (int64, ascending within a row) and ``offsets``
    [n + 1] (int64): row r holds entries ``offsets[r]:offsets[r + 1]``. ``batch_shape`` is the shape
    of the rows as they were given: ``encode(x[a, b, d])`` has ``batch_shape == (a, b)``, n = a * b.
    ``row_scale`` and ``row_shift`` [n, 1] undo a per-row input normalisation in ``decode``.
    """

    values: Tensor
    indices: Tensor
    offsets: Tensor
    d_sae: int
    batch_shape: tuple[int, ...]
    row_scale: Tensor | None = None
    row_shift: Tensor | None = None

    @staticmethod
    def from_dense(dense: Tensor) -> Codes:
        """The non-zero entries of dense codes [..., d_sae], in float32."""
        d_sae = dense.shape[-1]
        flat = dense.detach().reshape(math.prod(dense.shape[:-1]), d_sae)
        rows, indices = flat.nonzero(as_tuple=True)
        values = flat[rows, indices].float()
        return Codes.from_entries(rows, indices, values, d_sae, tuple(dense.shape[:-1]))

    @staticmethod
    def from_entries(
        rows: Tensor, indices: Tensor, values: Tensor, d_sae: int, batch_shape: tuple[int, ...]
    ) -> Codes:
        """Codes of entries [nnz] that already stand in order of (row, index)."""
        counts = torch.bincount(rows, minlength=math.prod(batch_shape))
        offsets = torch.zeros(counts.numel() + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        return Codes(values, indices, offsets, d_sae, batch_shape)

    @staticmethod
    def cat(parts: Sequence[Codes]) -> Codes:
        """The rows of all parts, one after another; ``batch_shape`` is (rows,).

        Raises:
            ItemError: there is no part, or the parts are of SAEs of different widths.
        """
        if len({part.d_sae for part in parts}) != 1:
            widths = sorted({part.d_sae for part in parts})
            message = f"Codes.cat needs codes of one width, and at least one; it got widths {widths}."
            raise ItemError(message)
        starts = [0]
        for part in parts:
            starts.append(starts[-1] + part.nnz)
        offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
        end = torch.full((1,), starts[-1], dtype=torch.int64, device=parts[0].offsets.device)
        return Codes(
            values=torch.cat([part.values for part in parts]),
            indices=torch.cat([part.indices for part in parts]),
            offsets=torch.cat([*offsets, end]),
            d_sae=parts[0].d_sae,
            batch_shape=(sum(part.n_rows for part in parts),),
            row_scale=_cat([part.row_scale for part in parts]),
            row_shift=_cat([part.row_shift for part in parts]),
        )

    def __len__(self) -> int:
        return self.n_rows

    @property
    def n_rows(self) -> int:
        """Rows n, whatever their ``batch_shape``."""
        return self.offsets.numel() - 1

    @property
    def nnz(self) -> int:
        """Non-zero entries over all rows."""
        return self.values.numel()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ``to_dense()``: ``batch_shape`` + (d_sae,)."""
        return (*self.batch_shape, self.d_sae)

    @property
    def device(self) -> torch.device:
        """Where the entries are."""
        return self.values.device

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        tensors = (self.values, self.indices, self.offsets, self.row_scale, self.row_shift)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def row_ids(self) -> Tensor:
        """The row of every entry: int64 [nnz], ascending."""
        rows = torch.arange(self.n_rows, device=self.device)
        return torch.repeat_interleave(rows, self.offsets.diff(), output_size=self.nnz)

    def l0(self) -> Tensor:
        """Non-zero codes of every row: int64 of shape ``batch_shape``."""
        return self.offsets.diff().reshape(self.batch_shape)

    def to_dense(self) -> Tensor:
        """Dense codes, ``batch_shape`` + [d_sae]."""
        dense = self.values.new_zeros(self.n_rows, self.d_sae)
        dense[self.row_ids(), self.indices] = self.values
        return dense.reshape(self.shape)

    def rows(self, start: int, stop: int) -> Codes:
        """Rows ``start:stop`` (of the n flattened rows, within 0 ... n); shares memory."""
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        stop = max(start, stop)
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return Codes(
            values=self.values[first:last],
            indices=self.indices[first:last],
            offsets=self.offsets[start : stop + 1] - first,
            d_sae=self.d_sae,
            batch_shape=(stop - start,),
            row_scale=None if self.row_scale is None else self.row_scale[start:stop],
            row_shift=None if self.row_shift is None else self.row_shift[start:stop],
        )

    def take(self, index: Tensor) -> Codes:
        """The rows ``index`` [m] (int64), in that order; ``batch_shape`` is (m,)."""
        counts = self.offsets.diff()[index]
        offsets = self.offsets.new_zeros(len(index) + 1)
        torch.cumsum(counts, 0, out=offsets[1:])
        shift = torch.repeat_interleave(self.offsets[index] - offsets[:-1], counts)
        entries = torch.arange(len(shift), device=self.device) + shift
        return Codes(
            values=self.values[entries],
            indices=self.indices[entries],
            offsets=offsets,
            d_sae=self.d_sae,
            batch_shape=(len(index),),
            row_scale=None if self.row_scale is None else self.row_scale[index],
            row_shift=None if self.row_shift is None else self.row_shift[index],
        )

    def to(self, device: torch.device | str) -> Codes:
        """The same codes on another device."""
        return replace(
            self,
            values=self.values.to(device),
            indices=self.indices.to(device),
            offsets=self.offsets.to(device),
            row_scale=None if self.row_scale is None else self.row_scale.to(device),
            row_shift=None if self.row_shift is None else self.row_shift.to(device),
        )


def _cat(parts: list[Tensor | None]) -> Tensor | None:
    """The parts joined, or None unless all of them are there."""
    present = [part for part in parts if part is not None]
    return torch.cat(present) if len(present) == len(parts) else None
