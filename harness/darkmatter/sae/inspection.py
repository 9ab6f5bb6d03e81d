"""What a file is, who reads it and why, what is assumed: ``darkmatter inspect``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from darkmatter.errors import DarkmatterError, ItemError
from darkmatter.files import limits
from darkmatter.sae.assumption import described
from darkmatter.sae.detect import choose, detect, named
from darkmatter.sae.formula import formula
from darkmatter.sae.load import LoadOptions, as_reference, known_adapters, load_sae, open_view, read
from darkmatter.sae.overrides import Overrides

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from darkmatter.descriptors import SAEAdapter
    from darkmatter.files.view import FileView
    from darkmatter.references import Reference
    from darkmatter.sae.base import SAE
    from darkmatter.sae.detect import Claim

WEIGHT_SUFFIXES = (".safetensors", ".npz")


@dataclass(frozen=True)
class Inspection:
    """Everything that can be said of one reference; JSON-able through ``as_json``."""

    reference: str
    path: str | None = None
    index: int | None = None
    adapter: str | None = None
    claims: list[dict[str, str]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    tensors: dict[str, dict[str, Any]] = field(default_factory=dict)
    architecture: str | None = None
    hook_in: str | None = None
    hook_out: str | None = None
    d_in: int | None = None
    d_out: int | None = None
    d_sae: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    semantics: str | None = None
    no_reconstruction: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    assumptions: list[dict[str, str | None]] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields as plain containers; numbers that JSON cannot hold become strings."""
        plain: dict[str, Any] = _jsonable(asdict(self))
        return plain


def inspect_reference(
    reference: str | Path | Reference,
    *,
    adapter: str | None = None,
    adapters: Mapping[str, SAEAdapter] | None = None,
    overrides: Overrides | Mapping[str, Any] | None = None,
) -> Inspection:
    """Say what a reference points to; what goes wrong while loading is part of the answer.

    Raises:
        ItemError: there is nothing to look at.
        UsageError: there is no such override.
    """
    where, stated = as_reference(reference), Overrides.of(overrides)
    if where.kind == "python":
        return Inspection(reference=where.raw, **_describe(load_sae(where, overrides=stated)))
    view = open_view(where)
    known = known_adapters(adapters)
    claims = detect(view, known)
    files, tensors = _contents(view)
    found: dict[str, Any] = {
        "reference": where.raw,
        "path": str(view),
        "index": where.index,
        "claims": [_verdict(claim) for claim in claims],
        "files": files,
        "tensors": tensors,
    }
    try:
        chosen = named(view, known, adapter) or choose(view, claims)
        found["adapter"] = chosen.name
        view.opened.clear()
        found |= _describe(read(view, chosen, LoadOptions(overrides=stated)))
        found["files"] = [_with_use(entry, view.opened) for entry in files]
    except ItemError as error:
        found["error"] = str(error)
    return Inspection(**found)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _verdict(claim: Claim) -> dict[str, str]:
    verdict = "exact" if claim.exact else "likely" if claim.likely else "refused"
    return {"adapter": claim.adapter.name, "verdict": verdict, "reason": claim.verdict.reason}


def _contents(view: FileView) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """(files, tensors) by the headers; ``.pt`` files are followed without loading their numbers."""
    files: list[dict[str, Any]] = []
    tensors: dict[str, dict[str, Any]] = {}
    for name in view.names():
        entry: dict[str, Any] = {"name": name, "bytes": view.file(name).stat().st_size}
        if len(tensors) > limits.ENTRIES:
            files.append(entry | {"problem": f"not looked at, after more than {limits.ENTRIES} tensors."})
            continue
        try:
            header = view.header(name) if name.endswith(WEIGHT_SUFFIXES) else view.saved_header(name)
        except DarkmatterError as error:
            entry["problem"], header = str(error), None
        files.append(entry)
        for tensor, info in header.items() if header else ():
            tensors[f"{name}:{tensor}"] = {"shape": list(info.shape), "dtype": info.dtype}
    return files, tensors


def _with_use(entry: dict[str, Any], opened: Collection[str]) -> dict[str, Any]:
    """A file with whether this SAE was read from it; what it was read from has no problem."""
    used = entry["name"] in opened
    if used and "problem" in entry:
        entry = {**entry, "note": "holds objects, which are read and not listed"}
        del entry["problem"]
    return {**entry, "used": used}


def _describe(sae: SAE) -> dict[str, Any]:
    return {
        "architecture": sae.metadata.architecture,
        "hook_in": sae.hook_in,
        "hook_out": sae.hook_out,
        "d_in": sae.d_in,
        "d_out": sae.d_out,
        "d_sae": sae.d_sae,
        "settings": _settings(sae),
        "semantics": formula(sae),
        "no_reconstruction": sae.no_reconstruction,
        "metadata": asdict(sae.metadata),
        "assumptions": described(sae.assumptions),
        "overrides": sae.overrides.given(),
        "fingerprint": sae.fingerprint,
    }


def _settings(sae: SAE) -> dict[str, Any]:
    """What shapes the numbers beside the weights: activation, normalisation, heads, precision."""
    from darkmatter.sae.canonical import CanonicalSAE

    if not isinstance(sae, CanonicalSAE):
        return {}
    activation = sae.activation.settings()
    return {
        "activation": activation.pop("name"),
        **activation,
        **_ranges(sae.activation),
        "normalisation": sae.normalisation.settings(),
        "weights": sorted(sae.tensors()),
        "head_shape": None if sae.head_shape is None else list(sae.head_shape),
        "dtype": str(sae.dtype).removeprefix("torch."),
    }


def _ranges(activation: Any) -> dict[str, Any]:
    """The span of each of an activation's tensors, such as its thresholds."""
    found = {}
    for name, tensor in activation.tensors().items():
        low, high = float(tensor.min()), float(tensor.max())
        found[name] = low if low == high else {"from": low, "to": high}
    return found
