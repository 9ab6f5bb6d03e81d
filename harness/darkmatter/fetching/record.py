"""What was fetched: one small file per reference, below our cache.

    ROOT/fetched/REFERENCE.json      repository, commit, and every file with size and SHA-256
    ROOT/fetched/checked/            see ``darkmatter.fetching.checked``
    ROOT/fetched/locks/REFERENCE/    whose lock is held while the reference is fetched

The files themselves stay in the Hugging Face cache, where other programs find them too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkmatter.cache.root import cache_root
from darkmatter.errors import SAEFileError
from darkmatter.files.atomic import slug, write_json
from darkmatter.files.limits import human
from darkmatter.references import Reference

COMMIT = r"[0-9a-f]{40}"
_BLOCK = 1 << 22


class FetchedFile(BaseModel):
    """One file as it was when it came."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=0)
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Record(BaseModel):
    """One fetched reference; ``files`` by their path in the repository."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    reference: str
    repo: str
    commit: Annotated[str, Field(pattern=f"^{COMMIT}$")]
    snapshot: str
    fetched: str
    files: dict[str, FetchedFile]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files.values())

    def path(self, name: str) -> Path:
        """Where a file of the repository is on this machine."""
        return Path(self.snapshot, *name.split("/"))


def canonical(reference: Reference) -> str:
    """The text under which an ``hf:`` reference is recorded; several SAEs of a file share it."""
    revision = f"@{reference.revision}" if reference.revision else ""
    return f"hf:{reference.target}{revision}"


def place(reference: Reference) -> tuple[str, str]:
    """(repository, folder or file in it) of an ``hf:`` reference."""
    organisation, repository, *inside = reference.target.split("/")
    return f"{organisation}/{repository}", "/".join(inside)


def records_folder() -> Path:
    """Where records lie."""
    return cache_root() / "fetched"


def lock_folder(reference: str) -> Path:
    """The folder whose lock is held by whoever fetches this reference."""
    return records_folder() / "locks" / slug(reference)


def _file(reference: str) -> Path:
    return records_folder() / f"{slug(reference)}.json"


def write_record(record: Record) -> None:
    """Keep a record; an older one of the same reference is replaced, whole or not at all."""
    write_json(_file(record.reference), record.model_dump(mode="json"))


def read_record(reference: str) -> Record | None:
    """The record of a reference, if it was fetched.

    Raises:
        SAEFileError: there is one, and it is damaged.
    """
    path = _file(reference)
    return _read(path) if path.exists() else None


def all_records() -> Iterator[Record | SAEFileError]:
    """Every record in the order of names, or what is wrong with it."""
    folder = records_folder()
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            yield _read(path)
        except SAEFileError as error:
            yield error


def _read(path: Path) -> Record:
    try:
        record = Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        message = f"{path}: this record of what was fetched is damaged ({what}). Delete it and fetch again."
        raise SAEFileError(message) from error
    if path.name != _file(record.reference).name:
        message = f"{path}: is the record of {record.reference!r}, under another name. Delete it."
        raise SAEFileError(message)
    return record


def problems(record: Record, *, hashes: bool) -> list[str]:
    """What is no longer as it was fetched, one sentence each: presence and sizes, or every byte."""
    return [found for name in record.files if (found := _problem(record, name, hashes=hashes))]


def _problem(record: Record, name: str, *, hashes: bool) -> str | None:
    path, expected = record.path(name), record.files[name]
    if not path.is_file():
        return f"{path}: is not there any more."
    size = path.stat().st_size
    if size != expected.size:
        return f"{path}: has {size} bytes; expected {expected.size} ({human(expected.size)})."
    if hashes and sha256_of(path) != expected.sha256:
        return f"{path}: its content has changed since it was fetched (SHA-256 differs)."
    return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    return _digest(path, hashlib.sha256())


def git_blob_of(path: Path) -> str:
    """The name that git gives to a file's content: SHA-1 of a header with the size, and the bytes."""
    header = f"blob {path.stat().st_size}\0".encode()
    return _digest(path, hashlib.sha1(header, usedforsecurity=False))


def _digest(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
