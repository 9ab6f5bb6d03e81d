"""What a stranger's row may not make a plugin do: read files, use a network, spend money.

Judged by the plugins' descriptors, before a plugin sees the options: checking them may read a file already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticUndefined

from darkmatter.descriptors import Configured, Reach
from darkmatter.errors import ItemError
from darkmatter.plugins import Owned

_WOULD = {
    "files": "read files of the machine",
    "network": "use a network",
    "money": "spend money",
}


def refuse_files(owned: Owned, options: Mapping[str, Any]) -> None:
    """Raise ItemError where options name a file: only its owner's machine has it."""
    for reach in _reaches(owned, options):
        if reach.kind == "files" and reach.option is not None:
            named = f"{reach.option} of {owned.descriptor.name}"
            message = f"{named}: {options.get(reach.option)!r} is a path, which only its owner's machine has"
            raise ItemError(message)


def refuse_reaching(owned: Owned, options: Mapping[str, Any]) -> None:
    """Raise ItemError where a plugin would reach beyond the run, or does not say that it would not."""
    described = owned.descriptor
    if not isinstance(described, Configured) or described.reaches is None:
        message = (
            f"{owned.qualified} does not say what it reaches for, so perhaps it would read files or "
            "use a network"
        )
        raise ItemError(message)
    if would := dict.fromkeys(_WOULD[reach.kind] for reach in _reaches(owned, options)):
        message = f"{described.name} would {' and '.join(would)}"
        raise ItemError(message)


def _reaches(owned: Owned, options: Mapping[str, Any]) -> Iterator[Reach]:
    """What a plugin reaches for with these options."""
    described = owned.descriptor
    assert isinstance(described, Configured)
    for reach in described.reaches or ():
        if reach.option is None or _given(described, reach.option, options):
            yield reach


def _given(described: Configured, option: str, options: Mapping[str, Any]) -> bool:
    """Whether an option has a value, its default included; one that there is not is taken for given."""
    field = described.config.model_fields.get(option)
    default = PydanticUndefined if field is None else field.get_default(call_default_factory=False)
    return options.get(option, default) is not None
