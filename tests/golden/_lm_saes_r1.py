"""Golden samples of Llama Scope R1-Distill's layout, by OpenMOSS's code of March 2025.

``LM_SAES_CHECKOUT`` names a checkout of that code; requirements/llamascopium.txt says which commit.
"""

from __future__ import annotations

import sys
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
    generator,
    sae_folder,
    set_parameters,
    stable_inputs,
    uniform,
    write,
)
from _lm_saes import MLP_IN, MLP_OUT, NORMS, NORMS_APART, RESIDUAL, library, weights

COMMIT = "bd1fec2c04e6214113f9f3735b8b2359148ce54e"
MODEL = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"


@dataclass
class Case:
    """What differs from a dataset-wise JumpReLU SAE with decoder norms included."""

    settings: dict[str, Any] = field(default_factory=dict)
    transcoder: bool = False
    folded: bool = False


CASES = {
    "r1_lm_saes_jumprelu": Case(),
    "r1_lm_saes_inference": Case(folded=True),
    "r1_lm_saes_relu_no_decoder_norm": Case({"act_fn": "relu", "sparsity_include_decoder_norm": False}),
    "r1_lm_saes_transcoder": Case(transcoder=True),
}


def build(out: Path, name: str, *, case: Case) -> None:
    path = "sae/Llama-Scope-R1-Distill/L7R"
    folder = sae_folder(out, "llama_scope", name).parent / path
    folder.mkdir(parents=True)
    # Its kernels need triton, and are not used here.
    sys.modules["lm_saes.kernels"] = ModuleType("lm_saes.kernels")
    vars(sys.modules["lm_saes.kernels"])["decode_with_triton_spmm_kernel"] = None
    code = library("lm_saes.sae")
    code.version = lambda _: COMMIT  # a checkout is not an installed package
    saved = make(code, case, name)
    saved.save_pretrained(str(folder))
    saved.cfg.save_hyperparameters(str(folder))
    sae = code.SparseAutoEncoder.from_pretrained(str(folder), dtype=torch.float32)
    cfg = sae.cfg
    x = stable_inputs(name, (D_IN,), sae.encode)
    with torch.no_grad():
        # What compute_loss returns is on the scale of the activations, whatever normalises them.
        batch = {cfg.hook_point_out: torch.ones_like(x), cfg.hook_point_in: x}
        sae.set_current_l1_coefficient(1.0)
        reconstruction = sae.compute_loss(batch)[1][1]["reconstructed"]
        codes = sae.encode(x)
    sample = Golden(
        name=name,
        architecture=cfg.act_fn,
        class_name=type(sae).__name__,
        path=path,
        d_in=D_IN,
        d_sae=D_SAE,
        x=x,
        codes=codes,
        reconstruction=reconstruction,
        hook_name=cfg.hook_point_in,
        recorded={
            "context_size": 1024,
            "model_name": MODEL,
            "prepend_bos": True,
            "hook_name_out": cfg.hook_point_out,
        },
        evaluated_with="SparseAutoEncoder.from_pretrained, encode, compute_loss",
    )
    write(out, "llama_scope", f"Language-Model-SAEs {COMMIT[:8]}", sample)


def make(code: ModuleType, case: Case, name: str) -> Any:
    """A random SAE whose average norms were measured."""
    cfg = library("lm_saes.config").SAEConfig(
        hook_point_in=MLP_IN if case.transcoder else RESIDUAL,
        hook_point_out=MLP_OUT if case.transcoder else RESIDUAL,
        d_model=D_IN,
        expansion_factor=D_SAE // D_IN,
        dtype=torch.float32,
        **{"act_fn": "jumprelu", **case.settings},
    )
    sae = code.SparseAutoEncoder(cfg)
    gen = generator(name)
    values = weights(gen)
    if cfg.act_fn == "jumprelu":
        values["log_jumprelu_threshold"] = uniform(gen, D_SAE, low=0.1, high=0.9).log()
    set_parameters(sae, values)
    norms = NORMS_APART if case.transcoder else NORMS
    averages = {cfg.hook_point_in: norms["in"], cfg.hook_point_out: norms["out"]}
    sae.set_dataset_average_activation_norm(averages)
    if case.folded:
        sae.standardize_parameters_of_dataset_norm(None)
    return sae


def samples() -> dict[str, Build]:
    """Every sample by name."""
    return {name: partial(build, case=case) for name, case in CASES.items()}
