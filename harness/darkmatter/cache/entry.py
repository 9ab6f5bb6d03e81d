"""One cache entry on disk: where things are, and whether they are whole.

    ROOT/KEY/manifest.json                            what this is; written when the tokens are safe
    ROOT/KEY/contexts-HASH.safetensors                tokens, mask, documents
    ROOT/KEY/shards/HOOK/00000-HASH.safetensors       activations "x" of one shard
    ROOT/KEY/shards/loss/00000-HASH.safetensors       clean losses "x" of one shard

A file's name carries the xxh3-128 of its bytes, so that one rename makes numbers and checksum
appear together.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkmatter.activations import Shard
from darkmatter.errors import CacheError
from darkmatter.files.atomic import file_hash, fsync_folder, slug, sweep, write_json
from darkmatter.files.tensors import (
    MappedTensor,
    TensorFileError,
    encode_tensors,
    hash_pieces,
    map_tensors,
    write_pieces,
)
from darkmatter.shards import cut_shards

if TYPE_CHECKING:
    from torch import Tensor

LOSS = "loss"
"""The name under which losses are stored beside the hook points."""

MANIFEST = "manifest.json"

_FILE = re.compile(r"(?P<what>contexts|\d{5,})-(?P<hash>[0-9a-f]{32})\.safetensors")


@dataclass(frozen=True)
class Entry:
    """The files of one cache entry; holds no state of its own beyond the manifest."""

    folder: Path

    @property
    def key(self) -> str:
        """The entry's key is its folder's name."""
        return self.folder.name

    @property
    def has_manifest(self) -> bool:
        """Whether the entry's tokens are safe."""
        return (self.folder / MANIFEST).is_file()

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Key parts, description and shape; raises CacheError where it is damaged."""
        path = self.folder / MANIFEST
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            shape = manifest["n_contexts"], manifest["n_positions"]
            sane = manifest["key"] == self.key and all(type(n) is int and n > 0 for n in shape)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            message = f"{path}: cannot be read ({error!r}). Remove the entry: darkmatter cache rm {self.key}"
            raise CacheError(message) from error
        if not sane:
            message = f"{path}: belongs to another entry. Remove it: darkmatter cache rm {self.key}"
            raise CacheError(message)
        return dict(manifest)

    @cached_property
    def shards(self) -> list[Shard]:
        """All shards, as the shape alone decides."""
        return cut_shards(self.manifest["n_contexts"], self.manifest["n_positions"])

    def stored_hooks(self) -> list[str]:
        """Hook points of which there is anything."""
        names = self.manifest.get("hooks", [])
        return [name for name in names if self._shard_folder(name).is_dir()]

    def _shard_folder(self, name: str) -> Path:
        # "loss" is no hook point of any model: those have a dot.
        return self.folder / "shards" / slug(name)

    def shard_files(self, name: str) -> dict[int, Path]:
        """The file of each shard that is there, whole or not."""
        found: dict[int, Path] = {}
        folder = self._shard_folder(name)
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if match := _FILE.fullmatch(path.name):
                found[int(match["what"])] = path
        return found

    def contexts_file(self) -> Path | None:
        """The file of tokens, mask and documents, or None."""
        return next((p for p in sorted(self.folder.glob("contexts-*")) if _FILE.fullmatch(p.name)), None)

    def missing(self, name: str) -> list[Shard]:
        """Shards that are absent, or whose file has the wrong size or shape."""
        files = self.shard_files(name)
        missing = []
        for shard in self.shards:
            try:
                self.map_shard(name, shard, files)
            except TensorFileError:
                missing.append(shard)
        return missing

    def map_shard(self, name: str, shard: Shard, files: dict[int, Path] | None = None) -> MappedTensor:
        """One shard [contexts, P, ...], mapped; its checksum is not looked at."""
        path = (self.shard_files(name) if files is None else files).get(shard.index)
        if path is None:
            message = f"{self._shard_folder(name)}: shard {shard.index} of {name} is missing."
            raise TensorFileError(message)
        tensor = map_tensors(path).get("x")
        expected = shard.stop - shard.start, self.manifest["n_positions"]
        if tensor is None or tensor.shape[:2] != expected:
            message = f"{path}: expected a tensor x of {expected} contexts and positions."
            raise TensorFileError(message)
        return tensor

    def write_shard(self, name: str, shard: Shard, x: Tensor) -> None:
        """Make one shard durable, and only then remove what it replaces."""
        replaced = self.shard_files(name).get(shard.index)
        path = self._write(self._shard_folder(name), f"{shard.index:05d}", {"x": x})
        if replaced is not None and replaced != path:
            replaced.unlink()

    def write_contexts(self, tensors: dict[str, Tensor]) -> None:
        """Store tokens, mask and documents."""
        replaced = self.contexts_file()
        path = self._write(self.folder, "contexts", tensors)
        if replaced is not None and replaced != path:
            replaced.unlink()

    def _write(self, folder: Path, what: str, tensors: dict[str, Tensor]) -> Path:
        pieces = encode_tensors(tensors)
        path = folder / f"{what}-{hash_pieces(pieces)}.safetensors"
        write_pieces(path, pieces)
        return path

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Store the manifest."""
        write_json(self.folder / MANIFEST, manifest)
        self.forget()

    def forget(self) -> None:
        """Read the manifest again when it is next needed; another process may have written it."""
        for name in ("manifest", "shards"):
            self.__dict__.pop(name, None)

    def sweep(self) -> None:
        """Remove what killed writers left; only under the entry's lock."""
        for folder in (self.folder, *(self.folder / "shards").glob("*")):
            sweep(folder)


def check_file(path: Path) -> str | None:
    """What is wrong with a file whose name carries its hash, or None; reads all of it."""
    match = _FILE.fullmatch(path.name)
    if match is None:
        return f"{path}: has a name that is not the cache's."
    if file_hash(path) != match["hash"]:
        return f"{path}: its bytes do not have the checksum of its name."
    return None


def discard(path: Path) -> None:
    """Remove a damaged file, durably, so that it counts as missing."""
    path.unlink(missing_ok=True)
    fsync_folder(path.parent)
