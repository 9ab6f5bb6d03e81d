"""From a reference to files that are on this machine; no network is used here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from darkmatter.catalogues import CatalogueEntry, resolve_entry
from darkmatter.errors import ItemError, SAEFileError
from darkmatter.fetching.checked import altered
from darkmatter.fetching.record import Record, canonical, place, problems, read_record
from darkmatter.files.view import FileView
from darkmatter.sae.overrides import Overrides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from darkmatter.references import Reference
    from darkmatter.sae.base import SAEMetadata


@dataclass(frozen=True)
class Origin:
    """Where the files of a view come from, and what is known of them because of that.

    Attributes:
        top: the folder that holds the repository; nothing above it is looked at.
        files: what was fetched and checked; nothing else in the folders is looked at.
        source: repository, commit and hashes, for ``metadata.extra["source"]`` and so for results.
        adapter: the reader that a catalogue names.
        overrides: what a catalogue states.
        stated_by: who states the overrides.
    """

    top: Path
    files: frozenset[Path]
    source: dict[str, Any]
    adapter: str | None = None
    overrides: Overrides = field(default_factory=Overrides)
    stated_by: str = ""

    def beneath(self, overrides: Overrides) -> Overrides:
        """What the catalogue states of fields about which the user says nothing."""
        own = self.overrides.given().items()
        return Overrides.of({name: value for name, value in own if name not in overrides.given()})

    def signed(self, metadata: SAEMetadata) -> SAEMetadata:
        """The metadata of an SAE from here, with its source."""
        return replace(metadata, extra=metadata.extra | {"source": self.source})


class FetchedView(FileView):
    """A view of fetched files: it shows no others, knows where they come from, and ends at their repository.

    A snapshot may hold more: files of other references, or what somebody put there.
    """

    origin: Origin

    def __init__(self, path: str | Path, index: int | None, origin: Origin) -> None:
        super().__init__(path, index)
        self.origin = origin

    def names(self) -> tuple[str, ...]:
        """The fetched files of the folder, sorted, or the one file."""
        return tuple(name for name in super().names() if self.has(name))

    def has(self, name: str) -> bool:
        """Whether the folder holds this file, and it was fetched."""
        return self.file(name) in self.origin.files and super().has(name)

    def subfolders(self) -> Iterator[FileView]:
        """Folders below this one with fetched files in them."""
        below = {path.parent for path in self.origin.files if self.root in path.parent.parents}
        for folder in sorted(below, key=lambda path: (len(path.parts), path)):
            yield type(self)(folder, None, self.origin)

    def parent(self) -> Self | None:
        """A view of the folder above, inside the repository."""
        if self.root == self.origin.top:
            return None
        return type(self)(self.root.parent, None, self.origin)


def open_fetched(reference: Reference) -> FetchedView:
    """The files of a reference of kind "hf" or "catalogue".

    Raises:
        ItemError: they were never fetched, or are no longer whole; the text ends with the command
            that fetches them.
    """
    entry = None
    hub = reference
    if reference.kind == "catalogue":
        entry, hub = resolve_entry(reference)
    command = f"darkmatter fetch {shlex.quote(str(reference) if entry else canonical(hub))}"
    record = _record(hub, str(reference), command)
    origin = Origin(
        top=Path(record.snapshot),
        files=frozenset(map(record.path, record.files)),
        source=_source(reference, record, entry),
        adapter=entry.adapter if entry else None,
        overrides=entry.overrides if entry else Overrides(),
        stated_by=f"the catalogue {reference.catalogue}",
    )
    return FetchedView(record.path(place(hub)[1]), hub.index, origin)


def _record(hub: Reference, name: str, command: str) -> Record:
    record = read_record(canonical(hub))
    if record is None:
        message = f"{name}: is not on this machine, and loading never downloads. Fetch it: {command}"
        raise ItemError(message)
    wrong = problems(record, hashes=False) or altered(record)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        message = f"{name}: {wrong[0]}{more} Fetch it again: {command}"
        raise SAEFileError(message)
    return record


def _source(reference: Reference, record: Record, entry: CatalogueEntry | None) -> dict[str, Any]:
    source: dict[str, Any] = {
        "repo": record.repo,
        "commit": record.commit,
        "files": {name: file.sha256 for name, file in sorted(record.files.items())},
    }
    if entry is not None:
        source["catalogue"] = {
            "name": reference.catalogue,
            "entry": reference.target,
            "reference": entry.reference,
            "overrides": entry.overrides.given(),
            "notes": list(entry.notes),
            **entry.extra,
        }
    return source
