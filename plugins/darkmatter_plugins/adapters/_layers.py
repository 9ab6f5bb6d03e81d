"""Formats with one file per layer: which layer is meant, and what a cross-layer one cannot give."""

from __future__ import annotations

import re

from darkmatter import api


def layer_files(view: api.FileView, pattern: re.Pattern[str]) -> dict[int, str]:
    """File names by layer, in order; the pattern's last group is the layer."""
    found = [match for name in view.names() if (match := pattern.fullmatch(name))]
    return {int(match[match.lastindex or 0]): match[0] for match in sorted(found, key=_layer)}


def _layer(match: re.Match[str]) -> int:
    return int(match[match.lastindex or 0])


def chosen_layer(view: api.FileView, pattern: re.Pattern[str]) -> tuple[int, str]:
    """The layer and file that a reference means: a file itself, ``FOLDER#LAYER``, or the only one there."""
    files = layer_files(view, pattern)
    wanted = view.index if view.path.is_dir() else None
    if wanted is None and len(files) == 1:
        return next(iter(files.items()))
    if wanted in files:
        return wanted, files[wanted]
    problem = "holds several layers" if wanted is None else f"has no layer {wanted}"
    message = (
        f"{view}: {problem}; one layer is one SAE. Give a file or a number, {view.root}#LAYER. "
        f"Layers there: {', '.join(map(str, files))}."
    )
    raise api.SAEFileError(message)


def codes_alone(layer: int) -> str:
    """Why one layer of a cross-layer transcoder has codes and no reconstruction."""
    return (
        f"It is layer {layer} of a cross-layer transcoder, which gives codes and no reconstruction: its "
        "latents write into several layers, and the output of a layer is the sum of what all layers up to it "
        "write there."
    )
