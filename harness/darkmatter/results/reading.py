"""Read result files that anyone may have written, damaged or forged.

Whatever is wrong with a file becomes a ``Problem`` with a reason; nothing here raises for what a
file contains, and nothing that fails a check is trusted.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import xxhash
from pydantic import ValidationError

from darkmatter.errors import UsageError
from darkmatter.files.atomic import content_hash
from darkmatter.files.text import strict_json
from darkmatter.results.schema import SCHEMA_VERSION, Result, UnitsRecord
from darkmatter.results.units import Units

MAX_JSON_BYTES = 64 << 20
MAX_UNITS_BYTES = 1 << 30
NOT_RESULTS = ("*schema*", "*index*", "*card*")
"""JSON files below a results folder that are no results."""
OWN_NAME = re.compile(r"[A-Za-z0-9_.-]+@\d+-[0-9a-f]{12}\.json")

_NOT_HASHED = ("checksum", "timings")


@dataclass(frozen=True)
class Problem:
    """A file that is not used as a result, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class StoredResult:
    """A result with the way to its per-unit sums; ``path`` is None for results in memory."""

    result: Result
    path: Path | None = None
    loader: Callable[[], Units | None] = field(default=lambda: None, repr=False)

    @classmethod
    def in_memory(cls, result: Result, units: Units | None = None) -> StoredResult:
        """A result that is not on disk."""
        return cls(result, None, lambda: units)

    def units(self) -> Units | None:
        """The per-unit sums, read when asked for; None where the result has none."""
        return self.loader()


class InvalidError(ValueError):
    """A file is no trustworthy result; the message continues a sentence that begins with its path."""


def result_checksum(raw: dict[str, Any]) -> str:
    """The checksum over a result's JSON object, without timings and the checksum itself."""
    return content_hash({name: value for name, value in raw.items() if name not in _NOT_HASHED})


def read_result(path: Path) -> StoredResult | Problem:
    """One result file with its sidecar verified, or what is wrong with it."""
    try:
        result = _parse(read_file(path, MAX_JSON_BYTES))
        if result.units is None:
            return StoredResult(result, path)
        record, sidecar = result.units, _sidecar_path(path, result.units)
        _load_units(sidecar, record)
    except (InvalidError, OSError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        return Problem(str(path), reason)
    return StoredResult(result, path, lambda: _load_units(sidecar, record))


def read_folder(folder: Path) -> tuple[list[StoredResult], list[Problem]]:
    """All results below a folder (or one file), in the order of their paths, and what is no result."""
    if not folder.exists():
        message = f"there is no folder {str(folder)!r}. `darkmatter run --out DIR` writes results to DIR."
        raise UsageError(message)
    results: list[StoredResult] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, str], StoredResult] = {}
    for path in [folder] if folder.is_file() else sorted(_candidates(folder)):
        found = read_result(path)
        if isinstance(found, Problem):
            problems.append(found)
        elif (first := seen.setdefault((found.result.key, found.result.sae.name), found)) is not found:
            copy = Problem(str(path), f"is the same result as {first.path}, which is used")
            problems.append(contradiction(first, found) or copy)
        else:
            results.append(found)
    return results, problems


def contradiction(used: StoredResult, other: StoredResult) -> Problem | None:
    """What is wrong with a second result of one key and SAE; None where it says the same."""
    if findings_of(used.result) == findings_of(other.result):
        return None
    return Problem(str(other.path), f"has the key of {used.path}, which is used, but other numbers")


def findings_of(result: Result) -> dict[str, Any]:
    """What a result says, without when, where, by which release and from which path it was made."""
    return result.model_dump(
        mode="json",
        exclude={
            "timings": True,
            "provenance": True,
            "checksum": True,
            "cache": True,  # its key is part of the result's key, the rest describes it
            "evaluator": {"distribution"},
            "sae": {"reference", "adapter", "metadata", "assumptions", "overrides"},
        },
    )


