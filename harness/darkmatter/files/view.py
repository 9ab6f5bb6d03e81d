"""A read-only view of what a reference points to: one folder, or one file in it."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from darkmatter.errors import DarkmatterError, SAEFileError, did_you_mean
from darkmatter.files import limits
from darkmatter.files.header import TensorInfo, safetensors_header
from darkmatter.files.npz import npz_header, npz_tensors
from darkmatter.files.text import read_json, read_yaml
from darkmatter.files.torch_files import SavedTensor, load_tensors, read_torch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from torch import Tensor

    from darkmatter.fetching.locate import Origin
    from darkmatter.files.weights import Weights

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
FOLDERS_SEEN = 2000
FOLDER_DEPTH = 4


class FileView:
    """What adapters see of an SAE on disk.

    A folder shows its files; a file shows itself, and lets its neighbours be read by name (a
    configuration beside the weights). Names are given by adapters, never taken from a file's
    content, and never leave the folder. Symbolic links to files are followed, since the Hugging
    Face cache is made of them.

    Attributes:
        path: what the reference points to.
        root: the folder.
        opened: the files that were asked for by name since this was last cleared.
        index_used: whether an adapter has asked for ``index``; one that never does reads no such file.
        origin: where fetched files come from.
    """

    origin: Origin | None = None

    def __init__(self, path: str | Path, index: int | None = None) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
        self._index, self.index_used = index, False
        self.opened: set[str] = set()
        self._json: dict[tuple[str, bool], dict[str, Any]] = {}
        self._pickles: dict[str, list[_Parse]] = {}
        try:
            folder, file = self.path.is_dir(), self.path.is_file()
        except (OSError, ValueError):  # too long, or not a path at all
            folder, file = False, False
        if not folder and not file:
            message = f"{str(self.path)[:500]}: there is no such file or folder."
            raise SAEFileError(message)
        self.root = self.path if folder else self.path.parent

    def __str__(self) -> str:
        return str(self.path)

    @property
    def index(self) -> int | None:
        """Which of several SAEs in one file (``file#index``), if the reference says."""
        self.index_used = True
        return self._index

    @cached_property
    def _names(self) -> tuple[str, ...]:
        if self.path.is_file():
            return (self.path.name,)
        try:
            with os.scandir(self.root) as entries:
                return tuple(sorted(entry.name for entry in entries if entry.is_file()))
        except OSError as error:
            message = f"{self.root}: cannot be listed: {error.strerror or error}."
            raise SAEFileError(message) from error

    def names(self) -> tuple[str, ...]:
        """The files on offer, sorted: those of the folder, or the one file."""
        return self._names

    def has(self, name: str) -> bool:
        """Whether the folder holds this file, even where the reference points to another one."""
        return self.file(name).is_file()

    def file(self, name: str) -> Path:
        """The path of a file in the folder."""
        if not name or name != Path(name).name or "\x00" in name or name in {".", ".."}:
            message = f"{self.root}: {name!r} is not the name of a file in this folder."
            raise SAEFileError(message)
        return self.root / name

    def json(self, name: str, *, allow_nan: bool = False) -> dict[str, Any]:
        """The object in a JSON file."""
        path, key = self._existing(name), (name, allow_nan)
        if key not in self._json:
            self._json[key] = read_json(path, allow_nan=allow_nan)
        return self._json[key]

    def yaml(self, name: str) -> dict[str, Any]:
        """The mapping in a YAML file."""
        return read_yaml(self._existing(name))

    def header(self, name: str) -> dict[str, TensorInfo] | None:
        """Names, shapes and dtypes without loading; None for ``.pt`` files, which do not say."""
        path = self._existing(name)
        if name.endswith(".npz"):
            return npz_header(path)
        return None if name.endswith(TORCH_SUFFIXES) else safetensors_header(path)

    def saved_header(self, name: str) -> dict[str, TensorInfo] | None:
        """Like ``header`` for a ``.pt`` file: follows its pickle stream, loads none of its numbers."""
        content = self.pickled(name) if name.endswith(TORCH_SUFFIXES) else None
        if not isinstance(content, dict):
            return None
        return {key: tensor.info for key, tensor in _named(str(self.file(name)), content).items()}

    def pickled(self, name: str, stubs: Iterable[str] = ()) -> Any:
        """What a ``torch.save`` file holds: ``SavedTensor`` and ``Stub`` objects in plain containers.

        ``stubs`` are globs over the class names that the format is known to store. A file is parsed
        once for all adapters: what was read with fewer stubs is the same with more, and what more
        stubs did not help is not helped by fewer.
        """
        path, wanted = self._existing(name), frozenset(stubs)
        known = self._pickles.setdefault(name, [])
        parse = next((parse for parse in known if parse.answers(wanted)), None)
        if parse is None:
            parse = _Parse.of(path, wanted)
            known.append(parse)
        if parse.error is not None:
            raise parse.error.with_traceback(None)
        return parse.content

    def tensors(
        self, name: str, marker: str | None = None, only: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """All tensors of a file by name, or those of a safetensors file that ``only`` names.

        In a ``.pt`` file those of its top-level dictionary, or, where ``marker`` names a tensor,
        of the nearest dictionary inside that has it (a checkpoint keeps the weights one level down).
        """
        path = self._existing(name)
        if name.endswith(".npz"):
            return npz_tensors(path)
        if name.endswith(TORCH_SUFFIXES):
            return _saved(path, _dictionary_with(self.pickled(name), marker))
        return _safetensors(path, only)

    def weights(self, name: str, marker: str | None = None, only: Collection[str] | None = None) -> Weights:
        """The tensors of a file, to be taken with their shapes checked.

        Of a safetensors file ``only`` loads the tensors that it names; the others are there with
        their shapes (``Weights.sized``).
        """
        from darkmatter.files.weights import Weights

        tensors = self.tensors(name, marker, only)
        header = {} if only is None else self.header(name) or {}
        unread = {key: info for key, info in header.items() if key not in tensors}
        return Weights(tensors, str(self.file(name)), unread)

    def parent(self) -> Self | None:
        """A view of the folder above, for configurations that are written once for a whole run."""
        above = self.root.parent
        return type(self)(above) if above != self.root else None

    def subfolders(self) -> Iterator[FileView]:
        """Folders below this one, nearest first; links are not followed."""
        level, seen = [self.root], 0
        for _ in range(FOLDER_DEPTH):
            below: list[Path] = []
            for folder in level:
                try:
                    children = sorted(child for child in folder.iterdir() if child.is_dir())
                except OSError:
                    continue
                below += [child for child in children if not child.is_symlink()]
            for folder in below:
                seen += 1
                if seen > FOLDERS_SEEN:
                    return
                yield FileView(folder)
            level = below

    def _existing(self, name: str) -> Path:
        path = self.file(name)
        self.opened.add(name)
        if self.has(name):
            return path
        others = [other for other in self.names() if other != name]
        what = "is a folder, not a file" if path.is_dir() else "there is no such file"
        message = f"{path}: {what}. {did_you_mean(name, others)}"
        raise SAEFileError(message)


class _Parse(NamedTuple):
    """What came of reading a saved file with some stubs."""

    stubs: frozenset[str]
    content: Any
    error: DarkmatterError | None

    @classmethod
    def of(cls, path: Path, stubs: frozenset[str]) -> Self:
        try:
            return cls(stubs, read_torch(path, sorted(stubs)), None)
        except DarkmatterError as error:
            return cls(stubs, None, error)

    def answers(self, stubs: frozenset[str]) -> bool:
        """Whether reading the file with these stubs would end the same."""
        return self.stubs >= stubs if self.error is not None else self.stubs <= stubs


def _named(where: str, content: dict[Any, Any]) -> dict[str, SavedTensor]:
    """The tensors of a saved dictionary and of the dictionaries in it, by dotted name."""
    found = _direct(where, content)
    # A dictionary may stand under many keys: its tensors are looked for once.
    known: dict[int, dict[str, SavedTensor]] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            if id(value) not in known:
                known[id(value)] = _direct(where, value)
            prefix, below = _name(where, key) if known[id(value)] else "", known[id(value)]
            _check_count(where, len(found) + len(below))
            found.update((f"{prefix}.{name}", tensor) for name, tensor in below.items())
    return found


def _direct(where: str, content: dict[Any, Any]) -> dict[str, SavedTensor]:
    """The tensors of one dictionary by name."""
    found = {key: value for key, value in content.items() if isinstance(value, SavedTensor)}
    _check_count(where, len(found))
    return {_name(where, key): value for key, value in found.items()}


def _check_count(where: str, count: int) -> None:
    if count > limits.ENTRIES:
        message = f"{where}: names {count} tensors; expected at most {limits.ENTRIES}."
        raise SAEFileError(message)


def _name(where: str, key: Any) -> str:
    """The key of a tensor as text."""
    if isinstance(key, str | int) and len(name := str(key)) <= limits.NAME:
        return name
    message = f"{where}: a tensor's name is not text of at most {limits.NAME} characters."
    raise SAEFileError(message)


def _dictionary_with(content: Any, marker: str | None) -> Any:
    """The content, or the one value in it that is a dictionary with ``marker`` in it."""
    if marker is None or not isinstance(content, dict) or marker in content:
        return content
    inside = [value for value in content.values() if isinstance(value, dict) and marker in value]
    return inside[0] if len(inside) == 1 else content


def _saved(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors in a saved dictionary."""
    if not isinstance(content, dict):
        message = f"{path}: holds a {type(content).__name__}; expected a dictionary of tensors."
        raise SAEFileError(message)
    saved = _direct(str(path), content)
    total = sum(value.info.numel * value.storage.dtype.width for value in saved.values())
    total += sum(storage.size for storage in {value.storage for value in saved.values()})
    # Many views of one storage would each become a tensor of their own.
    if total > max(limits.INFLATION_FLOOR, 4 * path.stat().st_size):
        message = f"{path}: its tensors overlap and would need {limits.human(total)}."
        raise SAEFileError(message)
    return load_tensors(saved)


def _safetensors(path: Path, only: Collection[str] | None) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    names = safetensors_header(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in names if only is None or name in only}
    except (SafetensorError, OSError, ValueError) as error:
        message = f"{path}: cannot be read: {error}."
        raise SAEFileError(message) from error
