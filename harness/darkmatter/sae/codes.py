"""Sparse codes: what an SAE says about a batch of activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
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
