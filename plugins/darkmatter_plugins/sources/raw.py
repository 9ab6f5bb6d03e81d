"""Raw activations from a file, as a source."""

from __future__ import annotations

from pathlib import Path

from darkmatter.raw_activations import RawActivations, open_activations_file


def open_source(path: str | Path) -> RawActivations:
    """The activations in a safetensors file."""
    return open_activations_file(Path(path).expanduser())
