"""What a field expects, in words, where a value does not fit it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "string": "text"}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def expectation(problem: ErrorDetails) -> str:
    """``expected a whole number`` and the like; what pydantic says where there is no shorter word."""
    kind = problem["type"]
    if kind in _BOUNDS:
        key, word = _BOUNDS[kind]
        return f"expected {word} {problem.get('ctx', {}).get(key)}"
    if kind == "finite_number":
        return "expected a finite number"
    family, _, rest = kind.partition("_")
    if family in _KINDS and rest in {"parsing", "type", "from_float"}:
        return f"expected {_KINDS[family]}"
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    return message[:1].lower() + message[1:]
