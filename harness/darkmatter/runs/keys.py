"""Keys of results, and where results come from."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from darkmatter.files.atomic import content_hash
from darkmatter.plugins import Owned
from darkmatter.results.schema import SCHEMA_VERSION

_PACKAGES = ("sae-darkmatter", "torch", "numpy", "scipy", "transformer_lens", "transformers", "safetensors")


def result_key(
    evaluator: Owned,
    config: dict[str, Any],
    fingerprint: str,
    hooks: tuple[str, str],
    cache_key: str,
    analysis: dict[str, Any],
    dtype: str | None = None,
    beside: Sequence[Sequence[str]] = (),
    uses: Sequence[dict[str, Any]] = (),
) -> str:
    """Hash of everything that shapes a result's numbers.

    ``dtype`` is the SAE's own where it has one; ``beside`` tells of other SAEs that shape them,
    ``uses`` of the plugins that its options name.
    """
    own = {} if dtype is None else {"sae_dtype": dtype}
    others: dict[str, Any] = {"beside": [list(each) for each in beside]} if beside else {}
    if uses:
        others["uses"] = [dict(each) for each in uses]
    return content_hash(
        {
            **own,
            "schema": SCHEMA_VERSION,
            "evaluator": evaluator.qualified,
            "version": evaluator.descriptor.version,
            "config": config,
            "sae": fingerprint,
            "hooks": list(hooks),
            "cache": cache_key,
            "analysis": analysis,
            **others,
        }
    )


def provenance(used: Iterable[Owned]) -> dict[str, Any]:
    """Versions, plugins and machine class behind a result."""
    distributions = {owned.distribution: owned.version for owned in used}
    return {
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "plugins": dict(sorted(distributions.items())),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **source_revision(),
    }


@functools.cache
def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def source_revision() -> dict[str, Any]:
    """Commit and dirty flag of the checkout this package runs from; nothing for an installed wheel."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists() or not (root / "harness" / "darkmatter").is_dir():
        return {}
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {} if commit is None else {"commit": commit, "dirty": bool(changed)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(root), *arguments],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
