"""``darkmatter doctor``: what this installation is made of, and what may be wrong with it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import click

from darkmatter import __version__
from darkmatter.cli.output import readable_size, say, say_columns, say_json

PACKAGES = (
    "torch",
    "transformer_lens",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "pydantic",
    "pluggy",
    "click",
    "ray",
    "datasets",
    "huggingface_hub",
)
_LOW_DISK = 5 << 30


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def doctor(*, as_json: bool) -> int:
    """Show versions, hardware, cache and plugins, and what looks wrong.

    Exit status 1 says that something needs attention.
    """
    found = {
        "darkmatter": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "hardware": _hardware(),
        "torch": _torch(),
        "cache": _cache(),
        "plugins": _plugins(),
    }
    found["advice"] = list(_advice(found))
    if as_json:
        say_json(found)
    else:
        _show(found)
    return 1 if found["advice"] else 0


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _hardware() -> dict[str, Any]:
    """Cores that this process may use, and memory."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": usable, "memory": _sysconf("SC_PHYS_PAGES"), "memory_free": _sysconf("SC_AVPHYS_PAGES")}


def _sysconf(pages: str) -> int | None:
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _torch() -> dict[str, Any]:
    """What torch computes on; an import error is an answer too."""
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken install may raise anything
        return {"error": f"{type(error).__name__}: {error}"}
    cuda = torch.cuda.is_available()
    return {
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
    }


def _cache() -> dict[str, Any]:
    from darkmatter.cache.root import cache_root

    folder = cache_root()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return {
        "folder": str(folder),
        "exists": folder.is_dir(),
        "writable": os.access(existing, os.W_OK),
        "disk_free": shutil.disk_usage(existing).free,
    }


def _plugins() -> dict[str, Any]:
    from darkmatter.plugins import host

    found = host()
    return {
        "loaded": [plugin.name for plugin in found.loaded],
        "failed": {failure.name: failure.reason for failure in found.failures},
    }


def _advice(found: dict[str, Any]) -> Iterator[str]:
    """What looks wrong, and what to do about it."""
    if not found["plugins"]["loaded"]:
        yield (
            "No plugin is in use, not even the built-in ones: the package's entry points are missing. "
            "Install it with `pip install .`, do not run it from a bare checkout."
        )
    for name, reason in found["plugins"]["failed"].items():
        yield f"Plugin {name!r} failed ({reason}). `darkmatter plugins` shows where; -p no:{name} blocks it."
    if "error" in found["torch"]:
        yield f"torch cannot be imported ({found['torch']['error']}). Install it again: `pip install torch`."
    for name in ("torch", "transformer_lens", "transformers"):
        if found["packages"][name] is None:
            yield f"{name} is not installed. `pip install -c constraints.txt .` installs tested versions."
    cache = found["cache"]
    if not cache["writable"]:
        yield f"The cache {cache['folder']} cannot be written; set DARKMATTER_CACHE to a folder that can."
    if cache["disk_free"] < _LOW_DISK:
        free = readable_size(cache["disk_free"])
        yield f"Only {free} are free for the cache {cache['folder']}; DARKMATTER_CACHE moves it."
    try:
        import darkmatter_plugins  # noqa: F401 - only whether it is there
    except Exception as error:  # noqa: BLE001 - a broken install may raise anything
        yield f"The built-in plugins cannot be imported ({error})."


def _show(found: dict[str, Any]) -> None:
    hardware, cache, torch = found["hardware"], found["cache"], found["torch"]
    memory = hardware["memory"]
    say_columns(
        [
            ("darkmatter", found["darkmatter"]),
            ("python", found["python"]),
            ("system", found["system"]),
            ("cores", str(hardware["cores"])),
            ("memory", readable_size(memory) if memory else "unknown"),
            ("devices", ", ".join(torch.get("devices", [])) or "CPU only"),
            ("cache", f"{cache['folder']} ({readable_size(cache['disk_free'])} free)"),
            ("plugins", ", ".join(found["plugins"]["loaded"]) or "none"),
        ],
        "",
    )
    say("\npackages")
    say_columns([(name, version or "not installed") for name, version in found["packages"].items()])
    say("\nattention" if found["advice"] else "\nNothing looks wrong.")
    for line in found["advice"]:
        say(f"  {line}")
