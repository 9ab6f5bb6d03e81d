"""References into an embedded suite: ``demo:topk-w1024-k16`` means the same on every machine.

A result that names a shipped SAE, model or text in this way holds no path, so anyone who has the
plugin can make it again.
"""

from __future__ import annotations

import atexit
import functools
import re
import shutil
import tempfile
from pathlib import Path

from darkmatter.descriptors import EmbeddedSuite, import_named

_EMBEDDED = re.compile(r"([a-z][a-z0-9_]*):([A-Za-z0-9_.-]+)")


def embedded_schemes() -> tuple[str, ...]:
    """Names of the embedded suites whose parts can be named; plugins load for this."""
    from darkmatter.plugins import host

    suites = host().owned("suites")
    return tuple(name for name, owned in suites.items() if _suite(owned.descriptor).locate is not None)


def is_embedded(text: str) -> bool:
    """Whether a text is ``SUITE:NAME`` with the name of such a suite."""
    found = _EMBEDDED.fullmatch(text)
    return found is not None and found[1] in embedded_schemes()


def embedded_path(text: str) -> Path | None:
    """Where the model, text or SAE lies that ``SUITE:NAME`` names; None for any other text.

    Raises ItemError where the suite has no part of that name.
    """
    return _located(text) if is_embedded(text) else None


@functools.cache
def _located(text: str) -> Path:
    from darkmatter.plugins import host

    name, _, part = text.partition(":")
    suite = _suite(host().get("suites", name).descriptor)
    assert suite.locate is not None
    return Path(import_named(suite.locate, name)(part, _scratch() / name))


@functools.cache
def _scratch() -> Path:
    """A folder for what a suite makes anew, such as generated text; it goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="darkmatter-embedded-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _suite(descriptor: object) -> EmbeddedSuite:
    assert isinstance(descriptor, EmbeddedSuite)
    return descriptor
