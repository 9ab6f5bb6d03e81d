"""SAEs made by a user's function, and objects that look like an SAE."""

from __future__ import annotations

import importlib
import os
import site
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkmatter.errors import ItemError
from darkmatter.sae.base import SAE

if TYPE_CHECKING:
    from torch import Tensor


def call_reference(target: str) -> SAE:
    """Import ``package.module:function``, call it, and take what it returns as an SAE."""
    module_name, _, function_name = target.partition(":")
    try:
        with without_working_directory():
            module = importlib.import_module(module_name)
    except ImportError as error:
        message = (
            f"python:{target}: cannot be imported: {error}. Packages are looked for where they are installed, "
            "never in the working directory; install yours with `pip install -e .`."
        )
        raise ItemError(message) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        message = f"python:{target}: {module_name} has no function {function_name!r}."
        raise ItemError(message)
    return as_sae(function(), f"python:{target}")


@contextmanager
def without_working_directory() -> Iterator[None]:
    """Import only what is installed.

    A folder of downloaded SAEs may hold a ``numpy.py``; to stand in it must not mean to run it.
    """
    here = os.path.realpath(os.getcwd())  # noqa: PTH109
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


def as_sae(thing: Any, where: str) -> SAE:
    """An SAE as it is; any object with encode and decode (SAELens, dictionary_learning) wrapped."""
    if isinstance(thing, SAE):
        return thing
    encode, decode = getattr(thing, "encode", None), getattr(thing, "decode", None)
    if not (callable(encode) and callable(decode)):
        message = f"{where}: is a {type(thing).__name__}; expected an SAE or an object with encode and decode."
        raise ItemError(message)
    d_in, d_sae, d_out = _sizes(thing, where)
    return SAE.from_functions(encode, decode, d_in=d_in, d_sae=d_sae, d_out=d_out, hook=_hook(thing))


def _sizes(thing: Any, where: str) -> tuple[int, int, int]:
    """(d_in, d_sae, d_out) from attributes, the configuration or the decoder matrix."""
    places = (thing, getattr(thing, "cfg", None))
    d_in = _first(places, ("d_in", "activation_dim"))
    d_sae = _first(places, ("d_sae", "dict_size", "num_latents"))
    if d_in is None or d_sae is None:
        message = f"{where}: does not say its sizes; give it the integer attributes d_in and d_sae."
        raise ItemError(message)
    decoder: Tensor | None = getattr(thing, "W_dec", None)
    rows = decoder is not None and getattr(decoder, "ndim", 0) == 2 and decoder.shape[0] == d_sae
    d_out = _first(places, ("d_out",)) or (int(decoder.shape[1]) if rows and decoder is not None else d_in)
    return d_in, d_sae, d_out


def _first(places: tuple[Any, ...], names: tuple[str, ...]) -> int | None:
    values = (getattr(place, name, None) for place in places for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), None)


def _hook(thing: Any) -> str | None:
    cfg = getattr(thing, "cfg", None)
    for place in (thing, cfg, getattr(cfg, "metadata", None)):
        hook = getattr(place, "hook_name", None)
        if isinstance(hook, str):
            return hook
    return None
