"""The model card: who made an SAE, under which licence, where it is, and how to make its rows again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkmatter.errors import DarkmatterError
from darkmatter.files.atomic import write_bytes
from darkmatter.files.text import read_yaml
from darkmatter.results.schema import Result

MEASURED_ON = ("model", "text", "hook")
"""The fields that say what the rows were measured on."""

_HEAD = "# Model card: fill in what is empty; the rest follows from the results.\n"


class ModelCard(BaseModel):
    """One SAE's card; every field is text that is shown, none is ever run."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=2000)

    owner: str = Field(description="whose folder this is")
    sae: str = Field(description="the SAE's name")
    description: str = Field("", description="what it is, in a sentence")
    licence: str = Field("", description="of the weights, such as MIT")
    weights: str = Field("", description="where a reader gets them")
    reference: str = Field(description="what `darkmatter run --sae` takes")
    model: str = Field(description="the language model")
    text: str = Field(description="the text that was read")
    hook: str = Field(description="the hook point")
    suite: str = Field("", description="a suite file that makes the rows, if one is published")

    @property
    def missing(self) -> list[str]:
        """The fields that only its owner can fill in and has not."""
        return [name for name in ("licence", "weights") if not getattr(self, name).strip()]


def measured_on(result: Result) -> dict[str, str]:
    """What a card says that a result was measured on."""
    model, text = _said(result.cache, "model", "name"), _said(result.cache, "text", "path")
    return dict(zip(MEASURED_ON, (model, text, result.sae.hook), strict=True))


def _said(cache: Mapping[str, Any], part: str, name: str) -> str:
    described = cache.get(part)
    return str(described.get(name, "")) if isinstance(described, dict) else str(described or "")


def read_card(path: Path) -> ModelCard | str:
    """A card, or what is wrong with it."""
    try:
        return ModelCard.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"is no model card: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    except DarkmatterError as error:
        return f"cannot be read: {str(error).removeprefix(f'{path}: ')}"


def write_card(path: Path, card: ModelCard) -> None:
    """Write a card, with its fields in their order."""
    text = yaml.safe_dump(card.model_dump(), sort_keys=False, allow_unicode=True)
    write_bytes(path, (_HEAD + text).encode())