def _candidates(folder: Path) -> Iterator[Path]:
    """Everything called .json below the folder that claims to be a result; links are not followed."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in [*files, *folders]:
            if not name.endswith(".json") or name.startswith(".") or not _is_result_name(name):
                continue
            # An embedded suite's own files (an SAE's configuration) stand in OUT/suite.
            of_suite = Path(parent).relative_to(folder).parts[:1] == ("suite",)
            if not of_suite or OWN_NAME.fullmatch(name):
                yield Path(parent) / name


def _is_result_name(name: str) -> bool:
    """A name the store gives counts even where an evaluator is called like an index or a card."""
    if OWN_NAME.fullmatch(name):
        return True
    return not any(fnmatch.fnmatch(name.lower(), pattern) for pattern in NOT_RESULTS)


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of bounded size."""
    if path.is_symlink():
        message = "is a symbolic link; results are regular files"
        raise InvalidError(message)
    if not path.is_file():
        message = "is missing" if not path.exists() else "is not a regular file"
        raise InvalidError(message)
    size = path.stat().st_size
    if size > limit:
        message = f"has {size} bytes; more than {limit} is not read"
        raise InvalidError(message)
    return path.read_bytes()


def _parse(data: bytes) -> Result:
    """A validated result from the bytes of its file."""
    raw = load_json(data)
    if not isinstance(raw, dict) or "schema_version" not in raw:
        message = "is JSON, but no darkmatter result (it has no schema_version)"
        raise InvalidError(message)
    version = raw["schema_version"]
    if isinstance(version, int) and version > SCHEMA_VERSION:
        message = (
            f"was written by a newer darkmatter (result schema {version}, this version reads "
            f"{SCHEMA_VERSION}); update darkmatter to read it"
        )
        raise InvalidError(message)
    if version != SCHEMA_VERSION:
        message = f"has the unknown result schema {version!r}"
        raise InvalidError(message)
    try:
        result = Result.model_validate(raw)
    except ValidationError as error:
        raise misfit(error) from error
    if result.checksum is not None and result.checksum != result_checksum(raw):
        message = "was changed after it was written (its checksum does not match)"
        raise InvalidError(message)
    return result


def misfit(error: ValidationError) -> InvalidError:
    """The first thing that does not fit the schema."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return InvalidError(f"does not fit the result schema at {where or 'its top'}: {first['msg']}")


def load_json(data: bytes, constant: Callable[[str], Any] | None = None) -> Any:
    """What ``strict_json`` reads from the bytes of a file."""
    if not data.strip():
        message = "is empty"
        raise InvalidError(message)
    try:
        return strict_json(data.decode("utf-8"), constant=constant)
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
    except JSONDecodeError as error:
        message = f"is not JSON, perhaps cut off: {error}"
    except ValueError as error:
        message = str(error)
    raise InvalidError(message)


def _sidecar_path(path: Path, record: UnitsRecord) -> Path:
    """The sidecar beside the result; its name is fixed, so that no record can point elsewhere."""
    expected = f"{path.stem}.units.safetensors"
    if record.file != expected:
        message = f"names the sidecar {record.file!r}, expected {expected!r}"
        raise InvalidError(message)
    return path.with_name(expected)


def _check_sidecar(path: Path, record: UnitsRecord) -> bytes:
    """The sidecar's bytes if they are those the result was written with."""
    try:
        data = read_file(path, MAX_UNITS_BYTES)
    except InvalidError as error:
        message = f"its sidecar {path.name} {error}"
        raise InvalidError(message) from error
    if xxhash.xxh3_128_hexdigest(data) != record.xxh3:
        message = f"its sidecar {path.name} is damaged (its hash does not match)"
        raise InvalidError(message)
    return data


def _load_units(path: Path, record: UnitsRecord) -> Units:
    data = _check_sidecar(path, record)
    try:
        units = Units.from_bytes(data, record.kind, record.estimators)
    except ValueError as error:
        message = f"its sidecar {path.name} cannot be read: {error}"
        raise InvalidError(message) from error
    if len(units) != record.count:
        message = f"its sidecar {path.name} holds {len(units)} units, the result says {record.count}"
        raise InvalidError(message)
    return units
