"""What tensors a safetensors file holds, checked before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkmatter.errors import SAEFileError
from darkmatter.files import limits
from darkmatter.files.dtypes import BY_SAFETENSORS
from darkmatter.files.text import parse_json


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as a file declares it."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def check_shape(shape: Any, where: str) -> tuple[int, ...]:
    """A declared shape as a tuple of sane sizes."""
    sizes = shape if isinstance(shape, list | tuple) else None
    if sizes is not None and len(sizes) > limits.RANK:
        message = f"{where}: has {len(sizes)} dimensions; an SAE's tensors have at most {limits.RANK}."
        raise SAEFileError(message)
    if sizes is None or not all(type(size) is int and 0 <= size < 1 << 48 for size in sizes):
        message = f"{where}: its shape is not a list of sizes between 0 and 2^48."
        raise SAEFileError(message)
    return tuple(sizes)


def safetensors_header(path: Path) -> dict[str, TensorInfo]:
    """Names, shapes and dtypes, after checking that they fill the file exactly."""
    return {name: info for name, (info, _) in safetensors_layout(path).items()}


def safetensors_layout(path: Path) -> dict[str, tuple[TensorInfo, int]]:
    """Each tensor's shape and dtype, and the byte of the file at which its numbers begin.

    The checks repeat those of the safetensors library on purpose: ours name the tensor and what
    was expected, and come before a byte of the numbers is read.
    """
    size = _file_size(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length > min(size - 8, limits.HEADER_BYTES):
            message = f"{path}: is not a safetensors file: {_sniff(path)}."
            raise SAEFileError(message)
        declared = parse_json(file.read(length), f"{path} (header)")
    declared.pop("__metadata__", None)
    if len(declared) > limits.ENTRIES:
        message = f"{path}: declares {len(declared)} tensors; expected at most {limits.ENTRIES}."
        raise SAEFileError(message)
    spans = [_span(path, name, entry) for name, entry in declared.items()]
    _check_cover(path, spans, size - 8 - length)
    return {name: (info, 8 + length + start) for name, info, start, _ in spans}


def _span(path: Path, name: str, entry: Any) -> tuple[str, TensorInfo, int, int]:
    """One header entry, checked on its own: (name, info, first byte, end)."""
    where = f"{path}: tensor {name[:80]!r}"
    if not isinstance(entry, dict):
        message = f"{where}: expected dtype, shape and data_offsets."
        raise SAEFileError(message)
    if not isinstance(entry.get("dtype"), str) or entry["dtype"] not in BY_SAFETENSORS:
        known = ", ".join(BY_SAFETENSORS)
        message = f"{where}: has dtype {str(entry.get('dtype'))[:20]!r}; expected one of {known}."
        raise SAEFileError(message)
    dtype = BY_SAFETENSORS[entry["dtype"]]
    shape = check_shape(entry.get("shape"), where)
    offsets = entry.get("data_offsets")
    if not (
        isinstance(offsets, list) and len(offsets) == 2 and all(type(offset) is int for offset in offsets)
    ):
        message = f"{where}: its data_offsets are not two integers."
        raise SAEFileError(message)
    start, end = offsets
    needed = math.prod(shape) * dtype.width
    if end - start != needed:
        message = f"{where}: {dtype.name}{list(shape)} needs {needed} bytes, {end - start} given."
        raise SAEFileError(message)
    return name, TensorInfo(shape, dtype.name), start, end


def _check_cover(path: Path, spans: list[tuple[str, TensorInfo, int, int]], size: int) -> None:
    """The tensors must fill the data part without gap or overlap."""
    position = 0
    for name, _, start, end in sorted(spans, key=lambda span: span[2:]):
        if start != position:
            fault = "overlaps the one before it" if start < position else "leaves a gap before it"
            message = f"{path}: tensor {name[:80]!r} {fault} (starts at byte {start}, expected {position})."
            raise SAEFileError(message)
        position = end
    if position != size:
        fault = "is cut off" if position > size else "has bytes that belong to no tensor"
        message = f"{path}: {fault}: the header declares {position} bytes of numbers, the file holds {size}."
        raise SAEFileError(message)


def _file_size(path: Path) -> int:
    if not path.is_file():
        message = f"{path}: there is no such file."
        raise SAEFileError(message)
    return path.stat().st_size


MAGICS = (
    (b"PK", "it starts like a zip archive (torch .pt or npz)"),
    (b"\x80", "it starts like a pickle"),
    (b"\x1f\x8b", "it starts like a gzip file"),
    (b"version https://git-lfs", "it is a git-lfs pointer; the weights were not downloaded (`git lfs pull`)"),
    (b"<", "it starts like a web page, so the download failed"),
)


def _sniff(path: Path) -> str:
    """What a file is instead, from its first bytes."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "it is empty"
    guess = next((what for magic, what in MAGICS if start.startswith(magic)), None)
    return guess or "its header size does not fit the file (damaged or cut off)"
