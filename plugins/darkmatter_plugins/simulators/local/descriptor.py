"""Options of the simulator ``local``; imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from darkmatter import api


class LocalConfig(api.Config):
    """Which model explains and predicts, and how much it is shown."""

    model: str = Field(min_length=1, description="folder of a causal language model in Hugging Face layout")
    device: str = Field("cpu", description="cpu, cuda, cuda:N, mps")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the weights")
    shown: int = Field(5, ge=1, description="top fragments that the model is shown to explain a latent")
    words: int = Field(24, ge=1, description="tokens of the longest explanation")

    @field_validator("model")
    @classmethod
    def _there(cls, value: str) -> str:
        """A folder that is missing is said before the run and not by every SAE of it."""
        from darkmatter_plugins.simulators.local.files import local_model

        try:
            local_model(value)
        except api.ItemError as error:
            raise ValueError(str(error)) from None
        return value


SIMULATOR = api.Simulator(
    "local",
    "A language model on this machine explains a latent and predicts its activations from log-probabilities",
    "darkmatter_plugins.simulators.local.run:make",
    config=LocalConfig,
    reaches=(api.Reach("files", option="model"),),
)
