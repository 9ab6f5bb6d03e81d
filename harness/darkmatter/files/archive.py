"""Zip archives from strangers (npz and torch's .pt): sizes checked before anything is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from darkmatter.errors import SAEFileError
from darkmatter.files import limits

METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
ENCRYPTED = 0x1
PIECE = 1 << 24


class Archive:
    """A zip archive opened for reading members by name, after its directory was checked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError) as error:
            message = f"{path}: is not a readable zip archive (damaged or cut off): {error}."
            raise SAEFileError(message) from error
        self.sizes = self._checked_directory()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def _checked_directory(self) -> dict[str, int]:
        """Names and unpacked sizes; refuses what unpacks to far more than it is."""
        members = self._zip.infolist()
        sizes = {member.filename: member.file_size for member in members}
        if len(members) > limits.ENTRIES or len(sizes) != len(members):
            message = f"{self.path}: names a member twice, or has more than {limits.ENTRIES} members."
            raise SAEFileError(message)
        for member in members:
            if member.compress_type not in METHODS or member.flag_bits & ENCRYPTED:
                message = f"{self.path}: member {member.filename[:80]!r} is encrypted or oddly compressed."
                raise SAEFileError(message)
        total, stored = sum(sizes.values()), self.path.stat().st_size
        if total > max(limits.INFLATION_FLOOR, limits.INFLATION * stored):
            message = (
                f"{self.path}: {limits.human(stored)} would unpack to {limits.human(total)}; "
                f"weights do not compress like that, so it is refused as a decompression bomb."
            )
            raise SAEFileError(message)
        memory = limits.physical_memory()
        if memory is not None and total > memory:
            message = f"{self.path}: needs {limits.human(total)}; this machine has {limits.human(memory)}."
            raise SAEFileError(message)
        return sizes

    def read(self, name: str, limit: int | None = None) -> bytearray:
        """A member's content, whole or its first ``limit`` bytes; a whole one has its CRC checked."""
        size = self.sizes.get(name)
        if size is None:
            message = f"{self.path}: has no member {name[:80]!r}."
            raise SAEFileError(message)
        wanted = size if limit is None else min(size, limit)
        try:
            with self._zip.open(name) as member:
                content = bytearray(wanted)
                filled = _fill(content, member)
                # The CRC is compared when the reader meets the end, which an exact read does not.
                rest = member.read(1) if wanted == size else b""
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
            message = f"{self.path}: member {name[:80]!r} is damaged: {error}."
            raise SAEFileError(message) from error
        if filled != wanted or rest:
            message = f"{self.path}: member {name[:80]!r} is not of the size that the directory declares."
            raise SAEFileError(message)
        return content


def _fill(buffer: bytearray, source: IO[bytes]) -> int:
    """Read into ``buffer`` piece by piece, so that a large member is in memory once."""
    view, position = memoryview(buffer), 0
    while position < len(buffer):
        piece = source.read(min(PIECE, len(buffer) - position))
        if not piece:
            break
        view[position : position + len(piece)] = piece
        position += len(piece)
    return position
