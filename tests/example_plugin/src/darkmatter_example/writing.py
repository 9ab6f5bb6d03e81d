"""Write the toy format."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def save_toysae(folder: Path, decoder: torch.Tensor, *, k: int) -> None:
    """A toy SAE with tied weights: ``decoder`` [d_sae, d_in]."""
    folder.mkdir(parents=True, exist_ok=True)
    d_sae, d_in = decoder.shape
    (folder / "sae.toysae.json").write_text(json.dumps({"d_in": d_in, "d_sae": d_sae, "k": k}))
    tensors = {"encoder": decoder.T.contiguous(), "decoder": decoder, "bias": torch.zeros(d_in)}
    save_file(tensors, folder / "sae.safetensors")
