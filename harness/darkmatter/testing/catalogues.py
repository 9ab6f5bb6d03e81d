"""Whether a catalogue gives references that can be fetched, and says what it does not know."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any, NoReturn
from unittest import mock

from darkmatter.catalogues import CatalogueEntry
from darkmatter.descriptors import SAECatalogue
from darkmatter.errors import ItemError, UsageError
from darkmatter.plugins import host
from darkmatter.references import parse_reference
from darkmatter.testing.rules import descriptor_of, refuse, require, undisturbed

UNKNOWN = "no-such-entry/of-this-catalogue"


def check_catalogue(catalogue: SAECatalogue | str) -> tuple[str, ...]:
    """Raise AssertionError unless a catalogue conforms; returns what could not be checked here.

    Its example resolves, twice the same, to an ``hf:`` reference, with JSON-able facts and an
    adapter that is installed; a target that it does not know is an ``ItemError`` that names it; it
    uses no network and leaves what is shared alone.

    Args:
        catalogue: a descriptor, or the name of an installed one (then imports are checked too).
    """
    described = descriptor_of("catalogues", catalogue, SAECatalogue)
    where = f"the catalogue {described.name!r}"
    resolve = described.resolve()
    with undisturbed(where, first=True), _without_network(where):
        entry = resolve(described.example)
        again = resolve(described.example)
    _check_entry(entry, where)
    require(entry == again, "The same target gives the same entry.", f"{where}: two entries", "no clock.")
    with undisturbed(where), _without_network(where):
        _check_unknown(resolve, where)
    if entry.adapter is not None and entry.adapter not in host().adapters():
        return (f"{where}: whether the adapter {entry.adapter!r} reads its SAEs, since it is not installed.",)
    return ()


def _check_entry(entry: Any, where: str) -> None:
    if not isinstance(entry, CatalogueEntry):
        refuse("A catalogue gives entries.", f"{where}: {type(entry).__name__}", "an api.CatalogueEntry.")
    try:
        kind: str = parse_reference(entry.reference).kind
    except UsageError as error:
        kind = f"none ({error})"
    require(
        kind == "hf",
        "An entry names a place on the hub.",
        f"{where}: {entry.reference!r} is of kind {kind}",
        "give hf:ORG/REPO/FOLDER, with @REVISION where it is known.",
    )
    try:
        json.dumps([entry.extra, list(entry.notes)], allow_nan=False)
    except (TypeError, ValueError) as error:
        refuse(
            "What an entry states goes into results, which are JSON.",
            f"{where}: {error}",
            "strings, finite numbers, lists and dictionaries in extra and notes.",
            error,
        )


def _check_unknown(resolve: Any, where: str) -> None:
    try:
        found = resolve(UNKNOWN)
    except ItemError as error:
        message = str(error)
    except Exception as error:  # noqa: BLE001 - that is what is being looked for
        refuse(
            "An unknown target is an ItemError.",
            f"{where}: {type(error).__name__}: {error}",
            "raise api.ItemError with api.did_you_mean(target, known).",
            error,
        )
    else:
        refuse("An unknown target is an ItemError.", f"{where}: {found!r}", "raise api.ItemError.")
    require(
        UNKNOWN.partition("/")[0] in message,
        "The error of an unknown target names it.",
        f"{where}: {message}",
        "put the target into the message, and the nearest known ones.",
    )


@contextlib.contextmanager
def _without_network(where: str) -> Iterator[None]:
    def used(*_arguments: Any, **_options: Any) -> NoReturn:
        refuse(
            "Resolving uses no network: it happens whenever an SAE is loaded.",
            f"{where} opened a connection",
            "ship the data with the plugin.",
        )

    with mock.patch.object(socket.socket, "connect", used), mock.patch.object(socket, "getaddrinfo", used):
        yield
