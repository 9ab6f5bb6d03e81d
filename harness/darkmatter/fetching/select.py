"""Which files of a repository an SAE needs: its weights, and what its format keeps beside and above."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from darkmatter.errors import ItemError, nearest
from darkmatter.files.limits import JSON_BYTES
from darkmatter.printable import printable

if TYPE_CHECKING:
    from darkmatter.descriptors import SAEAdapter

WEIGHTS = (".safetensors", ".npz", ".pt", ".pth")
CONFIGS = (".json", ".yaml", ".yml")
SMALL = 1_000_000
"""Bytes of a configuration above an SAE; formats keep what holds for a whole run there."""
SHOWN = 8

_TRAINING = re.compile(
    r"(?:^|[._-])(?:optim|optimizers?|schedulers?|rng_state|training_args|trainer_state|activations?_store)"
    r"(?=[._-])"
)
"""Whole words of a name that say: the state of a training."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository and what the hub says of it; ``size`` is None where it says none."""

    path: str
    size: int | None
    sha256: str | None = None
    git_blob: str | None = None

    @property
    def folder(self) -> str:
        """Its folder, ``""`` for the repository itself."""
        return _above(self.path)

    @property
    def name(self) -> str:
        """Its name in its folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Known:
    """What all adapters together declare of the files of their formats; see ``SAEAdapter``."""

    filenames: tuple[str, ...]
    companions: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()

    @classmethod
    def of(cls, adapters: Iterable[SAEAdapter]) -> Known:
        """What these adapters declare."""
        kept = list(adapters)
        return cls(
            filenames=tuple(glob for adapter in kept for glob in adapter.filenames),
            companions=tuple(glob for adapter in kept for glob in adapter.companions),
            checkpoints=tuple(glob for adapter in kept for glob in adapter.checkpoints),
        )

    def reads(self, file: RemoteFile) -> bool:
        """Whether a format has files of this name, so that an SAE may be where it lies."""
        return _matches(file.name, self.filenames) and not self.accompanies(file)

    def accompanies(self, file: RemoteFile) -> bool:
        """Whether a format needs a file of this name beside or above its weights."""
        return _matches(file.name, self.companions)

    def run_of(self, file: RemoteFile) -> str | None:
        """The folder of the run of which the file is a checkpoint."""
        parts = file.path.split("/")
        for glob in self.checkpoints:
            depth = glob.count("/") + 1
            if fnmatch.fnmatchcase("/".join(parts[-depth:]), glob):
                return "/".join(parts[:-depth])
        return None


class Chosen(NamedTuple):
    """What is fetched, and what below the same place is taken for a part of the training."""

    files: list[RemoteFile]
    left_out: list[RemoteFile]


def choose_files(files: Sequence[RemoteFile], inside: str, repo: str, known: Known) -> Chosen:
    """The files that an SAE at ``inside`` (a folder or a file of the repository) needs, sorted.

    A folder gives the weights in it, or, where a format keeps them one folder further in, those. A
    file gives itself. Both bring the small configurations and the companions of their format that
    lie beside the weights and in every folder above. What belongs to the training (optimizers,
    stored activations, checkpoints beside the finished weights) stays where it is.

    Raises:
        ItemError: there is no such folder, no weights in it, or many SAEs; the text names some.
    """
    files = [file for file in files if is_safe(file.path)]
    chosen = {file.path: file for file in files if file.path == inside}
    home, near = _above(inside), None
    left_out: list[RemoteFile] = []
    if not chosen:
        below = [file for file in files if not inside or file.path.startswith(f"{inside}/")]
        weights, left_out = _weights(below, known)
        if not weights:
            raise ItemError(_nothing(files, inside, repo, known, below, left_out))
        home, near = _home(weights, below, inside, repo, known), inside
        chosen = {file.path: file for file in weights if file.folder == home}
    for folder in _folders_up(home):
        limit = JSON_BYTES if near is not None and len(folder) >= len(near) else SMALL
        beside = [file for file in files if file.folder == folder]
        chosen |= {file.path: file for file in beside if _is_config(file, limit) or known.accompanies(file)}
    return Chosen([chosen[path] for path in sorted(chosen)], left_out)


def is_safe(path: str) -> bool:
    """Whether a name from the hub may become a path: relative, printable, and nothing climbs in it."""
    parts = path.split("/")
    return (
        not any(part in {"", ".", ".."} for part in parts)
        and "\\" not in path
        and path == printable(path)
        and len(path) < 1000
    )


def names_of(files: Sequence[RemoteFile]) -> str:
    """The first few paths in order, for a message."""
    return _some(sorted(file.path for file in files))


def _is_config(file: RemoteFile, limit: int) -> bool:
    return file.path.endswith(CONFIGS) and (file.size is None or file.size <= limit)


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs)


def _weights(files: Iterable[RemoteFile], known: Known) -> tuple[list[RemoteFile], list[RemoteFile]]:
    """(files with weights of SAEs, those that look like it and belong to the training)."""
    stored = [file for file in files if file.path.endswith(WEIGHTS) and not known.accompanies(file)]
    finished = {file.folder for file in stored if not _TRAINING.search(file.name)}
    left_out = [file for file in stored if _TRAINING.search(file.name) or known.run_of(file) in finished]
    absent = {file.path for file in left_out}
    return [file for file in stored if file.path not in absent], left_out


def _home(
    weights: Sequence[RemoteFile], below: Sequence[RemoteFile], inside: str, repo: str, known: Known
) -> str:
    """The folder of the weights of the SAE at ``inside``: itself, or the only one further in.

    An SAE's folder has a file whose name some format uses; a folder that is no SAE but holds some is
    refused.
    """
    named = {file.folder for file in below if known.reads(file)}
    folders = sorted({file.folder for file in weights} & named)
    if inside in folders:
        return inside
    if inside in named and len(folders) == 1:
        return folders[0]
    if not folders:
        message = (
            f"{_written(repo, inside)}: holds no weights under a name that an adapter reads; there are "
            f"{names_of(weights)}. Install the plugin that reads them, or name one of these files."
        )
        raise ItemError(message)
    what = "1 folder below it holds" if len(folders) == 1 else f"{len(folders)} folders below it hold"
    message = (
        f"{_written(repo, inside)}: is no SAE itself; {what} weights. "
        f"Name one: {_some([_written(repo, folder) for folder in folders])}."
    )
    raise ItemError(message)


def _nothing(
    files: Sequence[RemoteFile],
    inside: str,
    repo: str,
    known: Known,
    below: Sequence[RemoteFile],
    left_out: Sequence[RemoteFile],
) -> str:
    """What to say where there are no weights."""
    weights, _ = _weights(files, known)
    folders = sorted({file.folder for file in weights})
    what = f"holds no weights ({', '.join(WEIGHTS)})" if below else "there is no such folder or file"
    head = f"{_written(repo, inside)}: {what} in the repository at this revision."
    if left_out:
        head += f" Taken for parts of the training: {names_of(left_out)}; name such a file to fetch it."
    if not weights:
        return f"{head} Nothing else in it holds weights either."
    close = nearest(inside, [*folders, *(file.path for file in weights)])
    if close:
        return f"{head} Did you mean {' or '.join(_written(repo, name) for name in close)}?"
    return f"{head} Folders with weights: {_some([_written(repo, folder) for folder in folders])}."


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


def _written(repo: str, inside: str) -> str:
    return f"hf:{repo}/{inside}" if inside else f"hf:{repo}"


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _folders_up(path: str) -> Iterable[str]:
    """The folder itself and every folder above it, up to the repository."""
    while path:
        yield path
        path = _above(path)
    yield ""
