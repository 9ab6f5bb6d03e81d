"""SAELens: in which precision its files are kept and computed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}


@pytest.mark.parametrize("sample", ["standard_checkpoint_whitened", "batchtopk_checkpoint_whitened"])
def test_whitening_is_folded_without_rounding(sample):
    """Asked for float64, a whitened SAE gives what the unfolded formula gives in float64."""
    folder = SAMPLES / "sae_lens_6_54" / sample / "sae"
    x = load_file(folder.parent / "expected.safetensors")["x"].double()
    files = (folder / "activation_whitening.safetensors", folder / "sae_weights.safetensors")
    white, weights = ({name: part.double() for name, part in load_file(file).items()} for file in files)
    sae = load_sae(folder, adapters=BY_NAME, dtype=torch.float64)
    given = (x - white["mean"]) @ white["matrix"]
    assert json.loads((folder / "cfg.json").read_text())["apply_b_dec_to_input"] is True
    exact = (given - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    ours = (x - sae.subtract) @ sae.W_enc.double() + sae.b_enc.double()
    torch.testing.assert_close(ours, exact, rtol=1e-11, atol=1e-11)
    back = (weights["W_dec"] @ white["inverse_matrix"], weights["b_dec"] @ white["inverse_matrix"])
    torch.testing.assert_close(sae.W_dec.double(), back[0], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(sae.b_dec.double(), back[1] + white["mean"], rtol=1e-11, atol=1e-11)


def test_a_float64_file_is_kept_and_computed_in_float32_unless_asked(tmp_path):
    """Metadata says what the file holds; the SAE says in what it computes, float32 by default."""
    folder = tmp_path / "sae"
    shutil.copytree(SAMPLES / "sae_lens" / "standard" / "sae", folder)
    tensors = load_file(folder / "sae_weights.safetensors")
    fine = {name: part.double() * (1 + 1e-9) for name, part in tensors.items()}
    save_file(fine, folder / "sae_weights.safetensors")
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**config, "dtype": "float64"}))
    x = load_file(SAMPLES / "sae_lens" / "standard" / "expected.safetensors")["x"].double()
    plain, asked = (load_sae(folder, adapters=BY_NAME, dtype=dtype) for dtype in (None, torch.float64))
    assert (plain.metadata.dtype, plain.dtype, asked.dtype) == ("float64", torch.float32, torch.float64)
    assert torch.equal(plain.W_enc, fine["W_enc"])
    exact = plain.reference(x)[0].float()
    assert not torch.equal(plain.encode(x).to_dense(), exact)
    torch.testing.assert_close(plain.encode(x).to_dense(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(asked.encode(x).to_dense(), exact, rtol=2**-23, atol=0)
