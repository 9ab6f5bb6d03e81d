"""Files written by ``torch.save``, read without torch's loader: tensors, plain containers, stubs.

Both layouts: the zip archive (torch 1.6 and later) and the stream before it. The pickle inside goes
through ``darkmatter.files.pickles``; the numbers are read by us and checked against the views that
the pickle makes of them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkmatter.errors import SAEFileError, UnsafeFileError
from darkmatter.files import limits
from darkmatter.files.archive import Archive
from darkmatter.files.header import TensorInfo, check_shape
from darkmatter.files.pickles import Machine
from darkmatter.files.stubs import Builder
from darkmatter.files.text import read_bytes

if TYPE_CHECKING:
    from torch import Tensor

STORAGES = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_VERSION = 1001


@dataclass(frozen=True, eq=False)
class Storage:
    """A run of numbers in the file; ``read`` fetches its bytes."""

    key: str
    dtype: str
    count: int
    width: int
    read: Callable[[Storage], bytearray]


@dataclass(frozen=True, eq=False)
class SavedTensor:
    """A tensor that lies in a file: known by shape and dtype, read by ``load``."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def info(self) -> TensorInfo:
        """Shape and dtype."""
        return TensorInfo(self.shape, self.storage.dtype)

    def load(self) -> Tensor:
        """The tensor itself, on the CPU."""
        import torch

        dtype = getattr(torch, self.storage.dtype)
        if math.prod(self.shape) == 0:
            return torch.empty(self.shape, dtype=dtype)
        content = self.storage.read(self.storage)
        if len(content) != self.storage.count * self.storage.width:
            message = f"The file of storage {self.storage.key[:40]!r} changed while it was read."
            raise SAEFileError(message)
        flat = torch.frombuffer(content, dtype=dtype)
        return flat.as_strided(self.shape, self.stride, self.offset).contiguous()


def read_torch(path: Path, stubs: Iterable[str] = ()) -> Any:
    """What ``torch.save`` was given, with a ``SavedTensor`` for each tensor and a ``Stub`` for each object.

    ``stubs`` are globs over the class names of a format's own objects.
    """
    start = _start(path)
    if start.startswith(b"PK"):
        return _read_zip(path, tuple(stubs))
    if start.startswith(LEGACY_MAGIC):
        return _read_legacy(path, tuple(stubs))
    if start.startswith(b"\x80"):
        # Follow it as far as needed to say what it asks for.
        content = io.BytesIO(read_bytes(path, limits.PICKLE_BYTES, "a pickle"))
        Machine(str(path), stubs=stubs).read(content)
        message = f"{path}: is a plain pickle, not a file of torch.save; expected tensors."
        raise SAEFileError(message)
    message = f"{path}: is not a file of torch.save (damaged, cut off, or another format)."
    raise SAEFileError(message)


def _start(path: Path) -> bytes:
    if not path.is_file():
        message = f"{path}: there is no such file."
        raise SAEFileError(message)
    with path.open("rb") as file:
        return file.read(64)


