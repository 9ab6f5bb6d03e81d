"""The check of catalogues finds what is wrong."""

import random
import socket

import pytest

from darkmatter import api
from darkmatter.soundness import faults
from darkmatter.testing import check_catalogue


def resolve(target):
    """The one entry."""
    if target != "one":
        message = f"there is no {target!r}"
        raise api.ItemError(message)
    return api.CatalogueEntry("hf:org/repo/one")


def changing(target):
    """Another entry every time."""
    resolve(target)
    return api.CatalogueEntry("hf:org/repo", extra={"n": random.random()})


def connecting(target):
    """Asks a server."""
    socket.create_connection(("127.0.0.1", 9))
    return resolve(target)


def generous(target):
    """Knows everything."""
    return api.CatalogueEntry("hf:org/repo")


def crashing(target):
    """Looks without asking."""
    return {"one": resolve("one")}[target]


def silent(target):
    """Does not say what it does not know."""
    if target != "one":
        raise api.ItemError("no")
    return resolve(target)


def catalogue(implementation=resolve, **fields):
    fields = {"name": "ours", "form": "NAME", "example": "one"} | fields
    return api.SAECatalogue(summary="For tests.", implementation=implementation, **fields)


def test_a_sound_catalogue_passes():
    """Nothing is wrong with one that keeps the rules."""
    assert check_catalogue(catalogue()) == ()


@pytest.mark.parametrize(
    ("implementation", "rule"),
    [
        (lambda target: "hf:org/repo", "gives entries"),
        (lambda target: api.CatalogueEntry("runs/a"), "names a place on the hub"),
        (lambda target: api.CatalogueEntry("hg:org/repo"), "names a place on the hub"),
        (lambda target: api.CatalogueEntry("hf:org/repo", extra={"x": {1}}), "which are JSON"),
        (changing, "same target gives the same entry"),
        (connecting, "uses no network"),
        (generous, "unknown target is an ItemError"),
        (crashing, "unknown target is an ItemError"),
        (silent, "names it"),
    ],
)
def test_broken_rules_are_named(implementation, rule):
    """Each rule of the check can be broken, and the error says which was."""
    with pytest.raises(AssertionError, match=rule):
        check_catalogue(catalogue(implementation))


def test_an_adapter_that_is_not_installed_is_said_to_be_unchecked():
    """The check cannot know whether another distribution brings it."""
    entry = api.CatalogueEntry("hf:org/repo", adapter="elsewhere")
    (note,) = check_catalogue(catalogue(lambda target: entry if target == "one" else resolve(target)))
    assert "elsewhere" in note


@pytest.mark.parametrize("fields", [{"name": "hf"}, {"name": "x"}, {"form": ""}, {"example": "a\nb"}])
def test_unsound_descriptors_are_refused(fields):
    """A scheme that is taken or looks like a drive, and an empty form, are faults at load time."""
    assert list(faults(catalogue(**fields)))
    assert list(faults(catalogue())) == []
