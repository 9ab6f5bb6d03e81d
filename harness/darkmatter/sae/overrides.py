"""What a user knows of an SAE and its file does not say, or says wrongly."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from darkmatter.descriptors import Config

Orientation = Literal["d_in,d_sae", "d_sae,d_in"]


class Overrides(Config):
    """Statements about one SAE; each one replaces what the file says or what would be assumed."""

    hook: str | None = Field(None, description="hook point that it reads (and predicts)")
    hook_out: str | None = Field(None, description="hook point that it predicts, for transcoders")
    model: str | None = Field(None, description="the language model it was trained on")
    context_length: int | None = Field(None, ge=2, description="context length it was trained with")
    bos: bool | None = Field(None, description="whether its training contexts began with BOS")
    dtype: Literal["float32", "float64", "bfloat16", "float16"] | None = Field(
        None, description="arithmetic in which it encodes, instead of the run's"
    )
    norm_factor: float | None = Field(
        None, description="activations are multiplied by it before encoding, reconstructions divided by it"
    )
    orientation: Orientation | None = Field(
        None, description="how W_enc is stored, where its shape does not tell"
    )
    k: int | None = Field(None, ge=1, description="active latents per token, where the file does not say")

    def given(self) -> dict[str, object]:
        """Only what is stated."""
        return self.model_dump(exclude_none=True)


FOR_ADAPTERS = ("orientation", "k")
"""Overrides that only an adapter can follow; the core follows the others."""
