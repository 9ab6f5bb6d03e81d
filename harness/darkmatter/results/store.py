"""Write results, and find them again by key.

``OUT/<slug(sae)>/<evaluator>@<version>-<first 12 of key>.json`` with its sidecar beside it. The
sidecar is written first and the JSON, which holds the sidecar's hash, commits both; a process killed
between them leaves a sidecar that nothing points to, or a result that fails its check and is made
again. A damaged result that is met under a wanted key is set aside (``.damaged``), never deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from darkmatter.files.atomic import slug, sweep, write_bytes, write_json
from darkmatter.files.lock import locked
from darkmatter.results.reading import Problem, StoredResult, read_folder, read_result, result_checksum
from darkmatter.results.schema import Result, UnitsRecord
from darkmatter.results.units import Units

DAMAGED = ".damaged"


@dataclass
class ResultStore:
    """The results folder of one run; make it with ``ResultStore.open`` to write to it."""

    folder: Path
    quarantined: list[Problem] = field(default_factory=list)
    _by_key: dict[str, list[Path]] | None = field(default=None, repr=False)

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path) -> Iterator[ResultStore]:
        """The folder's only writer, until the block ends; raises LockedError where there is one."""
        with locked(folder):
            for parent in [folder, *(path for path in folder.iterdir() if path.is_dir())]:
                sweep(parent)
            yield cls(folder)

    def path_of(self, result: Result) -> Path:
        """Where a result belongs."""
        evaluator = f"{slug(result.evaluator.name)}@{result.evaluator.version}"
        return self.folder / slug(result.sae.name) / f"{evaluator}-{result.key[:12]}.json"

    def write(self, result: Result, units: Units | None = None) -> StoredResult:
        """Store a result with its per-unit sums; a result of the same key is replaced."""
        path = self.path_of(result)
        sidecar = path.with_name(f"{path.stem}.units.safetensors")
        if units is None:
            result = result.model_copy(update={"units": None})
        else:
            data = units.to_bytes()
            write_bytes(sidecar, data)
            record = UnitsRecord(
                file=sidecar.name,
                xxh3=xxhash.xxh3_128_hexdigest(data),
                count=len(units),
                kind=units.kind,
                estimators=dict(units.estimators),
            )
            result = result.model_copy(update={"units": record})
        result = self._commit(path, result)
        if units is None:
            sidecar.unlink(missing_ok=True)
        if self._by_key is not None and path not in self._by_key.setdefault(_short(path), []):
            self._by_key[_short(path)].append(path)
        return StoredResult(result, path, lambda: units)

    def _commit(self, path: Path, result: Result) -> Result:
        """Write the JSON, which makes the result exist; returns it as a reader will see it."""
        raw: dict[str, Any] = result.model_dump(mode="json", exclude={"checksum"})
        raw["checksum"] = result_checksum(raw)
        # Validated again: model_copy and plain dicts inside could have let NaN or odd types pass.
        checked = Result.model_validate(raw)
        write_json(path, raw)
        return checked

    def find(self, key: str, sae: str | None = None) -> StoredResult | None:
        """The verified result of this key (and SAE name), or None; damaged ones are set aside."""
        for path in self._paths(key):
            found = read_result(path)
            if isinstance(found, Problem):
                self._quarantine(path, found)
            elif found.result.key == key and sae in {None, found.result.sae.name}:
                return found
        return None

    def read_all(self) -> tuple[list[StoredResult], list[Problem]]:
        """Every result of the folder and every file that is none."""
        return read_folder(self.folder)

    def _paths(self, key: str) -> list[Path]:
        if self._by_key is None:
            self._by_key = {}
            for path in sorted(self.folder.glob("*/*@*-*.json")):
                self._by_key.setdefault(_short(path), []).append(path)
        return list(self._by_key.get(key[:12], []))

    def _quarantine(self, path: Path, problem: Problem) -> None:
        """Move a damaged result and its sidecar aside, keeping earlier ones."""
        for part in (path, path.with_name(f"{path.stem}.units.safetensors")):
            if part.exists() or part.is_symlink():
                part.rename(_free_name(part))
        self.quarantined.append(problem)
        if self._by_key is not None:
            self._by_key[_short(path)].remove(path)


def _short(path: Path) -> str:
    """The part of the key in a result's file name."""
    return path.stem.rpartition("-")[2]


def _free_name(path: Path) -> Path:
    """The first free name for a damaged file; none of them ends in .json."""
    candidate, count = path.with_name(path.name + DAMAGED), 1
    while candidate.exists() or candidate.is_symlink():
        count += 1
        candidate = path.with_name(f"{path.name}{DAMAGED}{count}")
    return candidate
