"""Files written by ``torch.save``, read without torch's loader: tensors, plain containers, stubs.

Both layouts: the zip archive (torch 1.6 and later) and the stream before it. The pickle inside goes
through ``darkmatter.files.pickles``; the numbers are read by us and checked against the views that
the pickle makes of them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkmatter.errors import SAEFileError, UnsafeFileError
from darkmatter.files import limits
from darkmatter.files.archive import Archive
from darkmatter.files.dtypes import BY_STORAGE, DTYPES, Dtype
from darkmatter.files.header import TensorInfo, check_shape
from darkmatter.files.pickles import Machine
from darkmatter.files.stubs import Builder
from darkmatter.files.text import read_bytes

if TYPE_CHECKING:
    from torch import Tensor

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_VERSION = 1001

if TYPE_CHECKING:
    Opened = Callable[[], AbstractContextManager[Callable[["Storage"], bytearray]]]
    """Opens a file; inside the context, its storages' bytes can be read."""


@dataclass(frozen=True, eq=False)
class Storage:
    """A run of numbers in the file; ``opened`` opens the file for reading its bytes."""

    key: str
    dtype: Dtype
    count: int
    opened: Opened

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.count * self.dtype.width


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
        return TensorInfo(self.shape, self.storage.dtype.name)

    def load(self) -> Tensor:
        """The tensor itself, on the CPU."""
        return load_tensors({"": self})[""]

    def _over(self, flat: Tensor) -> Tensor:
        """The tensor over its storage's numbers, which it shares only where it is all of them."""
        import torch

        view = flat.as_strided(self.shape, self.stride, self.offset)
        whole = view.is_contiguous() and view.numel() == flat.numel()
        return view if whole else view.clone(memory_format=torch.contiguous_format)


def load_tensors(saved: Mapping[str, SavedTensor]) -> dict[str, Tensor]:
    """Tensors of one file: each storage is read once, and kept only by tensors that are all of it."""
    import torch

    loaded: dict[str, Tensor] = {}
    users: dict[Storage, list[str]] = {}
    for name, tensor in saved.items():
        if tensor.info.numel:
            users.setdefault(tensor.storage, []).append(name)
        else:
            loaded[name] = torch.empty(tensor.shape, dtype=getattr(torch, tensor.info.dtype))
    if users:
        with next(iter(users)).opened() as read:
            for storage, names in users.items():
                loaded |= _views(storage, read(storage), {name: saved[name] for name in names})
    return {name: loaded[name] for name in saved}


def _views(storage: Storage, content: bytearray, saved: Mapping[str, SavedTensor]) -> dict[str, Tensor]:
    """The tensors over one storage; no two of them share memory."""
    import torch

    if len(content) != storage.size:
        message = f"The file of storage {storage.key[:40]!r} changed while it was read."
        raise SAEFileError(message)
    flat = torch.frombuffer(content, dtype=getattr(torch, storage.dtype.name))
    views = {name: tensor._over(flat) for name, tensor in saved.items()}  # noqa: SLF001 - the same module
    first = next((name for name, view in views.items() if view.data_ptr() == flat.data_ptr()), None)
    shared = [name for name, view in views.items() if view.data_ptr() == flat.data_ptr() and name != first]
    return views | {name: views[name].clone() for name in shared}


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

    @contextmanager
    def opened() -> Iterator[Callable[[Storage], bytearray]]:
        with Archive(path) as again:
            yield lambda storage: again.read(f"{root}data/{storage.key}")

    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Storage:
        storage = _storage(path, reference, opened, storages)
        declared = sizes.get(f"{root}data/{storage.key}")
        if declared != storage.size:
            message = f"{path}: storage {storage.key[:40]!r} needs {storage.size} bytes, "
            raise SAEFileError(message + f"the archive holds {declared or 0}.")
        return storage

    return _machine(path, stubs, persistent).read(io.BytesIO(stream))


def _read_legacy(path: Path, stubs: tuple[str, ...]) -> Any:
    """The layout before torch 1.6: five pickles, then each storage's count and numbers."""
    with path.open("rb") as file:
        head = io.BytesIO(file.read(limits.PICKLE_BYTES))
    storages: dict[str, Storage] = {}
    starts: dict[str, int] = {}

    @contextmanager
    def opened() -> Iterator[Callable[[Storage], bytearray]]:
        with path.open("rb") as file:

            def read(storage: Storage) -> bytearray:
                file.seek(starts[storage.key])
                content = bytearray(storage.size)
                return content[: file.readinto(content)]

            yield read

    def persistent(reference: Any) -> Storage:
        return _storage(path, reference, opened, storages)

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
            position += 8 + storages[key].size
            if count != storages[key].count or position > size:
                message = f"{path}: storage {key[:40]!r} is cut off or of another size than declared."
                raise SAEFileError(message)
    return starts


def _storage(path: Path, reference: Any, opened: Opened, storages: dict[str, Storage]) -> Storage:
    """The storage that a persistent id speaks of: ('storage', type, key, device, count, ...)."""
    fields = reference if isinstance(reference, tuple) and len(reference) >= 5 else (None,) * 5
    tag, kind, key, _, count = fields[:5]
    if tag != "storage" or not isinstance(kind, Dtype) or not isinstance(key, str) or type(count) is not int:
        message = f"{path}: refers to something other than a tensor's numbers."
        raise UnsafeFileError(message)
    if len(fields) > 5 and fields[5] is not None:
        message = f"{path}: uses storage views of torch before 0.4, which are not read; save it again."
        raise SAEFileError(message)
    if not 0 <= count < 1 << 48:
        message = f"{path}: storage {key[:40]!r} declares {count} numbers."
        raise SAEFileError(message)
    known = storages.setdefault(key, Storage(key, kind, count, opened))
    if (known.dtype, known.count) != (kind, count):
        message = f"{path}: describes storage {key[:40]!r} twice, differently."
        raise SAEFileError(message)
    return known


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
    constants: dict[str, Any] = {f"torch.{name}": dtype for name, dtype in BY_STORAGE.items()}
    constants |= {f"torch.{dtype.name}": f"torch.{dtype.name}" for dtype in DTYPES}
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
