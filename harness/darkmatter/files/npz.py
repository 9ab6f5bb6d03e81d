"""numpy's .npz without numpy's loader: no pickle, sizes and dtypes checked first."""

from __future__ import annotations

import ast
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from darkmatter.errors import SAEFileError, UnsafeFileError
from darkmatter.files.archive import Archive
from darkmatter.files.dtypes import BY_NUMPY
from darkmatter.files.header import TensorInfo, check_shape
from darkmatter.files.text import bad_escapes_raise

if TYPE_CHECKING:
    from torch import Tensor

MAGIC = b"\x93NUMPY"
HEADER_CHARACTERS = 4096


def npz_header(path: Path) -> dict[str, TensorInfo]:
    """Names, shapes and dtypes of the arrays in an .npz."""
    with Archive(path) as archive:
        return {_array_name(path, member): _header(archive, member)[0] for member in archive.sizes}


def npz_tensors(path: Path) -> dict[str, Tensor]:
    """All arrays of an .npz as tensors."""
    with Archive(path) as archive:
        return {_array_name(path, member): _tensor(archive, member) for member in archive.sizes}


def _array_name(path: Path, member: str) -> str:
    if not member.endswith(".npy"):
        message = f"{path}: holds {member[:80]!r}; expected only arrays (.npy)."
        raise SAEFileError(message)
    return member.removesuffix(".npy")


def _header(archive: Archive, member: str) -> tuple[TensorInfo, bool, int]:
    """(shape and dtype, column-major order, first byte of the numbers) of one array."""
    where = f"{archive.path}: array {member[:80]!r}"
    start = archive.read(member, limit=HEADER_CHARACTERS + 12)
    if not start.startswith(MAGIC) or len(start) < 12:
        what = "holds a pickle" if start[:1] == b"\x80" else "is not a .npy array"
        message = f"{where}: {what}; expected numbers in numpy's format."
        raise UnsafeFileError(message) if start[:1] == b"\x80" else SAEFileError(message)
    width = 2 if start[6] == 1 else 4
    begin = 8 + width
    length = int.from_bytes(start[8:begin], "little")
    fields = _fields(start[begin : begin + length], length, where)
    dtype = BY_NUMPY.get(fields["descr"]) if isinstance(fields["descr"], str) else None
    if dtype is None:
        _refuse_dtype(fields["descr"], where)
    shape = check_shape(fields["shape"], where)
    expected = begin + length + math.prod(shape) * dtype.width
    if archive.sizes[member] != expected:
        message = f"{where}: {dtype.name}{list(shape)} needs {expected} bytes, {archive.sizes[member]} given."
        raise SAEFileError(message)
    return TensorInfo(shape, dtype.name), fields["fortran_order"] is True, begin + length


def _fields(content: bytearray, length: int, where: str) -> dict[str, Any]:
    """The Python literal in a .npy header."""
    try:
        with warnings.catch_warnings():
            bad_escapes_raise()
            fields = ast.literal_eval(content.decode("latin-1")) if length <= HEADER_CHARACTERS else None
    except (Warning, ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        message = f"{where}: its header is damaged; expected descr, fortran_order and shape."
        raise SAEFileError(message)
    return fields


def _refuse_dtype(descr: Any, where: str) -> NoReturn:
    if isinstance(descr, str) and "O" in descr:
        message = f"{where}: holds Python objects (a pickle); weights are numbers, so it is refused."
        raise UnsafeFileError(message)
    message = f"{where}: has dtype {str(descr)[:40]!r}; expected one of {', '.join(BY_NUMPY)}."
    raise SAEFileError(message)


def _tensor(archive: Archive, member: str) -> Tensor:
    import torch

    info, column_major, begin = _header(archive, member)
    content = archive.read(member)
    dtype = getattr(torch, info.dtype)
    if math.prod(info.shape) == 0:
        return torch.empty(info.shape, dtype=dtype)
    if begin % 8:  # numpy aligns to 64 bytes; unaligned floats are undefined behaviour
        content, begin = content[begin:], 0
    flat = torch.frombuffer(content, dtype=dtype, offset=begin)
    if not column_major:
        return flat.reshape(info.shape)
    return flat.reshape(info.shape[::-1]).permute(*reversed(range(len(info.shape)))).contiguous()
