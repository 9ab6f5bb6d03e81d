"""What ``darkmatter.json`` says: the canonical form of an SAE without its tensors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from darkmatter.sae.overrides import Overrides

FORMAT: Literal["darkmatter sae"] = "darkmatter sae"
VERSION: Literal[1] = 1
"""A bump says that older releases cannot read what is written; ``saved.read_saved`` reads all versions."""

ActivationName = Literal["Relu", "TanhRelu", "JumpRelu", "Threshold", "TopK", "AbsTopK", "GroupMax", "Gated"]


class Part(BaseModel):
    """Base of everything in the JSON file: no unknown fields, no conversions of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SavedActivation(Part):
    """An activation by its name, with its parameters that are plain numbers."""

    name: ActivationName
    k: int | None = None
    relu: bool | None = None


class SavedNormalisation(Part):
    """The fields of ``Normalisation``."""

    kind: Literal["none", "layer_norm", "constant_norm", "scale"]
    eps: float
    factor: float
    invert: bool


class SavedAssumption(Part):
    """The fields of ``Assumption``."""

    sentence: str
    about: str | None = None
    to_be_sure: str | None = None


class SavedMetadata(Part):
    """The fields of ``SAEMetadata``."""

    format: str
    architecture: str
    model: str | None = None
    context_length: int | None = None
    prepend_bos: bool | None = None
    dataset: str | None = None
    dtype: str | None = None
    processing: Literal["raw", "compat"] | None = None
    extra: dict[str, Any] = {}


class SavedSource(Part):
    """What an SAE was converted from."""

    reference: str | None = None
    format: str = ""


class SavedSAE(Part):
    """``darkmatter.json``; ``tensors`` are the names in the other file: what an SAE has not is not there."""

    format: Literal["darkmatter sae"]
    version: Literal[1]
    d_in: int = Field(ge=1)
    d_out: int = Field(ge=1)
    d_sae: int = Field(ge=1)
    tensors: list[str]
    activation: SavedActivation
    normalisation: SavedNormalisation
    compute_dtype: Literal["float32", "float64", "bfloat16", "float16"]
    head_shape: list[int] | None = Field(min_length=2, max_length=2)
    hook_in: str | None
    hook_out: str | None
    metadata: SavedMetadata
    assumptions: list[SavedAssumption]
    overrides: Overrides
    source: SavedSource
    fingerprint: str = Field(description="of the SAE in these files, by the writer's definition")
