"""darkmatter: measure what a sparse autoencoder misses.

The public names below are imported when they are first used, so that ``import darkmatter`` (and the
command's ``--help``) stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darkmatter.python_api import evaluate as evaluate
    from darkmatter.python_api import run as run
    from darkmatter.results.collection import ResultSet as ResultSet
    from darkmatter.sae.base import SAE as SAE
    from darkmatter.sae.load import load_sae as load_sae
    from darkmatter.sae.overrides import Overrides as Overrides
    from darkmatter.sae.saved import save_sae as save_sae

__version__ = "0.1.0"

_HOMES = {
    "SAE": "darkmatter.sae.base",
    "load_sae": "darkmatter.sae.load",
    "save_sae": "darkmatter.sae.saved",
    "evaluate": "darkmatter.python_api",
    "run": "darkmatter.python_api",
    "Overrides": "darkmatter.sae.overrides",
    "ResultSet": "darkmatter.results.collection",
}

__all__ = ["SAE", "Overrides", "ResultSet", "__version__", "evaluate", "load_sae", "run", "save_sae"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module 'darkmatter' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, which completion in a notebook shows before they are imported."""
    return sorted(__all__)
