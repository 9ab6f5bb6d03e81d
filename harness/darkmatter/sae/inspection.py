"""What a file is, who reads it and why, what is assumed: ``darkmatter inspect``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from darkmatter.errors import DarkmatterError, SAEFileError
from darkmatter.files import limits
from darkmatter.sae.detect import choose, detect
from darkmatter.sae.load import LoadOptions, as_reference, known_adapters, load_sae, open_view, read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from darkmatter.descriptors import SAEAdapter
    from darkmatter.files.view import FileView
    from darkmatter.references import Reference
    from darkmatter.sae.base import SAE
    from darkmatter.sae.detect import Claim

WEIGHT_SUFFIXES = (".safetensors", ".npz")

ACTIVATIONS = {
    "Relu": "relu(h)",
    "JumpRelu": "relu(h) · [h > threshold]",
    "Threshold": "h · [h > threshold]",
    "TopK": "the {k} largest of relu(h)",
    "AbsTopK": "the {k} entries of h with the largest |h|",
    "GroupMax": "the largest of relu(h) in each of {k} groups",
    "Gated": "[h + b_gate > 0] · relu(h · exp(r_mag) + b_mag)",
}
NORMALISERS = {
    "none": ("x", "{}"),
    "layer_norm": ("(x - mean(x)) / (std(x) + {eps:g})", "({}) · std(x) + mean(x)"),
    "constant_norm": ("x · √d_in / ‖x‖", "({}) · ‖x‖ / √d_in"),
    "scale": ("x · {factor:g}", "({}) / {factor:g}"),
}


@dataclass(frozen=True)
class Inspection:
    """Everything that can be said of one reference; JSON-able through ``as_json``."""

    reference: str
    path: str | None = None
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
    metadata: dict[str, Any] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)
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
) -> Inspection:
    """Say what a reference points to; what goes wrong while loading is part of the answer.

    Raises:
        ItemError: there is nothing to look at.
    """
    where = as_reference(reference)
    if where.kind == "python":
        return Inspection(reference=where.raw, **_describe(load_sae(where)))
    view = open_view(where)
    claims = detect(view, known_adapters(adapters))
    files, tensors = _contents(view)
    found: dict[str, Any] = {
        "reference": where.raw,
        "path": str(view),
        "claims": [_verdict(claim) for claim in claims],
        "files": files,
        "tensors": tensors,
    }
    try:
        chosen = choose(view, claims, adapter)
        found["adapter"] = chosen.name
        found |= _describe(read(view, chosen, LoadOptions()))
    except SAEFileError as error:
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


def _describe(sae: SAE) -> dict[str, Any]:
    activation = getattr(sae, "activation", None)
    return {
        "architecture": sae.metadata.architecture,
        "hook_in": sae.hook_in,
        "hook_out": sae.hook_out,
        "d_in": sae.d_in,
        "d_out": sae.d_out,
        "d_sae": sae.d_sae,
        "settings": activation.settings() | _ranges(activation) if activation is not None else {},
        "semantics": formula(sae),
        "metadata": asdict(sae.metadata),
        "assumptions": list(sae.assumptions),
        "fingerprint": sae.fingerprint,
    }


def _ranges(activation: Any) -> dict[str, Any]:
    """The span of each of an activation's tensors, such as its thresholds."""
    found = {}
    for name, tensor in activation.tensors().items():
        low, high = float(tensor.min()), float(tensor.max())
        found[name] = low if low == high else [low, high]
    return found


def formula(sae: SAE) -> str:
    """What an SAE computes, as one line."""
    activation = getattr(sae, "activation", None)
    if activation is None:
        return str(getattr(sae, "formula", "f = encode(x); x̂ = decode(f)"))
    normalisation: Any = getattr(sae, "normalisation", None)
    settings = {"eps": getattr(normalisation, "eps", 0), "factor": getattr(normalisation, "factor", 1)}
    inward, outward = NORMALISERS[getattr(normalisation, "kind", "none")]
    outward = outward if getattr(normalisation, "invert", True) else "{}"
    subtract = getattr(sae, "subtract", None) is not None
    x = inward.format(**settings) + (" - b_in" if subtract else "")
    h = "x' W_enc" + (" + b_enc" if getattr(sae, "b_enc", None) is not None else "")
    scaled = getattr(sae, "code_scale", None) is not None
    f = ACTIVATIONS.get(type(activation).__name__, type(activation).__name__).format(**activation.settings())
    y = ("(f / s) W_dec" if scaled else "f W_dec") + (
        " + b_dec" if getattr(sae, "b_dec", None) is not None else ""
    )
    y = outward.replace("{}", y).format(**settings)
    steps = [
        f"x' = {x}",
        f"h = ({h}) · s" if scaled else f"h = {h}",
        f"f = {f}" + (", chosen by h · gate_scale" if getattr(sae, "gate_scale", None) is not None else ""),
    ]
    if sae.reconstructs:
        steps.append(f"x̂ = {y}" + (" + x W_skip" if getattr(sae, "W_skip", None) is not None else ""))
    return "; ".join(steps)
