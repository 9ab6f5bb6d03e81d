"""Golden samples of Llama Scope, saved and evaluated by OpenMOSS's code of the month it was published.

``LM_SAES_CHECKOUT`` names a checkout of that code; requirements/llamascopium.txt says which commits.
The library folds the scales of a file into its weights when it loads it. Codes are recorded in the
units of the file's own weights, as SAELens gives them; ``codes_folded`` are the library's numbers.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from _common import (
    D_IN,
    D_SAE,
    Build,
    Golden,
    affine_weights,
    generator,
    sae_folder,
    set_parameters,
    stable_inputs,
    write,
)
from torch import Tensor

warnings.filterwarnings("ignore")

COMMIT = "d16967b3711daaf1e044d4ee4664418829b007ff"
K = 6
NORMS, NORMS_APART = {"in": 7.5, "out": 7.5}, {"in": 7.5, "out": 2.5}
RESIDUAL, MLP_IN, MLP_OUT = (
    "blocks.7.hook_resid_post",
    "blocks.7.ln2.hook_normalized",
    "blocks.7.hook_mlp_out",
)
NAME = "Llama3_1-8B-Base-L7R-8x"
RECORDED = {"context_size": 1024, "model_name": "meta-llama/Llama-3.1-8B", "prepend_bos": True}


def library(module: str) -> ModuleType:
    """A module of the checkout."""
    source = str(Path(os.environ["LM_SAES_CHECKOUT"]) / "src")
    if source not in sys.path:
        sys.path.insert(0, source)
    return importlib.import_module(module)


def weights(gen: torch.Generator) -> dict[str, Tensor]:
    """Matrices as nn.Linear keeps them."""
    made = affine_weights(gen, D_IN, D_SAE)
    return {
        "encoder.weight": made["W_enc"].T,
        "encoder.bias": made["b_enc"],
        "decoder.weight": made["W_dec"].T,
        "decoder.bias": made["b_dec"],
    }


@dataclass
class Case:
    """What differs from the published files: dataset-wise, JumpReLU, decoder norms included."""

    settings: dict[str, Any] = field(default_factory=dict)
    transcoder: bool = False
    notes: tuple[str, ...] = ()


CASES = {
    "lm_saes_jumprelu": Case(notes=("the settings of the published files",)),
    "lm_saes_jumprelu_no_decoder_norm": Case({"sparsity_include_decoder_norm": False}),
    "lm_saes_jumprelu_input_bias": Case({"apply_decoder_bias_to_pre_encoder": True}),
    "lm_saes_topk": Case({"act_fn": "topk", "top_k": K, "jump_relu_threshold": 0.0}),
    "lm_saes_topk_with_threshold": Case(
        {"act_fn": "topk", "top_k": K}, notes=("the loader says that it makes this JumpReLU; it stays top-k",)
    ),
    "lm_saes_token_wise": Case({"act_fn": "relu", "norm_activation": "token-wise"}),
    "lm_saes_transcoder": Case(transcoder=True),
    "lm_saes_transcoder_no_decoder_norm": Case({"sparsity_include_decoder_norm": False}, transcoder=True),
}


def build(out: Path, name: str, *, case: Case) -> None:
    folder = sae_folder(out, "llama_scope", name) / NAME
    (folder / "checkpoints").mkdir(parents=True)
    cfg = config(case)
    code = library("lm_saes.sae")
    code.version = lambda _: COMMIT  # a checkout is not an installed package
    saved = code.SparseAutoEncoder(cfg)
    set_parameters(saved, weights(generator(name)))
    saved.save_pretrained(str(folder / "checkpoints" / "final.safetensors"))
    cfg.save_hyperparameters(str(folder))
    sae = code.SparseAutoEncoder.from_pretrained(str(folder))
    x = stable_inputs(name, (D_IN,), sae.encode)
    with torch.no_grad():
        codes = sae.encode(x)
        # What compute_loss returns is on the scale of the activations, whatever normalises them.
        reconstruction = sae.compute_loss(x)[1][1]["reconstructed"]
    sample = Golden(
        name=name,
        architecture=cfg.act_fn,
        class_name=type(sae).__name__,
        path=f"sae/{NAME}",
        d_in=D_IN,
        d_sae=D_SAE,
        x=x,
        codes=codes / folding(saved, case),
        reconstruction=reconstruction,
        hook_name=cfg.hook_point_in,
        notes=["codes_folded are the library's; codes are in units of the stored weights", *case.notes],
        recorded={**RECORDED, "hook_name_out": cfg.hook_point_out},
        extra={"codes_folded": codes},
        evaluated_with="SparseAutoEncoder.from_pretrained, encode, compute_loss",
    )
    write(out, "llama_scope", f"Language-Model-SAEs {COMMIT[:8]}", sample)


def config(case: Case) -> Any:
    """The configuration of the published files, and what the case changes."""
    settings = {
        "hook_point_in": MLP_IN if case.transcoder else RESIDUAL,
        "hook_point_out": MLP_OUT if case.transcoder else RESIDUAL,
        "apply_decoder_bias_to_pre_encoder": False,
        "expansion_factor": D_SAE // D_IN,
        "d_model": D_IN,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": NORMS_APART if case.transcoder else NORMS,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.4,
        "sparsity_include_decoder_norm": True,
        "device": "cpu",
        "dtype": torch.float32,
    }
    return library("lm_saes.config").SAEConfig(**{**settings, **case.settings})


def folding(saved: Any, case: Case) -> Tensor:
    """The library's codes per code of the stored weights, latent by latent."""
    cfg, units = saved.cfg, torch.ones(D_SAE)
    norms = cfg.dataset_average_activation_norm
    if cfg.sparsity_include_decoder_norm:
        units = saved.decoder.weight.detach().norm(dim=0)
    if case.settings.get("norm_activation", "dataset-wise") != "dataset-wise":
        return units
    side = "out" if cfg.sparsity_include_decoder_norm else "in"
    return units * norms[side] / math.sqrt(D_IN)


def samples() -> dict[str, Build]:
    """Every sample by name."""
    return {name: partial(build, case=case) for name, case in CASES.items()}
