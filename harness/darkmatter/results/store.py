"""Write results, and find them again by key.

``OUT/<slug(sae)>/<evaluator>@<version>-<first 12 of key>.json`` with its sidecar beside it. The
sidecar is written first and the JSON, which holds the sidecar's hash, commits both; a process killed
between them leaves a sidecar that nothing points to, or a result that fails its check and is made
again. A damaged result that is met under a wanted key is set aside (``.damaged``), never deleted. A
verified one is immutable unless it failed: made again it must be equal, or the new one is set aside
(``.differs``) and reported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from darkmatter.errors import ItemError
from darkmatter.files.atomic import canonical_json, slug, sweep, write_bytes, write_json
from darkmatter.files.lock import locked
from darkmatter.results.comparable import config_text, is_unread, place_of
from darkmatter.results.reading import Problem, StoredResult, findings_of, read_result, result_checksum
from darkmatter.results.schema import MetricValue, Result, UnitsRecord
from darkmatter.results.units import Units

NO_ACTIVATIONS = "none"
"""The activations' key of results that failed before there were any."""

DAMAGED = ".damaged"
DIFFERS = ".differs"
SIDECAR = ".units.safetensors"


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
        """Store a result with its per-unit sums.

        A verified result of the same key and SAE that is final stays as it is. One that failed or is
        unfinished is then not stored, nor is an equal one; one that differs goes beside it as ``.differs``,
        where no reader takes it for a result, and raises ItemError.
        """
        path = self.path_of(result)
        data = None if units is None else units.to_bytes()
        result, raw = _sealed(result, _record_of(path, units, data))
        known = self.find(result.key, result.sae.name)
        if known is not None and known.result.is_final:
            if not result.is_final:
                return StoredResult.in_memory(result, units)
            self._demand_equal(known, result, raw, data)
            return known
        sidecar = _sidecar(path)
        if data is not None:
            write_bytes(sidecar, data)
        write_json(path, raw)
        if data is None:
            sidecar.unlink(missing_ok=True)
        if self._by_key is not None and path not in self._by_key.setdefault(_short(path), []):
            self._by_key[_short(path)].append(path)
        return StoredResult(result, path, lambda: units)

    def _demand_equal(
        self, known: StoredResult, result: Result, raw: dict[str, Any], data: bytes | None
    ) -> None:
        """Raise ItemError unless a result that was made again says what the stored one says."""
        before, after = findings_of(known.result), findings_of(result)
        if canonical_json(before) == canonical_json(after):
            return
        assert known.path is not None
        aside = known.path.with_name(known.path.stem + DIFFERS)
        if data is not None:
            write_bytes(aside.with_name(f"{aside.name}{SIDECAR}"), data)
        write_json(aside, raw)
        message = (
            f"made again, the result {result.key} differs from the stored one: "
            f"{_first_difference(before, after)}. Either the evaluator is not deterministic, or its code "
            f"changed without a new version, or another machine or library rounds differently. "
            f"{known.path} stays as it was, the new result is beside it as {aside.name}; if the new one is "
            f"right, remove the old one and run again."
        )
        raise ItemError(message)

    def drop_failures(self, result: Result) -> None:
        """Remove the failed results that ``result``, a later one of the same SAE name, overcomes or repeats.

        A failed SAE has no weights to make a key from, so its result lies beside those of the runs in
        which it could be read; whatever failed result is there shall be the present state of things.
        """
        own = self.path_of(result)
        for path in sorted(own.parent.glob(f"{slug(result.evaluator.name)}@*-*.json")):
            found = None if path == own else read_result(path)
            if isinstance(found, StoredResult) and _is_overcome(found.result, result):
                path.unlink()
                _sidecar(path).unlink(missing_ok=True)
                self._forget(path)

    def find(self, key: str, sae: str | None = None) -> StoredResult | None:
        """The verified result of this key (and SAE name), or None; damaged ones are set aside."""
        for path in self._paths(key):
            found = read_result(path)
            if isinstance(found, Problem):
                self._quarantine(path, found)
            elif found.result.key == key and sae in {None, found.result.sae.name}:
                return found
        return None

    def _paths(self, key: str) -> list[Path]:
        if self._by_key is None:
            self._by_key = {}
            for path in sorted(self.folder.glob("*/*@*-*.json")):
                self._by_key.setdefault(_short(path), []).append(path)
        return list(self._by_key.get(key[:12], []))

    def _quarantine(self, path: Path, problem: Problem) -> None:
        """Move a damaged result and its sidecar aside, keeping earlier ones."""
        for part in (path, _sidecar(path)):
            if part.exists() or part.is_symlink():
                part.rename(_free_name(part))
        self.quarantined.append(problem)
        self._forget(path)

    def _forget(self, path: Path) -> None:
        """Take a file that is there no more out of the index."""
        if self._by_key is not None and path in self._by_key.get(_short(path), []):
            self._by_key[_short(path)].remove(path)


def _sealed(result: Result, units: UnitsRecord | None) -> tuple[Result, dict[str, Any]]:
    """A result as a reader will see it, and the JSON object of its file."""
    raw: dict[str, Any] = result.model_dump(mode="json", exclude={"checksum", "units"})
    raw["units"] = None if units is None else units.model_dump(mode="json")
    raw["checksum"] = result_checksum(raw)
    # Validated again: model_copy and plain dicts inside could have let NaN or odd types pass.
    return Result.model_validate(raw), raw


def _record_of(path: Path, units: Units | None, data: bytes | None) -> UnitsRecord | None:
    """What a result says of its sidecar."""
    if units is None or data is None:
        return None
    return UnitsRecord(
        file=_sidecar(path).name,
        xxh3=xxhash.xxh3_128_hexdigest(data),
        count=len(units),
        kind=units.kind,
        estimators=dict(units.estimators),
    )


def _first_difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """One metric with both values, and how many more differ; or the parts that differ."""
    left, right = ({metric["name"]: metric for metric in found["metrics"]} for found in (before, after))
    said = []
    for name in dict.fromkeys([*left, *right]):
        old, new = left.get(name, {}), right.get(name, {})
        fields = [field for field in MetricValue.model_fields if old.get(field) != new.get(field)]
        if fields:
            field = "value" if "value" in fields else fields[0]
            said.append(f"{name} ({field}) was {old.get(field)!r}, is now {new.get(field)!r}")
    if said:
        return said[0] + (f" (metrics that differ: {len(said)})" if len(said) > 1 else "")
    parts = [name for name in before if canonical_json(before[name]) != canonical_json(after.get(name))]
    return f"its {', '.join(parts)}"


def _is_overcome(old: Result, new: Result) -> bool:
    """Whether an old failure says nothing more once a later run has come to ``new``."""
    if old.status != "failed" or old.sae.name != new.sae.name or old.evaluator.name != new.evaluator.name:
        return False
    tasks = [(place_of(result), config_text(result.config)) for result in (old, new)]
    if is_unread(old):  # it could not be read, on these activations or before there were any
        return old.cache.get("key") in {NO_ACTIVATIONS, new.cache.get("key")}
    return tasks[0] == tasks[1]


def _sidecar(path: Path) -> Path:
    """Where the per-unit sums of a result lie."""
    return path.with_name(f"{path.stem}{SIDECAR}")


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
