"""The suite `example`: writes its files into a folder and says what is to be run."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from darkmatter_example.writing import save_toysae


def write(folder: Path) -> dict[str, Any]:
    """The fields of the suite, as in a suite.yaml."""
    generator = torch.Generator().manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    activations = folder / "activations.safetensors"
    save_file({"x": torch.randn(40, 16, 8, generator=generator)}, activations)
    decoder = torch.nn.functional.normalize(torch.randn(16, 8, generator=generator), dim=1)
    save_toysae(folder / "toy", decoder, k=4)
    return {
        "activations": str(activations),
        "saes": {"toy": str(folder / "toy"), "coordinates": "baseline:coordinates,k=4"},
        "evaluators": ["reconstruction", "code_concentration"],
    }
