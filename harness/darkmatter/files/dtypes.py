"""The number types that weights come in, and what each format calls them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dtype:
    """One type of number.

    Attributes:
        name: torch's name.
        width: bytes per number.
        safetensors: its name in safetensors headers.
        storage: the class that ``torch.save`` names for it, without the module.
        numpy: its descr in .npy headers, little-endian; None where numpy has no such type.
    """

    name: str
    width: int
    safetensors: str
    storage: str
    numpy: str | None


DTYPES = (
    Dtype("float64", 8, "F64", "DoubleStorage", "<f8"),
    Dtype("float32", 4, "F32", "FloatStorage", "<f4"),
    Dtype("float16", 2, "F16", "HalfStorage", "<f2"),
    Dtype("bfloat16", 2, "BF16", "BFloat16Storage", None),
    Dtype("int64", 8, "I64", "LongStorage", "<i8"),
    Dtype("int32", 4, "I32", "IntStorage", "<i4"),
    Dtype("int16", 2, "I16", "ShortStorage", "<i2"),
    Dtype("int8", 1, "I8", "CharStorage", "|i1"),
    Dtype("uint8", 1, "U8", "ByteStorage", "|u1"),
    Dtype("bool", 1, "BOOL", "BoolStorage", "|b1"),
)

BY_NAME = {dtype.name: dtype for dtype in DTYPES}
BY_SAFETENSORS = {dtype.safetensors: dtype for dtype in DTYPES}
BY_STORAGE = {dtype.storage: dtype for dtype in DTYPES}
BY_NUMPY = {dtype.numpy: dtype for dtype in DTYPES if dtype.numpy is not None}
