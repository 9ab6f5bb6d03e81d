"""SAELens's list of pretrained SAEs as data: a copy that comes along, or a newer one on this machine.

``data/saelens.json.gz`` holds what ``pretrained_saes.yaml`` of the sae-lens package (MIT licence,
Copyright (c) 2023 Joseph Bloom) says of every SAE, without its links; ``make_snapshot`` writes it.
SAELens itself is never imported.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from darkmatter import api

SNAPSHOT = Path(__file__).parent / "data" / "saelens.json.gz"
FILE = "pretrained_saes.yaml"
VARIABLE = "DARKMATTER_SAELENS_REGISTRY"
"""Environment variable that names another ``pretrained_saes.yaml`` to use."""

FIELDS = ("id", "path", "l0", "variance_explained", "norm_scaling_factor", "neuronpedia")
"""What is kept of an SAE, in this order; a path that equals the id and what is absent are null."""

Packed = dict[str, dict[str, Any]]
"""Releases by name: repository, model, loader, overrides, and rows of ``FIELDS``."""


@dataclass(frozen=True)
class Listed:
    """One SAE of the list, with what holds for its whole release."""

    release: str
    repo: str
    model: str
    loader: str
    overrides: Mapping[str, Any]
    id: str
    path: str
    l0: float | None = None
    variance_explained: float | None = None
    norm_scaling_factor: float | None = None
    neuronpedia: str | None = None


@dataclass(frozen=True)
class Registry:
    """The whole list, and which one it is."""

    version: str
    releases: Packed

    def listed(self, release: str) -> Iterator[Listed]:
        """The SAEs of one release."""
        about = self.releases[release]
        shared = {name: about[name] for name in ("repo", "model", "loader", "overrides")}
        for row in about["saes"]:
            fields = dict(zip(FIELDS, row, strict=False))
            if fields.get("path") is None:
                fields["path"] = fields["id"]
            yield Listed(release=release, **shared, **fields)

    def by_id(self, release: str) -> Mapping[str, Listed]:
        """The SAEs of one release by their ids."""
        return {one.id: one for one in self.listed(release)}

    def everything(self) -> Iterator[Listed]:
        """The SAEs of all releases."""
        for release in self.releases:
            yield from self.listed(release)


def registry() -> Registry:
    """The list named by the environment, else that of a newer installed SAELens, else the copy here."""
    named = os.environ.get(VARIABLE)
    if named:
        return _named(Path(named).expanduser())
    installed = _installed()
    copy = _snapshot()
    if installed is not None and _number(installed[1]) > _number(copy.version):
        return _read(installed[0], f"sae-lens {installed[1]}")
    return copy


def pack(document: Mapping[str, Any]) -> Packed:
    """The content of a ``pretrained_saes.yaml`` in the form that the copy has."""
    packed: Packed = {}
    for release, about in document.items():
        packed[release] = {
            "repo": about["repo_id"],
            "model": about["model"],
            "loader": about.get("conversion_func") or "sae_lens",
            "overrides": about.get("config_overrides") or {},
            "saes": [_row(sae) for sae in about["saes"]],
        }
    return packed


def _row(sae: Mapping[str, Any]) -> list[Any]:
    fields = {name: sae.get(name) for name in FIELDS}
    fields["path"] = None if fields["path"] == fields["id"] else str(fields["path"])
    row = list(fields.values())
    while row[-1] is None:
        row.pop()
    return row


def compressed(version: str, packed: Packed) -> bytes:
    """The bytes of a copy: the same for the same list, whenever and wherever they are made."""
    text = json.dumps({"version": version, "releases": packed}, separators=(",", ":"), ensure_ascii=True)
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


@functools.cache
def _snapshot() -> Registry:
    content = json.loads(gzip.decompress(SNAPSHOT.read_bytes()))
    return Registry(content["version"], content["releases"])


def _installed() -> tuple[Path, str] | None:
    """The list and version of an installed SAELens, found without importing it."""
    try:
        spec = importlib.util.find_spec("sae_lens")
        version = importlib.metadata.version("sae-lens")
    except (ImportError, ValueError):
        return None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0]) / FILE if folders else None
    return (path, version) if path is not None and path.is_file() else None


def _named(path: Path) -> Registry:
    if not path.is_file():
        message = f"{VARIABLE} names {path}, which is no file; expected a {FILE} of SAELens."
        raise api.ItemError(message)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return _read(path, f"{path.name} with SHA-256 {digest[:16]}")


@functools.cache
def _read(path: Path, version: str) -> Registry:
    """A list in SAELens's own form; it takes a second or two."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with path.open("rb") as file:
            return Registry(version, pack(yaml.load(file, Loader=loader)))  # noqa: S506 - safe loaders
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        what = " ".join(str(error).split())
        message = f"{path}: cannot be read as SAELens's list of SAEs ({type(error).__name__}: {what})."
        raise api.ItemError(message) from error


def _number(version: str) -> tuple[int, ...]:
    """The numbers of a version, to be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
