"""Writing safetensors files in one pass, and mapping them into memory without reading them.

The safetensors library copies what it slices; activations are read many times and may exceed the
memory, so here a file is mapped, and rows are views of the mapping.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from darkmatter.errors import DarkmatterError, SAEFileError
from darkmatter.files.atomic import write_atomically
from darkmatter.files.dtypes import BY_NAME
from darkmatter.files.header import safetensors_layout

if TYPE_CHECKING:
    from torch import Tensor

_ALIGNMENT = 64


class TensorFileError(DarkmatterError):
    """A tensor file is damaged, or not one at all."""


@dataclass(frozen=True)
class MappedTensor:
    """One tensor of a mapped file; nothing is read before ``rows`` is called."""

    buffer: np.ndarray
    """All bytes of the file, mapped copy-on-write so that torch takes it as writable."""
    start: int
    shape: tuple[int, ...]
    dtype: str

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows ``start:stop`` of the first dimension: a view of the mapping where it is aligned."""
        import torch

        width = BY_NAME[self.dtype].width
        row = math.prod(self.shape[1:]) * width
        raw = self.buffer[self.start + start * row : self.start + stop * row]
        if self.start % width:
            raw = raw.copy()
        shape = (stop - start, *self.shape[1:])
        if not raw.size:
            return torch.empty(shape, dtype=getattr(torch, self.dtype))
        return torch.from_numpy(raw).view(getattr(torch, self.dtype)).view(shape)

    def all(self) -> Tensor:
        """The whole tensor."""
        return self.rows(0, self.shape[0])

    @property
    def bytes(self) -> np.ndarray:
        """The raw bytes, for hashing."""
        width = BY_NAME[self.dtype].width
        return self.buffer[self.start : self.start + math.prod(self.shape) * width]


def encode_tensors(tensors: Mapping[str, Tensor]) -> list[memoryview]:
    """The pieces of the safetensors file that holds ``tensors``, without copying the numbers."""
    import torch

    items = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {}
    pieces = []
    position = 0
    for name, tensor in items:
        data = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy()
        header[name] = {
            "dtype": BY_NAME[str(tensor.dtype).removeprefix("torch.")].safetensors,
            "shape": list(tensor.shape),
            "data_offsets": [position, position + data.nbytes],
        }
        position += data.nbytes
        pieces.append(data.data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return [memoryview(len(text).to_bytes(8, "little") + text), *pieces]


def hash_pieces(pieces: list[memoryview]) -> str:
    """The ``file_hash`` of the file that the pieces will make."""
    hasher = xxhash.xxh3_128()
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest()


def write_pieces(path: Path, pieces: list[memoryview]) -> None:
    """Write the pieces to ``path``, atomically."""
    with write_atomically(path) as handle:
        for piece in pieces:
            handle.write(piece)


def map_tensors(path: Path) -> dict[str, MappedTensor]:
    """All tensors of a safetensors file, mapped; the header is checked against the file's size."""
    try:
        layout = safetensors_layout(path)
    except SAEFileError as error:
        raise TensorFileError(str(error)) from error
    buffer = np.memmap(path, dtype=np.uint8, mode="c")
    return {
        name: MappedTensor(buffer, start, info.shape, info.dtype) for name, (info, start) in layout.items()
    }
