"""What every library's golden samples share: seeded inputs, random weights, and the writer."""

from __future__ import annotations

import json
import math
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

D_IN, D_SAE = 12, 24
"""Sizes of most samples."""

N_ROWS = 32
MAX_BYTES = 24_000

ADAPTERS = {
    "sae_lens": "saelens",
    "sae_lens_6_54": "saelens",
    "sae_lens_legacy": "saelens",
    "hook_z_attention": "hook_z",
    "hoagyc": "learned_dicts",
    "per_layer_transcoder": "circuit_tracer",
}
"""Which adapter reads a folder of samples; elsewhere the folder has the adapter's name."""

Encode = Callable[[Tensor], Tensor]
Build = Callable[[Path, str], None]
"""Writes one sample: (where samples lie, its name)."""


@dataclass
class Golden:
    """One sample: what the library computed, and what its files record.

    ``reconstruction`` is None for weights that give codes alone; ``hook_in`` is the place where
    the SAE really reads, where ``hook_name``, the library's word for it, is another.
    """

    name: str
    architecture: str
    class_name: str
    path: str
    d_in: int
    d_sae: int
    x: Tensor
    codes: Tensor
    reconstruction: Tensor | None
    hook_name: str | None = None
    hook_in: str | None = None
    notes: list[str] = field(default_factory=list)
    recorded: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Tensor] = field(default_factory=dict)
    written_by: Literal["library", "hand"] = "library"
    """Who wrote the files: "hand" also where the library wrote them and a field was edited."""
    evaluated_with: str = "the library's own loader, encode and forward"
    atol: float = 1e-5
    dense: bool = False  # whether every latent is always active, as in a rotation


def generator(name: str) -> torch.Generator:
    """Seed by the sample's name, so that adding a sample changes no other."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def randn(gen: torch.Generator, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=gen) * scale


def uniform(gen: torch.Generator, *shape: int, low: float, high: float) -> Tensor:
    return torch.rand(*shape, generator=gen) * (high - low) + low


def affine_weights(
    gen: torch.Generator, d_in: int, d_sae: int, d_out: int | None = None
) -> dict[str, Tensor]:
    """Encoder, decoder and biases in the SAELens orientation.

    Decoder rows have norms between 0.3 and 1.8, so that anything that rescales by
    them shows; no bias is zero; encoder and decoder are unrelated.
    """
    d_out = d_in if d_out is None else d_out
    rows = randn(gen, d_sae, d_out)
    norms = uniform(gen, d_sae, 1, low=0.3, high=1.8)
    return {
        "W_enc": randn(gen, d_in, d_sae, scale=1.0 / math.sqrt(d_in)),
        "b_enc": randn(gen, d_sae, scale=0.4) - 0.25,
        "W_dec": rows / rows.norm(dim=-1, keepdim=True) * norms,
        "b_dec": randn(gen, d_out, scale=0.5),
    }


def candidate_inputs(gen: torch.Generator, d_in: int, n: int) -> Tensor:
    """Inputs with a mean that is not zero and norms over a factor of about seven."""
    mean = randn(gen, d_in, scale=0.7) + 0.3
    scale = torch.exp(uniform(gen, n, 1, low=-1.0, high=1.0))
    return (mean + randn(gen, n, d_in)) * scale


def stable_inputs(name: str, shape: tuple[int, ...], encode: Encode, *, n: int = N_ROWS) -> Tensor:
    """``n`` items of ``shape`` whose active latents survive a relative noise of 1e-4.

    An item near a threshold or a top-k tie would make a correct reader fail on another
    machine's rounding. ``shape`` is (d_in,), (heads, d_head) or (positions, d_in).
    """
    gen = generator(name + "/inputs")
    rows = math.prod(shape[:-1]) if len(shape) > 1 else 1
    width = shape[-1]
    x = candidate_inputs(gen, width, 8 * n * rows).reshape(8 * n, *shape)
    with torch.no_grad():
        support = encode(x) != 0
        stable = torch.ones(len(x), dtype=torch.bool)
        for _ in range(8):
            moved = x * (1 + 1e-4 * randn(gen, *x.shape))
            stable &= ((encode(moved) != 0) == support).flatten(1).all(-1)
    items = x[stable][:n]
    if len(items) < n:
        raise ValueError(f"{name}: only {len(items)} of {n} inputs without near-ties")
    return items.contiguous()


@torch.no_grad()
def set_parameters(module: nn.Module, values: dict[str, Tensor]) -> None:
    """Overwrite parameters and buffers by name, keeping their dtype; every name must exist."""
    known = dict(module.named_parameters()) | dict(module.named_buffers())
    for key, value in values.items():
        known[key].copy_(value.reshape(known[key].shape))


def sae_folder(out: Path, library: str, name: str) -> Path:
    """An empty ``<sample>/sae`` for the library to write into."""
    folder = out / library / name
    if folder.exists():
        shutil.rmtree(folder)
    (folder / "sae").mkdir(parents=True)
    return folder / "sae"


def write(out: Path, library: str, version: str, sample: Golden) -> None:
    """Write expected.safetensors and golden.json beside the saved SAE.

    ``version`` is the package that evaluated it, with its version ("sae-lens 6.51.1").
    """
    folder = out / library / sample.name
    if not (folder / sample.path.partition("#")[0]).exists():
        raise FileNotFoundError(f"{sample.name}: {sample.path} was not written")
    codes = sample.codes.detach()
    active = (codes != 0).reshape(-1, codes.shape[-1]).sum(-1)
    if not 0 < active.float().mean() < sample.d_sae + sample.dense:
        raise ValueError(f"{sample.name}: the codes are all zero or all active")
    tensors = {"x": sample.x, "codes": codes} | sample.extra
    if sample.reconstruction is not None:
        tensors["reconstruction"] = sample.reconstruction
    tensors = {key: value.detach() for key, value in tensors.items()}
    bad = [key for key, value in tensors.items() if not torch.isfinite(value).all()]
    if bad:
        raise ValueError(f"{sample.name}: not finite: {bad}")
    contiguous = {key: value.float().contiguous().clone() for key, value in tensors.items()}
    save_file(contiguous, folder / "expected.safetensors")
    document = {
        "library": library,
        "adapter": ADAPTERS.get(library, library),
        "version": version,
        "written_by": sample.written_by,
        "torch": torch.__version__.split("+")[0],
        "architecture": sample.architecture,
        "class": sample.class_name,
        "path": sample.path,
        "hook_name": sample.hook_name,
        "d_in": sample.d_in,
        "d_sae": sample.d_sae,
        "l0": round(float(active.float().mean()), 6),
        "l0_min": int(active.min()),
        "l0_max": int(active.max()),
        "atol": sample.atol,
        "evaluated_with": sample.evaluated_with,
        "recorded": sample.recorded,
        "notes": sample.notes,
    }
    if sample.reconstruction is None:
        document["activations_only"] = True
    if sample.hook_in is not None:
        document["hook_in"] = sample.hook_in
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    (folder / "golden.json").write_text(text)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    if size > MAX_BYTES:
        raise ValueError(f"{sample.name}: {size} bytes is too large for a sample")
    print(f"{library}/{sample.name}: {size} bytes, L0 {document['l0']}")
