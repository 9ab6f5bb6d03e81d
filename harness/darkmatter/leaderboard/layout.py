"""Where everything on a leaderboard lies.

``<owner>__<SAE>/<content>/<evaluator>@<version>/<key>.json``, its sidecar beside it, and one
``model_card.yaml`` per SAE. A family of SAEs is its owner's like an SAE. Controls follow from the data
alone and belong to nobody: ``controls/<name>/...``, shared by all who were measured there.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from darkmatter.errors import UsageError
from darkmatter.files.atomic import content_hash, slug
from darkmatter.results.schema import Result
from darkmatter.results.store import SIDECAR

CARD = "model_card.yaml"
CONTROLS = "controls"
README = "README.md"
SITE = "site/index.html"
BUILT = (README, SITE)
"""What ``darkmatter leaderboard build`` writes."""

MAX_FILE_BYTES = 10 << 20
MAX_FILES = 200_000
MAX_DEPTH = 4
"""Folders above a result, counted from the leaderboard's."""

_OWNER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){0,38}")
_HEX = re.compile(r"(?:[a-z]+:)?([0-9a-f]{32})")
_RESULT = re.compile(
    rf"(?P<who>[^/]+__[^/]+|{CONTROLS}/[^/]+)/[0-9a-f]{{12}}/[^/]+@\d+/[0-9a-f]{{32}}"
    rf"(?P<end>\.json|{re.escape(SIDECAR)})"
)
_CARD = re.compile(rf"[^/]+__[^/]+/{re.escape(CARD)}")


def check_owner(name: str) -> str:
    """The name of an owner as folders have it: lower case, letters, digits and single hyphens."""
    lowered = name.lower()
    if _OWNER.fullmatch(lowered):
        return lowered
    message = (
        f"{name!r} cannot be an owner: expected the name of an account or a group, of at most 39 letters, "
        "digits and single hyphens."
    )
    raise UsageError(message)


def is_result(path: str) -> bool:
    """Whether a path, relative to the leaderboard, has the shape of a result's."""
    found = _RESULT.fullmatch(path)
    return found is not None and found["end"] == ".json"


def is_sidecar(path: str) -> bool:
    """The same for a sidecar."""
    found = _RESULT.fullmatch(path)
    return found is not None and found["end"] == SIDECAR


def is_card(path: str) -> bool:
    """The same for a model card."""
    return _CARD.fullmatch(path) is not None


def sidecar_of(path: str) -> str:
    """Where the sidecar of a result lies."""
    return path.removesuffix(".json") + SIDECAR


def owner_of(path: str) -> str | None:
    """Whose a file is by its folder; None for controls. No owner's name holds an underscore."""
    top = path.partition("/")[0]
    return None if top == CONTROLS else top.partition("__")[0]


def folder_of(owner: str | None, sae: str) -> str:
    """The folder of an SAE, a family or (without an owner) a control."""
    return f"{CONTROLS}/{slug(sae)}" if owner is None else slug(f"{owner}__{sae}")


def content_of(fingerprint: str) -> str:
    """Twelve digits that stand for what an SAE computes: those of its hash where it is one."""
    found = _HEX.fullmatch(fingerprint)
    return (found[1] if found else content_hash(fingerprint))[:12]


def place_of(result: Result, owner: str | None) -> str:
    """Where a result belongs, relative to the leaderboard."""
    evaluator = f"{slug(result.evaluator.name)}@{result.evaluator.version}"
    folder = folder_of(None if result.sae.is_control else owner, result.sae.name)
    parts = (folder, content_of(result.sae.fingerprint), evaluator, f"{result.key}.json")
    return str(PurePosixPath(*parts))
