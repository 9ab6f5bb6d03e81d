"""JSON and YAML from strangers: capped in size and depth, no duplicate keys, no aliases."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from darkmatter.errors import SAEFileError
from darkmatter.files import limits

if TYPE_CHECKING:
    import yaml


def bad_escapes_raise() -> None:
    """Within ``warnings.catch_warnings``: what Python's own parsers would warn about is damage.

    They warn about escapes and numbers that no writer makes: as DeprecationWarning or, since Python
    3.12, as SyntaxWarning. The filter names the messages, since it holds in other threads too.
    """
    for category in (DeprecationWarning, SyntaxWarning):
        warnings.filterwarnings("error", message=r".*\binvalid\b.*\b(escape|literal)", category=category)


def read_bytes(path: Path, limit: int, what: str) -> bytes:
    """The content of a regular file, if it is no larger than ``limit``."""
    if not path.is_file():
        message = f"{path}: there is no such file; expected {what}."
        raise SAEFileError(message)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror or error}."
        raise SAEFileError(message) from error
    if len(content) > limit:
        message = f"{path}: is larger than {limits.human(limit)}, too large for {what}."
        raise SAEFileError(message)
    return content


def read_json(path: Path, *, allow_nan: bool = False) -> dict[str, Any]:
    """The JSON object in a file.

    ``allow_nan`` accepts the constants NaN and Infinity, which Python writes and JSON forbids.
    """
    content = read_bytes(path, limits.JSON_BYTES, "a JSON file")
    return parse_json(content, str(path), allow_nan=allow_nan)


def parse_json(content: bytes, where: str, *, allow_nan: bool = False) -> dict[str, Any]:
    """The JSON object in ``content``; ``where`` names it in messages."""
    try:
        value = strict_json(content.decode("utf-8-sig"), constant=float if allow_nan else None)
    except NestingError as error:
        message = f"{where}: {error}; no configuration needs that."
        raise SAEFileError(message) from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are among them
        message = f"{where}: is not valid JSON: {error}."
        raise SAEFileError(message) from error
    if not isinstance(value, dict):
        message = f"{where}: expected a JSON object with named fields, found {_kind(value)}."
        raise SAEFileError(message)
    return value


class NestingError(ValueError):
    """A value has more levels than any of our code walks; the message continues a sentence."""

    def __init__(self) -> None:
        super().__init__(f"is nested more than {limits.NESTING} levels deep")


def strict_json(text: str, *, constant: Callable[[str], Any] | None = None) -> Any:
    """JSON without duplicate keys and deep nesting, and with finite numbers, else ValueError.

    ``constant`` reads NaN and Infinity, which Python writes and JSON forbids; 1e999 is then infinite.
    """

    def refuse(name: str) -> NoReturn:
        message = f"holds the constant {name}, which is not JSON"
        raise ValueError(message)

    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=constant or refuse,
            parse_float=_finite if constant is None else float,
            parse_int=_whole,
        )
    except RecursionError:
        raise NestingError from None
    _check_depth(value)
    return value


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # Python's own limit, since the conversion is quadratic
        message = f"holds a whole number of {len(text)} digits, more than are read"
        raise ValueError(message) from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        message = f"holds the number {text[:40]}, which is larger than any finite float"
        raise ValueError(message)
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file: plain values only, no aliases, no duplicate keys."""
    import yaml

    content = read_bytes(path, limits.YAML_BYTES, "a YAML file")
    try:
        value = yaml.load(content, Loader=_loader())  # noqa: S506 - a SafeLoader made stricter
        _check_depth(value)
    except (RecursionError, NestingError):
        message = f"{path}: {NestingError()}; no configuration needs that."
        raise SAEFileError(message) from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        message = f"{path}: is not plain YAML: {' '.join(str(error).split())}."
        raise SAEFileError(message) from error
    if not isinstance(value, dict):
        message = f"{path}: expected a YAML mapping, found {_kind(value)}."
        raise SAEFileError(message)
    return value


def _loader() -> type[yaml.SafeLoader]:
    """PyYAML's safe loader without aliases (they multiply) and with unique keys."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                message = "aliases (*name) are not accepted"
                raise ValueError(message)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            mapping = super().construct_mapping(node, deep=deep)
            if len(mapping) != len(node.value):
                message = "a key occurs twice in one mapping"
                raise ValueError(message)
            return mapping

    return Loader


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; two values under one key mean that two readers would see two configs."""
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        message = f"the key {twice[:80]!r} occurs twice in one object"
        raise ValueError(message)
    return result


def _check_depth(value: Any) -> None:
    """Refuse nesting that later code could not walk by recursion."""
    level = _containers([value])
    for _ in range(limits.NESTING):
        level = [child for parent in level for child in _containers(parent)]
        if not level:
            return
    raise NestingError


def _containers(parent: Any) -> list[Any]:
    """The lists and objects directly inside one."""
    members = parent.values() if isinstance(parent, dict) else parent
    return [child for child in members if isinstance(child, dict | list)]


def _kind(value: Any) -> str:
    names: dict[type, str] = {list: "a list", str: "a string", type(None): "nothing", bool: "a boolean"}
    return names.get(type(value), "a number")
