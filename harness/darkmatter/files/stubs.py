"""What stands in a read pickle for things that are never imported, and the plain containers in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

KNOWN_STUBS = (
    "pathlib.*",
    "torch.device",
    "copyreg._reconstructor",
    "copy_reg._reconstructor",
    "builtins.object",
    "__builtin__.object",
)
"""Names (globs) of no format that become inert stubs; an adapter adds those of its own format."""

RECONSTRUCTORS = {"copyreg._reconstructor", "copy_reg._reconstructor"}
"""Functions that make an object of the class that is their first argument."""

KEY_PARTS = 16
"""Parts of a tuple that is used as a key."""

PLAIN = (str, int, float, bool, bytes, type(None))

Builder = Callable[[tuple[Any, ...]], Any]
"""What a call in the stream means here: takes the call's arguments."""


@dataclass(frozen=True)
class Name:
    """A global that the stream mentions: an importable name that is never imported."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"


@dataclass(eq=False)
class Stub:
    """Stands for an object of a class that is never imported: its name and what was stored."""

    kind: Name
    arguments: tuple[Any, ...] = ()
    state: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The full name of the class."""
        return str(self.kind)

    def __repr__(self) -> str:
        return f"<stub of {self.name}>"


def as_key(value: Any) -> Any:
    """A dictionary key; only plain ones, since hashing nested ones can exhaust the C stack.

    Integers beyond 2^60 can be chosen to collide, which makes a dictionary as slow as a list; a long
    tuple is hashed anew at each use.
    """
    parts = value if isinstance(value, tuple) else (value,)
    plain = len(parts) <= KEY_PARTS and all(isinstance(part, PLAIN) for part in parts)
    if plain and not any(isinstance(part, int) and abs(part) >> 60 for part in parts):
        return value
    message = f"a {type(value).__name__} is used as a key"
    raise ValueError(message)


def ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """``collections.OrderedDict(pairs)`` as a plain dictionary, which is ordered too."""
    pairs = arguments[0] if arguments else []
    if not isinstance(pairs, list) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        message = "an OrderedDict is not made of pairs"
        raise ValueError(message)
    return {as_key(key): value for key, value in pairs}


def plain_set(arguments: tuple[Any, ...]) -> set[Any]:
    """``set(items)``."""
    items = arguments[0] if arguments else []
    if not isinstance(items, list | tuple):
        message = "a set is not made of items"
        raise TypeError(message)
    return {as_key(item) for item in items}
