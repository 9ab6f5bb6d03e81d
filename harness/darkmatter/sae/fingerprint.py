"""A hash of numbers and meaning: equal fingerprints compute the same codes and reconstructions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
import xxhash
from torch import Tensor

CHUNK_ELEMENTS = 1 << 22


def fingerprint(semantics: Mapping[str, Any], tensors: Mapping[str, Tensor | None]) -> str:
    """xxh3_128 of JSON-able semantics and of tensors by name, hex.

    Independent of the device, of memory layout, and of the storage dtype where that loses nothing:
    values are hashed as float32, or as float64 where float32 cannot hold them; -0.0 counts as 0.0.
    """
    digest = xxhash.xxh3_128()
    digest.update(json.dumps(semantics, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        shape = None if tensor is None else list(tensor.shape)
        digest.update(f"\n{name}{json.dumps(shape)}".encode())
        if tensor is not None:
            _update(digest, tensor)
    return digest.hexdigest()


def _update(digest: xxhash.xxh3_128, tensor: Tensor) -> None:
    """Feed a tensor's values in row-major order, a piece at a time."""
    rows = tensor.detach().reshape(-1, tensor.shape[-1] if tensor.ndim else 1)
    double = tensor.dtype == torch.float64 and not _fits_float32(rows)
    digest.update(b"float64" if double else b"float32")
    step = max(1, CHUNK_ELEMENTS // max(1, rows.shape[1]))
    for start in range(0, rows.shape[0], step):
        piece = rows[start : start + step].to("cpu", torch.float64 if double else torch.float32)
        digest.update((piece + 0.0).contiguous().numpy().tobytes())


def _fits_float32(rows: Tensor) -> bool:
    """Whether float64 values survive the way to float32 and back (NaN counts as surviving)."""
    back = rows.float().double()
    return bool(((back == rows) | rows.isnan()).all())
