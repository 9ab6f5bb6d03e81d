"""Which rows count, how they are split, and with what arithmetic: part of every result's key."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from darkmatter.descriptors import Config


class Analysis(Config):
    """The ``analysis`` part of a suite; the defaults are those of design.md §3."""

    split: Literal["context", "token"] = Field(
        "context",
        description="hold out whole contexts (default), or single tokens as the authors' code does",
    )
    skip_first: int | None = Field(
        None, ge=0, description="positions left out at the start of a context (default: length / 16)"
    )
    skip_last: int | None = Field(
        None, ge=0, description="positions left out at its end (default: 1, which has no loss)"
    )
    seed: int = Field(0, ge=0, description="seed of the split, of intervals and of baselines")
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = Field(
        "float32", description="arithmetic in which SAEs encode; statistics are float64 always"
    )
    device: str = Field("cpu", description="where SAEs encode: cpu, cuda, cuda:1, ...")
    chunk_rows: int = Field(2048, ge=1, description="rows encoded at a time")

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if value != "cpu" and value not in (here := devices()):
            message = f"this machine has no such device; it has {', '.join(here)}"
            raise ValueError(message)
        return value

    def resolved(self, default_first: int, default_last: int) -> Analysis:
        """The same with the store's defaults written out."""
        first = default_first if self.skip_first is None else self.skip_first
        last = default_last if self.skip_last is None else self.skip_last
        return self.model_copy(update={"skip_first": first, "skip_last": last})

    def record(self) -> dict[str, Any]:
        """What results keep, and what is in their key.

        The device's class, not its number, since equal devices agree. TF32 is off during every run.
        """
        return {**self.model_dump(mode="json"), "device": self.device.partition(":")[0], "tf32": False}


def devices() -> list[str]:
    """The devices of this machine on which SAEs can encode, as one names them."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found
