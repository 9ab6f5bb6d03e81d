"""What a file says of its SAE, apart from what its reader took because the file does not say it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from darkmatter.sae.base import SAE, SAEMetadata

FIELDS = {
    "model": "model",
    "context_length": "context_length",
    "bos": "prepend_bos",
    "processing": "processing",
}
"""Overrides that speak of the training, and the fields of ``SAEMetadata`` that hold their values."""


def assumed(sae: SAE) -> frozenset[str]:
    """The overrides about which an assumption is open: no file says it, and nobody has stated it."""
    about = {getattr(each, "about", None) for each in sae.assumptions}
    return frozenset(name for name in about if name is not None) - set(sae.overrides.given())


def recorded(metadata: SAEMetadata, open_about: Collection[str]) -> SAEMetadata:
    """The metadata without values that are only assumed: what decisions may follow."""
    unknown: dict[str, Any] = {field: None for name, field in FIELDS.items() if name in open_about}
    return replace(metadata, **unknown)
