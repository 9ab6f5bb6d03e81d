"""Options of an evaluator that name another plugin: a dataset, a simulator.

``dataset: ioi`` and ``dataset: {name: ioi, pairs: 100}`` in a suite, ``--set NAME.dataset=ioi,pairs=100`` on
the command line, where a value may be a list in brackets. The plugin's version and its full options are part
of the result's key.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, get_args

import yaml
from pydantic import Field, model_validator

from darkmatter.descriptors import Config
from darkmatter.tasks import TaskKind

_PAIR = re.compile(r",([A-Za-z_]\w*)=(\[[^\[\]]*\]|[^,]*)")
_WORDS = re.compile(rf"([^,=]+)((?:{_PAIR.pattern})*)")


class Choice(Config):
    """The name of a plugin and its options; subclasses say of which kind."""

    kind: ClassVar[str]

    name: str = Field(description="name of the plugin")
    options: dict[str, Any] = Field(default_factory=dict, description="its options")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, str):
            words = _WORDS.fullmatch(value)
            if words is None:
                message = f"{value!r}: expected NAME or NAME,FIELD=VALUE,..."
                raise ValueError(message)
            try:
                options = {field: yaml.safe_load(text) for field, text in _PAIR.findall(words[2])}
            except yaml.YAMLError:
                message = f"{value!r}: some VALUE of NAME,FIELD=VALUE,... cannot be read as YAML"
                raise ValueError(message) from None
            return {"name": words[1], "options": options}
        if isinstance(value, dict) and "options" not in value:
            return {"name": value.get("name"), "options": {k: v for k, v in value.items() if k != "name"}}
        return value


class DatasetChoice(Choice):
    """A dataset plugin and its options; subclasses say what it must give, this one takes any."""

    kind = "datasets"
    gives: ClassVar[TaskKind | None] = None


class MinimalPairsChoice(DatasetChoice):
    """A dataset of ``MinimalPairs``."""

    gives = "minimal_pairs"


class LabelledPromptsChoice(DatasetChoice):
    """A dataset of ``LabelledPrompts``."""

    gives = "labelled_prompts"


class ConceptsChoice(DatasetChoice):
    """A dataset of ``Concepts``."""

    gives = "concepts"


class SimulatorChoice(Choice):
    """A simulator plugin and its options."""

    kind = "simulators"


def choices_of(config: type[Config]) -> list[tuple[str, type[Choice]]]:
    """The options of an evaluator that name another plugin, with what kind of choice each is."""
    return [
        (name, part)
        for name, field in config.model_fields.items()
        for part in (field.annotation, *get_args(field.annotation))
        if isinstance(part, type) and issubclass(part, Choice)
    ]
