"""The samples themselves are whole: no library and no reader is needed here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SAMPLES = Path(__file__).parent / "samples"
INDEX: list[str] = json.loads((SAMPLES / "index.json").read_text())


def test_index_names_every_sample() -> None:
    """The index that tests are parametrised by misses no sample."""
    found = sorted(p.parent.relative_to(SAMPLES).as_posix() for p in SAMPLES.rglob("golden.json"))
    assert found == INDEX


@pytest.mark.parametrize("name", INDEX)
def test_sample_is_whole(name: str) -> None:
    """Every sample has what it promises: files, expected tensors of matching shapes, a small size."""
    folder = SAMPLES / name
    golden = json.loads((folder / "golden.json").read_text())
    expected = load_file(folder / "expected.safetensors")
    assert golden["written_by"] in {"library", "hand"}
    assert " " in golden["version"], "the package and its version, as docs/formats.md shows them"
    x, codes = expected["x"], expected["codes"]
    assert (folder / golden["path"].partition("#")[0]).exists()
    assert codes.shape[-1] == golden["d_sae"]
    assert golden["d_in"] in (x.shape[-1], x.shape[-2] * x.shape[-1])
    assert x.dtype == codes.dtype == torch.float32
    assert all(torch.isfinite(value).all() for value in expected.values())
    assert ("reconstruction" not in expected) == golden.get("activations_only", False)
    # The results must differ (two inputs without any active latent may agree).
    flat = expected.get("reconstruction", codes).flatten(0, -2)
    assert len(flat.unique(dim=0)) > 0.9 * len(flat)
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < 24_000
