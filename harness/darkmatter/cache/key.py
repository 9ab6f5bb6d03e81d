"""The cache key: a hash over everything that shapes the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from darkmatter.cache.spec import ActivationRequest, ModelSpec, TextSpec
from darkmatter.files.atomic import content_hash
from darkmatter.models import ModelIdentity
from darkmatter.text.packing import PACKING_VERSION

FORMAT_VERSION = 1
"""Layout of a cache entry; a bump leaves older entries behind under their own keys."""


def key_parts(request: ActivationRequest, identity: ModelIdentity, text_hash: str) -> dict[str, Any]:
    """Everything that shapes the numbers of an entry, JSON-able.

    Names of models and paths of texts are absent on purpose: the same bytes elsewhere are the same
    activations. Hook points are absent too: they choose what is kept of a forward pass, not what it
    computes, so each has its own shards below one key and a new one reuses the others. Libraries
    count with major.minor versions: their modelling code makes the numbers.
    """
    model = request.model.model_dump(mode="json", exclude={"name", "revision", "device", "provider"})
    text = request.text.model_dump(mode="json", exclude={"path", "field"})
    return {
        "format": FORMAT_VERSION,
        "packing_version": PACKING_VERSION,
        "identity": asdict(identity),
        "model": model,
        "text": text,
        "text_hash": text_hash,
    }


def recorded_keys(description: Mapping[str, Any]) -> list[str]:
    """The keys that a result's account of its activations may stand for.

    One for every version of packing and layout there has been, since the account names neither; empty
    where it is no such account.
    """
    try:
        model, text, provider = (dict(description[name]) for name in ("model", "text", "provider"))
        spec = ModelSpec.model_validate({name: model[name] for name in ("name", "dtype", "processing")})
        fields = {name: text[name] for name in TextSpec.model_fields}
        asked = TextSpec.model_validate(fields | {"contexts": text["contexts_requested"]})
        identity = ModelIdentity(
            model["fingerprint"],
            description["tokenizer"],
            model["device"],
            provider["name"],
            provider["version"],
            dict(description["libraries"]),
        )
        parts = key_parts(ActivationRequest(spec, asked, ()), identity, text["hash"])
    except (KeyError, TypeError, ValueError):
        return []
    return [
        entry_key({**parts, "format": layout, "packing_version": packing})
        for layout in range(1, FORMAT_VERSION + 1)
        for packing in range(1, PACKING_VERSION + 1)
    ]


def entry_key(parts: dict[str, Any]) -> str:
    """The key of a cache entry: 32 hex digits."""
    return content_hash("darkmatter cache entry", parts)
