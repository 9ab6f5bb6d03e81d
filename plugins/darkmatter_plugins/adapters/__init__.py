"""Readers of SAE files: every module here without a leading underscore is one, with an ``ADAPTER``.

A new format is one module: a ``detect`` that looks at names and headers, a ``load`` that hands
tensors to ``CanonicalSAE``, and the descriptor. Importing this package imports no torch.
"""

import importlib
import pkgutil

from darkmatter import api


def _found() -> tuple[api.SAEAdapter, ...]:
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    return tuple(importlib.import_module(f"{__name__}.{name}").ADAPTER for name in names)


ADAPTERS = _found()
