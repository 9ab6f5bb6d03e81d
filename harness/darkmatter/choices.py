"""Options of an evaluator that name another plugin: a dataset, a simulator.

``dataset: ioi`` and ``dataset: {name: ioi, pairs: 100}`` in a suite, ``--set NAME.dataset=ioi,pairs=100`` on
the command line. The plugin's version and its full options are part of the result's key.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml
from pydantic import Field, model_validator

from darkmatter.descriptors import Config

_WORDS = re.compile(r"[^,=]+(,[A-Za-z_]\w*=[^,]*)*")


class Choice(Config):
    """The name of a plugin and its options; subclasses say of which kind."""

    kind: ClassVar[str]

    name: str = Field(description="name of the plugin")
    options: dict[str, Any] = Field(default_factory=dict, description="its options")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, str):
            if _WORDS.fullmatch(value) is None:
                message = f"{value!r}: expected NAME or NAME,FIELD=VALUE,..."
                raise ValueError(message)
            name, *pairs = value.split(",")
            fields = dict(pair.split("=", 1) for pair in pairs)
            return {"name": name, "options": {key: yaml.safe_load(text) for key, text in fields.items()}}
        if isinstance(value, dict) and "options" not in value:
            return {"name": value.get("name"), "options": {k: v for k, v in value.items() if k != "name"}}
        return value


class DatasetChoice(Choice):
    """A dataset plugin and its options."""

    kind = "datasets"


class SimulatorChoice(Choice):
    """A simulator plugin and its options."""

    kind = "simulators"
