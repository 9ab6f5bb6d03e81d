"""SAEs made by a user's function: ``python:package.module:function``."""

from __future__ import annotations

import importlib
import os
import site
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkmatter.errors import DarkmatterError, ItemError

if TYPE_CHECKING:
    from darkmatter.sae.base import SAE


def call_reference(target: str) -> SAE:
    """Import ``package.module:function``, call it, and take what it returns as an SAE."""
    module_name, _, function_name = target.partition(":")
    try:
        with without_working_directory():
            module = importlib.import_module(module_name)
    except ImportError as error:
        message = (
            f"python:{target}: cannot be imported: {error}. Packages are looked for where they are "
            "installed, never in the working directory; install yours with `pip install -e .`."
        )
        raise ItemError(message) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        message = f"python:{target}: {module_name} has no function {function_name!r}."
        raise ItemError(message)
    return _as_sae(function, target)


def _as_sae(function: Callable[[], Any], target: str) -> SAE:
    """Call the user's function; whatever goes wrong in it is this item's failure."""
    from darkmatter.sae.duck import from_object

    try:
        return from_object(function())
    except DarkmatterError:
        raise
    except Exception as error:
        message = f"python:{target}: failed with {type(error).__name__}: {error}."
        raise ItemError(message) from error


@contextmanager
def without_working_directory() -> Iterator[None]:
    """Import only what is installed.

    A folder of downloaded SAEs may hold a ``numpy.py``; to stand in it must not mean to run it.
    """
    here = os.path.realpath(os.getcwd())  # noqa: PTH109 - compared with entries of sys.path
    saved = list(sys.path)
    if here not in _installed_paths():
        sys.path[:] = [entry for entry in saved if entry and os.path.realpath(entry) != here]
    try:
        yield
    finally:
        sys.path[:] = saved


def _installed_paths() -> set[str]:
    """Folders that an editable installation put on the path."""
    found: set[str] = set()
    for folder in (*site.getsitepackages(), site.getusersitepackages()):
        for file in Path(folder).glob("*.pth"):
            lines = file.read_text(errors="replace").splitlines()
            found |= {os.path.realpath(line) for line in lines if line and not line.startswith("import")}
    return found
