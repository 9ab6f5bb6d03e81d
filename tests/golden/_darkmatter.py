"""Golden samples of darkmatter's own format: other libraries' samples, converted.

The numbers are those of the library that made the original; only the files are ours. Run it where
this repository is installed, after the originals are there.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from _common import Build, Golden, sae_folder, write
from safetensors.torch import load_file

from darkmatter import load_sae, save_sae

LIBRARY = "darkmatter"
VERSION = "darkmatter format 1"
"""The version of the format."""

ORIGINALS = (
    "sae_lens/standard_layer_norm",
    "sae_lens/gated",
    "sae_lens/topk_rescale",
    "sae_lens/batchtopk_checkpoint_scaled",
    "sae_lens/jumprelu_float16",
    "sae_lens/skip_transcoder_layer_norm",
    "sae_lens_6_54/abstopk_rescale",
    "sparsify/groupmax",
    "gemma_scope/att",
)
"""Each shows something that the format must hold: a normalisation, scales, heads, a skip, infinities."""


def build(original: str, out: Path, name: str) -> None:
    """Convert one sample; its expected tensors stay what they are."""
    folder = out / original
    golden = json.loads((folder / "golden.json").read_text())
    expected = load_file(folder / "expected.safetensors")
    sae = load_sae(folder / golden["path"], adapter=golden["adapter"])
    save_sae(sae, sae_folder(out, LIBRARY, name), reference=original)
    rest = {key: value for key, value in expected.items() if key not in {"x", "codes", "reconstruction"}}
    sample = Golden(
        name=name,
        architecture=golden["architecture"],
        class_name=golden["class"],
        path="sae",
        d_in=golden["d_in"],
        d_sae=golden["d_sae"],
        x=expected["x"],
        codes=expected["codes"],
        reconstruction=expected["reconstruction"],
        hook_name=golden["hook_name"],
        notes=[f"converted from {original}; numbers of that sample", *golden["notes"]],
        recorded=golden["recorded"],
        extra=rest,
        evaluated_with=golden["evaluated_with"],
        atol=golden["atol"],
    )
    write(out, LIBRARY, VERSION, sample)


def samples() -> dict[str, Build]:
    """Every sample by name."""
    return {original.replace("/", "_"): partial(build, original) for original in ORIGINALS}
