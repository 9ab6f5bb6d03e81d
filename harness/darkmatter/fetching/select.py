"""Which files of a repository an SAE needs: its weights, and the configurations beside and above."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from darkmatter.errors import ItemError, nearest
from darkmatter.files.limits import JSON_BYTES
from darkmatter.printable import printable

WEIGHTS = (".safetensors", ".npz", ".pt", ".pth")
CONFIGS = (".json", ".yaml", ".yml")
SMALL = 1_000_000
"""Bytes of a configuration beside or above an SAE; formats keep what holds for a whole run there."""
SHOWN = 8

_TRAINING = re.compile(r"optim|scheduler|rng_state|training_args|trainer_state|activations?_store")
_CHECKPOINT = re.compile(r"(.*/)?checkpoints/ae_\d+\.pt")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository and what the hub says of its content."""

    path: str
    size: int
    sha256: str | None = None
    git_blob: str | None = None

    @property
    def folder(self) -> str:
        """Its folder, ``""`` for the repository itself."""
        return _above(self.path)


def choose_files(files: Sequence[RemoteFile], inside: str, repo: str) -> list[RemoteFile]:
    """The files that an SAE at ``inside`` (a folder or a file of the repository) needs, sorted.

    A folder gives all weights and configurations in it and below; both bring the small
    configurations of their own folder and of every folder above. What belongs to the training
    (optimizers, stored activations, checkpoints beside the finished weights) stays where it is.

    Raises:
        ItemError: there is no such folder, no weights in it, or many SAEs; the text names some.
    """
    files = [file for file in files if is_safe(file.path)]
    chosen = {file.path: file for file in files if file.path == inside}
    if not chosen:
        below = [file for file in files if not inside or file.path.startswith(f"{inside}/")]
        weights = _weights(below)
        if not weights:
            raise ItemError(_nothing(files, inside, repo, found=bool(below)))
        _one_sae(weights, below, inside, repo)
        chosen = {file.path: file for file in weights}
        chosen |= {file.path: file for file in below if _is_config(file, JSON_BYTES)}
    folders = set(_folders_up(inside))
    chosen |= {file.path: file for file in files if file.folder in folders and _is_config(file, SMALL)}
    return [chosen[path] for path in sorted(chosen)]


def is_safe(path: str) -> bool:
    """Whether a name from the hub may become a path: relative, printable, and nothing climbs in it."""
    parts = path.split("/")
    return (
        not any(part in {"", ".", ".."} for part in parts)
        and "\\" not in path
        and path == printable(path)
        and len(path) < 1000
    )


def _is_config(file: RemoteFile, limit: int) -> bool:
    return file.path.endswith(CONFIGS) and file.size <= limit


def _weights(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Files with weights of SAEs."""
    found = [file for file in files if file.path.endswith(WEIGHTS)]
    found = [file for file in found if not _TRAINING.search(PurePosixPath(file.path).name)]
    names = {file.path for file in found}
    return [file for file in found if not _has_finished(file.path, names)]


def _has_finished(path: str, names: Collection[str]) -> bool:
    """Whether a file is a checkpoint of a run whose result is there too."""
    match = _CHECKPOINT.fullmatch(path)
    return match is not None and f"{match[1] or ''}ae.pt" in names


def _one_sae(weights: Sequence[RemoteFile], below: Sequence[RemoteFile], inside: str, repo: str) -> None:
    """Refuse a folder that is not an SAE but holds some.

    An SAE's folder has weights of its own, or a configuration and one folder with the weights.
    """
    folders = sorted({file.folder for file in weights})
    configured = any(file.folder == inside and _is_config(file, JSON_BYTES) for file in below)
    if inside in folders or (configured and len(folders) == 1):
        return
    message = (
        f"{_written(repo, inside)}: is no SAE itself; {len(folders)} folders below it hold weights. "
        f"Name one: {_some(repo, folders)}."
    )
    raise ItemError(message)


def _nothing(files: Sequence[RemoteFile], inside: str, repo: str, *, found: bool) -> str:
    """What to say where there are no weights."""
    weights = _weights(files)
    folders = sorted({file.folder for file in weights})
    what = f"holds no weights ({', '.join(WEIGHTS)})" if found else "there is no such folder or file"
    head = f"{_written(repo, inside)}: {what} in the repository at this revision."
    if not weights:
        return f"{head} Nothing else in it holds weights either."
    close = nearest(inside, [*folders, *(file.path for file in weights)])
    if close:
        return f"{head} Did you mean {' or '.join(_written(repo, name) for name in close)}?"
    return f"{head} Folders with weights: {_some(repo, folders)}."


def _some(repo: str, folders: Sequence[str]) -> str:
    shown = ", ".join(_written(repo, folder) for folder in folders[:SHOWN])
    return f"{shown} and {len(folders) - SHOWN} more" if len(folders) > SHOWN else shown


def _written(repo: str, inside: str) -> str:
    return f"hf:{repo}/{inside}" if inside else f"hf:{repo}"


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _folders_up(path: str) -> Iterable[str]:
    """The place itself and every folder above it, up to the repository."""
    while path:
        yield path
        path = _above(path)
    yield ""
