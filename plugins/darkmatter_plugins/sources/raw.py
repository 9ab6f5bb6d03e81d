"""Raw activations from a file, as a source."""

from __future__ import annotations

from pathlib import Path

from darkmatter import api, sources


def open_source(path: str | Path) -> api.ActivationStore:
    """The activations in a safetensors file."""
    return sources.open_activations_file(Path(path).expanduser())
