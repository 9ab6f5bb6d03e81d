"""Fields of a stranger's configuration, read with their types checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from darkmatter.errors import SAEFileError


class Fields:
    """One object of a configuration file; every complaint names the file and the field."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def inside(self, name: str) -> Fields:
        """A nested object; an empty one where it is missing."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, Mapping):
            self._expected(name, "an object")
        return Fields(value or {}, f"{self.where}, {name}")

    def size(self, name: str, default: int | None = None) -> int:
        """A positive integer."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not 0 < value < 1 << 40:
            self._expected(name, "a positive integer")
        return value

    def number(self, name: str) -> float | None:
        """A finite number, or None where it is missing."""
        value = self.values.get(name)
        if value is None:
            return None
        if type(value) not in {int, float} or not math.isfinite(value):
            self._expected(name, "a finite number")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self._expected(name, "true or false")
        return value

    def text(self, *names: str) -> str | None:
        """The first of these names that has a value; None where none has."""
        for name in names:
            value = self.values.get(name)
            if value is not None:
                if not isinstance(value, str):
                    self._expected(name, "a string")
                return value
        return None

    def integer(self, *names: str) -> int | None:
        """The first of these names that has a value, an integer; None where none has."""
        for name in names:
            value = self.values.get(name)
            if value is not None:
                if type(value) is not int:
                    self._expected(name, "an integer")
                return value
        return None

    def choice(self, name: str, choices: Mapping[str, Any], default: str) -> str:
        """One of the known words."""
        value = self.text(name) or default
        if value not in choices:
            message = f"{self.where}: field {name!r} is {value[:80]!r}, which is not supported. "
            raise SAEFileError(message + f"Supported: {', '.join(choices)}.")
        return value

    def some(self, *names: str) -> dict[str, Any]:
        """Those of these fields that have a value, for the record."""
        return {name: self.values[name] for name in names if self.values.get(name) is not None}

    def _expected(self, name: str, what: str) -> NoReturn:
        value = self.values.get(name)
        found = (
            "missing"
            if value is None
            else f"{str(value)[:80]!r}"
            if isinstance(value, str | int | float)
            else "?"
        )
        found = type(value).__name__ if found == "?" else found
        message = f"{self.where}: field {name!r} is {found}; expected {what}."
        raise SAEFileError(message)
