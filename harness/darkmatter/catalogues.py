"""Names for published SAEs: what a catalogue says of one entry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from darkmatter.descriptors import SAECatalogue
from darkmatter.errors import DarkmatterError, ItemError, UsageError
from darkmatter.references import Reference, parse_reference
from darkmatter.sae.overrides import Overrides


@dataclass(frozen=True)
class CatalogueEntry:
    """Where one published SAE is, and what its catalogue knows of it that its files do not say.

    Attributes:
        reference: an ``hf:`` reference.
        overrides: followed as if the user had stated them; what the user states comes first, and a
            norm_factor is followed only where the files' reader left the scale open.
        adapter: which adapter reads the files; None leaves it to detection.
        notes: what a reader of results should know, one sentence each.
        extra: what the catalogue states beside that, as JSON-able values, such as its version.
    """

    reference: str
    overrides: Overrides = field(default_factory=Overrides)
    adapter: str | None = None
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


def resolve_entry(reference: Reference) -> tuple[CatalogueEntry, Reference]:
    """What a catalogue says of a reference of kind "catalogue", and its ``hf:`` reference, parsed."""
    from darkmatter.plugins import host

    assert reference.catalogue is not None
    descriptor = host().get("catalogues", reference.catalogue).descriptor
    assert isinstance(descriptor, SAECatalogue)
    try:
        entry = descriptor.resolve()(reference.target)
    except DarkmatterError:
        raise
    except Exception as error:  # a plugin's fault must name the plugin
        message = f"{reference}: the catalogue {descriptor.name!r} failed ({type(error).__name__}: {error})."
        raise ItemError(message) from error
    if not isinstance(entry, CatalogueEntry):
        what = type(entry).__name__
        message = f"{reference}: the catalogue {descriptor.name!r} gave a {what}, not a CatalogueEntry."
        raise ItemError(message)
    return entry, _hub_reference(reference, entry)


def _hub_reference(reference: Reference, entry: CatalogueEntry) -> Reference:
    try:
        found = parse_reference(entry.reference)
    except UsageError as error:
        message = f"{reference}: its catalogue names a place that cannot be fetched. {error}"
        raise ItemError(message) from error
    if found.kind != "hf":
        message = f"{reference}: its catalogue names {entry.reference!r}; expected an hf: reference."
        raise ItemError(message)
    return found
