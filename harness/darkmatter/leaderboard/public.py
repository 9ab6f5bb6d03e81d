"""What may be published: references that others can follow, and no path of anyone's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from darkmatter.embedded import is_embedded
from darkmatter.errors import DarkmatterError
from darkmatter.references import parse_reference

_PART = r"[\w.@+ -]*[\w.@+-]"
_PATH = re.compile(
    r"(?P<before>^|file://|[\s'\"=(,:;\[{<>|`])"  # not the // of an address on the web
    rf"(?:~|[A-Za-z]:)?(?:/|\\{{1,2}}){_PART}(?:[/\\]+{_PART})+"
)
_NAME = re.compile(r"[\w.@+-]+(/[\w.@+-]+)?")
_PUBLIC = {"hf", "catalogue", "embedded"}
FREE_TEXT = ("tables", "curves")
"""Parts of a result in which tokens stand, which may look like paths."""


def why_private(reference: str) -> str | None:
    """Why others cannot follow the reference of an SAE, or None where they can."""
    try:
        kind = parse_reference(reference).kind
    except DarkmatterError as error:
        return str(error)
    if kind in _PUBLIC:
        return None
    if kind == "python":
        return f"{reference!r} names code, which is never run for a leaderboard"
    return f"{reference!r} is a path, which only its owner's machine has"


def why_private_name(name: str) -> str | None:
    """The same for a model's or a text's name: a hub's, an embedded suite's, or a bare file name."""
    if is_embedded(name) or name.startswith("hf:") or (_NAME.fullmatch(name) and name[0] not in ".~"):
        return None
    return f"{name!r} is a path, which only its owner's machine has"


def paths_in(value: Any) -> Iterator[str]:
    """Every text inside a JSON value in which a machine's path stands."""
    if isinstance(value, dict):
        for each in value.values():
            yield from paths_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from paths_in(each)
    elif isinstance(value, str) and _PATH.search(value):
        yield value


def without_paths(value: Any) -> Any:
    """The same value with every machine's path cut to its last component."""
    if isinstance(value, dict):
        return {name: without_paths(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(each) for each in value]
    return _PATH.sub(_last, value) if isinstance(value, str) else value


def _last(found: re.Match[str]) -> str:
    return found["before"] + re.split(r"[/\\]", found[0])[-1]
