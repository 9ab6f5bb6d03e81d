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

from darkmatter.errors import DarkmatterError
from darkmatter.files.atomic import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

# safetensors' name of each dtype, torch's name, bytes per number.
_DTYPES = {
    "F64": ("float64", 8),
    "I64": ("int64", 8),
    "F32": ("float32", 4),
    "I32": ("int32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
_CODES = {name: code for code, (name, _) in _DTYPES.items()}
_MAX_HEADER = 1 << 20
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

        width = _DTYPES[_CODES[self.dtype]][1]
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
        width = _DTYPES[_CODES[self.dtype]][1]
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
            "dtype": _CODES[str(tensor.dtype).removeprefix("torch.")],
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
    if not path.is_file():
        message = f"{path}: there is no such file."
        raise TensorFileError(message)
    size = path.stat().st_size
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            message = f"{path}: is not a safetensors file, or it is cut off."
            raise TensorFileError(message)
        header = _parse_header(path, handle.read(length))
    buffer = np.memmap(path, dtype=np.uint8, mode="c")
    base = 8 + length
    tensors = {name: _map_entry(path, name, entry, buffer, base) for name, entry in header.items()}
    if sum(tensor.bytes.size for tensor in tensors.values()) != size - base:
        message = f"{path}: is cut off or damaged: its tensors do not fill it exactly."
        raise TensorFileError(message)
    return tensors


def _parse_header(path: Path, text: bytes) -> dict[str, Any]:
    """The JSON header without its free-text metadata."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"{path}: its header is not JSON ({error}); the file is damaged."
        raise TensorFileError(message) from error
    if not isinstance(header, dict):
        message = f"{path}: its header is not a JSON object."
        raise TensorFileError(message)
    header.pop("__metadata__", None)
    return header


def _map_entry(path: Path, name: str, entry: Any, buffer: np.ndarray, base: int) -> MappedTensor:
    """One header entry, checked, as a mapped tensor."""
    try:
        dtype, width = _DTYPES[entry["dtype"]]
        shape = tuple(entry["shape"])
        start, stop = entry["data_offsets"]
        sane = all(type(number) is int and number >= 0 for number in (*shape, start, stop))
    except (KeyError, TypeError, ValueError) as error:
        message = f"{path}: the header entry of {name!r} cannot be read ({error!r})."
        raise TensorFileError(message) from error
    if not sane or stop - start != math.prod(shape) * width or base + stop > buffer.size:
        message = f"{path}: the header entry of {name!r} does not fit the file: {entry}."
        raise TensorFileError(message)
    return MappedTensor(buffer, base + start, shape, dtype)
