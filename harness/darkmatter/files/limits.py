"""How much a stranger's file may ask for before anything is allocated.

The numbers are far above every published SAE and far below what hurts: the largest public one
(Gemma Scope 9B, a million latents) is 29 GB of float32 in five tensors.
"""

from __future__ import annotations

import os

JSON_BYTES = 16 << 20
"""Configuration files; a run's config with its whole history is a few hundred kilobytes."""

YAML_BYTES = 1 << 20
"""YAML parses a hundred times slower than JSON."""

NESTING = 64
"""Levels of lists and objects in JSON and YAML."""

HEADER_BYTES = 64 << 20
"""The JSON header of a safetensors file."""

PICKLE_BYTES = 16 << 20
"""The pickle stream of a ``.pt`` file: names, shapes and settings, without the numbers."""

PICKLE_STEPS = 2_000_000
"""Opcodes that the reader follows in one pickle stream."""

PICKLE_COPIES = 2_000_000
"""Entries that may be copied from one container to another while a file's pickles are read.

A stream can name one large container as often as it likes; an honest one copies each entry once.
"""

NAME = 512
"""Characters in the name of a tensor, of a class, of an SAE, of an evaluator or of a metric."""

ENTRIES = 100_000
"""Tensors in a file, or members of an archive."""

RANK = 4
"""Dimensions of a tensor; a cross-layer decoder has three."""

INFLATION = 200
"""Bytes that one stored byte may become; weights barely compress, a bomb reaches a thousand."""

INFLATION_FLOOR = 64 << 20
"""Below this size an archive may inflate as it likes."""


def physical_memory() -> int | None:
    """Bytes of memory in this machine, where the system says."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def human(size: int) -> str:
    """A byte count for a message: ``"29.1 GB"``."""
    number = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.4g} {unit}"
        number /= 1000
    return f"{number:.4g} TB"
