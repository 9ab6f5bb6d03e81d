"""dictionary_learning's folders, where two files could be meant."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from darkmatter.errors import SAEFileError
from darkmatter.sae.load import load_sae

SAMPLE = (
    Path(__file__).parents[2] / "golden" / "samples" / "dictionary_learning" / "topk" / "sae" / "trainer_0"
)


def test_two_files_with_other_tensors_ask_which(tmp_path):
    """ae.pt beside ae.safetensors is the same SAE, or nobody says which one is meant."""
    folder = tmp_path / "run"
    shutil.copytree(SAMPLE, folder)
    saved = torch.load(folder / "ae.pt", weights_only=True)
    tensors = {name: tensor.contiguous() for name, tensor in saved.items()}
    save_file(tensors, folder / "ae.safetensors")
    assert load_sae(folder).fingerprint == load_sae(SAMPLE).fingerprint
    save_file(tensors | {"b_dec": tensors["b_dec"] + 1}, folder / "ae.safetensors")
    with pytest.raises(SAEFileError, match=r"ae\.safetensors and ae\.pt, .* differ \(b_dec\)"):
        load_sae(folder)
    assert load_sae(folder / "ae.pt").fingerprint == load_sae(SAMPLE).fingerprint
