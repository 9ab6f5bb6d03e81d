"""Which model and which text: the ``model:`` and ``text:`` parts of a suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from darkmatter.descriptors import Config


class ModelSpec(Config):
    """A language model; in a suite either a mapping or just its name."""

    name: str = Field(
        min_length=1,
        description="folder in Hugging Face layout, or a Hub id; hf:ID is the Hub's even beside a folder",
    )
    revision: str | None = Field(None, description="Hub branch, tag or commit; the commit is recorded")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="the weights' type; activations are stored as the model emits them"
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one")
    processing: Literal["raw", "compat"] = Field(
        "raw",
        description="raw: the weights as they are; compat: layer norms folded and weights centred, "
        "as TransformerLens' from_pretrained did (some older SAEs expect it)",
    )
    provider: str | None = Field(None, description="activation source that runs it; by default the built-in")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class TextSpec(Config):
    """A text and how it becomes contexts; in a suite either a mapping or just its path."""

    path: str = Field(
        min_length=1, description=".txt, .jsonl or .json file (.gz too), or hf:NAME[:CONFIG[:SPLIT]]"
    )
    field: str = Field("text", description="the field that holds the text, in JSON lines and datasets")
    context_length: int = Field(256, ge=2, description="positions per context, BOS included")
    contexts: int = Field(400, ge=1, description="how many contexts; fewer if the text is short")
    bos: Literal["always", "never"] | None = Field(
        None, description="begin each context with BOS; by default always, if the tokenizer has one"
    )
    packing: Literal["packed", "truncate"] = Field(
        "packed",
        description="packed: documents one after another; truncate: the start of one document per "
        "context, shorter documents dropped (the dark matter papers' way)",
    )
    document_limit: int | None = Field(
        8, ge=1, description="contexts that one document may fill, the rest of it is left out; null: no limit"
    )
    seed: int = Field(0, ge=0, description="shuffles the documents before packing")

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


@dataclass(frozen=True)
class ActivationRequest:
    """What an activation source is asked for."""

    model: ModelSpec
    text: TextSpec
    hooks: tuple[str, ...]