def _read_zip(path: Path, stubs: tuple[str, ...]) -> Any:
    with Archive(path) as archive:
        pickles = [name for name in archive.sizes if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(pickles) != 1:
            message = f"{path}: expected one data.pkl inside, as torch.save writes; found {len(pickles)}."
            raise SAEFileError(message)
        root = pickles[0].removesuffix("data.pkl")
        order = root + "byteorder"
        if order in archive.sizes and archive.read(order, limit=16) != b"little":
            message = f"{path}: was written on a big-endian machine; save it again on a little-endian one."
            raise SAEFileError(message)
        if archive.sizes[pickles[0]] > limits.PICKLE_BYTES:
            message = f"{path}: its pickle stream is larger than {limits.human(limits.PICKLE_BYTES)}."
            raise SAEFileError(message)
        stream = bytes(archive.read(pickles[0]))
        sizes = archive.sizes

    def read(storage: Storage) -> bytearray:
        with Archive(path) as again:
            return again.read(f"{root}data/{storage.key}")

    def persistent(reference: Any) -> Storage:
        storage = _storage(path, reference, read)
        declared = sizes.get(f"{root}data/{storage.key}")
        if declared != storage.count * storage.width:
            message = f"{path}: storage {storage.key[:40]!r} needs {storage.count * storage.width} bytes, "
            raise SAEFileError(message + f"the archive holds {declared or 0}.")
        return storage

    return _machine(path, stubs, persistent).read(io.BytesIO(stream))


def _read_legacy(path: Path, stubs: tuple[str, ...]) -> Any:
    """The layout before torch 1.6: five pickles, then each storage's count and numbers."""
    with path.open("rb") as file:
        head = io.BytesIO(file.read(limits.PICKLE_BYTES))
    storages: dict[str, Storage] = {}
    starts: dict[str, int] = {}

    def read(storage: Storage) -> bytearray:
        with path.open("rb") as file:
            file.seek(starts[storage.key])
            content = bytearray(storage.count * storage.width)
            filled = file.readinto(content)
        return content[:filled]

    def persistent(reference: Any) -> Storage:
        storage = _storage(path, reference, read)
        known = storages.setdefault(storage.key, storage)
        if (known.dtype, known.count) != (storage.dtype, storage.count):
            message = f"{path}: describes storage {storage.key[:40]!r} twice, differently."
            raise SAEFileError(message)
        return known

    machine = _machine(path, stubs, persistent)
    machine.read(head)
    version, system = machine.read(head), machine.read(head)
    if version != LEGACY_VERSION or not isinstance(system, dict) or system.get("little_endian") is not True:
        message = f"{path}: is not the little-endian layout of torch before 1.6 (version {LEGACY_VERSION})."
        raise SAEFileError(message)
    content, keys = machine.read(head), machine.read(head)
    starts |= _legacy_starts(path, keys, storages, head.tell())
    return content


def _legacy_starts(path: Path, keys: Any, storages: dict[str, Storage], position: int) -> dict[str, int]:
    """Where the numbers of each storage begin, after checking counts and the file's size."""
    if (
        not isinstance(keys, list)
        or not all(isinstance(key, str) for key in keys)
        or set(keys) != set(storages)
    ):
        message = f"{path}: its list of storages does not fit its tensors."
        raise SAEFileError(message)
    starts, size = {}, path.stat().st_size
    with path.open("rb") as file:
        for key in keys:
            file.seek(position)
            count = int.from_bytes(file.read(8), "little")
            starts[key] = position + 8
            position += 8 + storages[key].count * storages[key].width
            if count != storages[key].count or position > size:
                message = f"{path}: storage {key[:40]!r} is cut off or of another size than declared."
                raise SAEFileError(message)
    return starts


def _storage(path: Path, reference: Any, read: Callable[[Storage], bytearray]) -> Storage:
    """The storage that a persistent id speaks of: ('storage', type, key, device, count, ...)."""
    fields = reference if isinstance(reference, tuple) and len(reference) >= 5 else (None,) * 5
    tag, kind, key, _, count = fields[:5]
    known = isinstance(kind, tuple) and kind in STORAGES.values()
    if tag != "storage" or not known or not isinstance(key, str) or type(count) is not int:
        message = f"{path}: refers to something other than a tensor's numbers."
        raise UnsafeFileError(message)
    if len(fields) > 5 and fields[5] is not None:
        message = f"{path}: uses storage views of torch before 0.4, which are not read; save it again."
        raise SAEFileError(message)
    if not 0 <= count < 1 << 48:
        message = f"{path}: storage {key[:40]!r} declares {count} numbers."
        raise SAEFileError(message)
    return Storage(key, kind[0], count, kind[1], read)


def _machine(path: Path, stubs: tuple[str, ...], persistent: Callable[[Any], Storage]) -> Machine:
    def tensor(arguments: tuple[Any, ...]) -> SavedTensor:
        return _tensor(path, arguments)

    def parameter(arguments: tuple[Any, ...]) -> Any:
        if not arguments or not isinstance(arguments[0], SavedTensor):
            message = f"{path}: makes a parameter of something other than a tensor."
            raise SAEFileError(message)
        return arguments[0]

    builders: dict[str, Builder] = {
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_parameter": parameter,
        "torch._utils._rebuild_parameter_with_state": parameter,
        "torch.Size": lambda arguments: arguments[0],
    }
    constants: dict[str, Any] = {f"torch.{name}": kind for name, kind in STORAGES.items()}
    constants |= {f"torch.{dtype}": f"torch.{dtype}" for dtype, _ in STORAGES.values()}
    return Machine(str(path), builders=builders, constants=constants, persistent=persistent, stubs=stubs)


def _tensor(path: Path, arguments: tuple[Any, ...]) -> SavedTensor:
    """A view of a storage, checked to lie inside it."""
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        message = f"{path}: makes a tensor of something other than a storage."
        raise SAEFileError(message)
    storage, offset, size, stride = arguments[:4]
    where = f"{path}: a tensor over storage {storage.key[:40]!r}"
    shape, steps = check_shape(size, where), check_shape(stride, where)
    if len(shape) != len(steps) or type(offset) is not int or offset < 0:
        message = f"{where}: its shape, stride and offset do not fit together."
        raise SAEFileError(message)
    last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if math.prod(shape) and (last >= storage.count or math.prod(shape) > storage.count):
        message = f"{where}: reaches beyond the {storage.count} numbers that the file holds for it."
        raise SAEFileError(message)
    return SavedTensor(storage, offset, shape, steps)
