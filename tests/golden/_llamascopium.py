"""Golden samples of Llamascopium: SAEs and transcoders that its own class saves, reloads and evaluates."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from _common import (
    D_IN,
    D_SAE,
    Build,
    Golden,
    affine_weights,
    generator,
    randn,
    sae_folder,
    set_parameters,
    stable_inputs,
    uniform,
    write,
)
from torch import Tensor

warnings.filterwarnings("ignore")

from llamascopium.backend.language_model import LanguageModelConfig  # noqa: E402
from llamascopium.models.sae import SAEConfig, SparseAutoEncoder  # noqa: E402

VERSION = "llamascopium " + version("llamascopium")
K = 6
NORM_IN, NORM_OUT = 7.5, 2.5
RESIDUAL, MLP_IN, MLP_OUT = (
    "blocks.5.hook_resid_post",
    "blocks.5.ln2.hook_normalized",
    "blocks.5.hook_mlp_out",
)


@dataclass
class Case:
    """What differs from a dataset-wise SAE with the library's defaults."""

    act_fn: str
    settings: dict[str, Any] = field(default_factory=dict)
    transcoder: bool = False
    folded: bool = False
    notes: tuple[str, ...] = ()


CASES = {
    "relu": Case("relu"),
    "jumprelu": Case("jumprelu"),
    "jumprelu_no_decoder_norm": Case("jumprelu", {"sparsity_include_decoder_norm": False}),
    "jumprelu_inference": Case(
        "jumprelu", folded=True, notes=("the scale is folded into the weights; thresholds stay as they are",)
    ),
    "jumprelu_no_decoder_bias": Case("jumprelu", {"use_decoder_bias": False}),
    "topk": Case("topk", {"top_k": K}),
    "topk_token_wise": Case("topk", {"top_k": K, "norm_activation": "token-wise"}),
    "relu_token_wise": Case("relu", {"norm_activation": "token-wise"}),
    "topk_no_decoder_norm": Case("topk", {"top_k": K, "sparsity_include_decoder_norm": False}),
    "batchtopk": Case(
        "batchtopk",
        {"top_k": K},
        notes=("codes are those of one row at a time; codes_batch is of the 32 rows together",),
    ),
    "jumprelu_glu": Case("jumprelu", {"use_glu_encoder": True}),
    "topk_glu_token_wise": Case(
        "topk", {"top_k": K, "use_glu_encoder": True, "norm_activation": "token-wise"}
    ),
    "transcoder": Case("jumprelu", transcoder=True),
    "transcoder_topk": Case("topk", {"top_k": K}, transcoder=True),
    "transcoder_inference": Case("jumprelu", transcoder=True, folded=True),
    "transcoder_glu": Case("relu", {"use_glu_encoder": True}, transcoder=True),
}


def build(out: Path, name: str, *, case: Case) -> None:
    folder = sae_folder(out, "llamascopium", name)
    made = make(case, generator(name))
    made.save_pretrained(folder, fold_activation_scale=case.folded)
    made.cfg.save_hyperparameters(folder)
    model = LanguageModelConfig(model_name="EleutherAI/pythia-70m", prepend_bos=False)
    model.save_lm_config(str(folder))
    sae = SparseAutoEncoder.from_pretrained(str(folder))
    x = stable_inputs(name, (D_IN,), partial(encode, sae))
    codes = encode(sae, x)
    batch = case.act_fn == "batchtopk"
    sample = Golden(
        name=name,
        architecture=case.act_fn,
        class_name=type(sae).__name__,
        path="sae",
        d_in=D_IN,
        d_sae=D_SAE,
        x=x,
        codes=codes,
        reconstruction=reconstruct(sae, codes, x),
        hook_name=sae.cfg.hook_point_in,
        notes=["the caller scales activations and outputs, as the library's trainer does", *case.notes],
        recorded={
            "model_name": model.model_name,
            "prepend_bos": model.prepend_bos,
            "hook_name_out": sae.cfg.hook_point_out,
            "norm_activation": sae.cfg.norm_activation,
        },
        extra={"codes_batch": sae.encode(scaled(sae, x)[0]).detach()} if batch else {},
        evaluated_with="from_pretrained; normalize_activations, encode, decode, denormalize_activations",
    )
    write(out, "llamascopium", VERSION, sample)


def make(case: Case, gen: torch.Generator) -> SparseAutoEncoder:
    """A random SAE whose average norms were measured."""
    hook_in, hook_out = (MLP_IN, MLP_OUT) if case.transcoder else (RESIDUAL, RESIDUAL)
    cfg = SAEConfig(
        hook_point_in=hook_in,
        hook_point_out=hook_out,
        d_model=D_IN,
        expansion_factor=D_SAE / D_IN,
        act_fn=case.act_fn,
        **case.settings,
    )
    sae = SparseAutoEncoder(cfg)
    values = affine_weights(gen, D_IN, D_SAE)
    named = {"W_E": values["W_enc"], "b_E": values["b_enc"], "W_D": values["W_dec"], "b_D": values["b_dec"]}
    # A gate makes pre-activations small, and most rows shall have codes.
    most = 0.3 if cfg.use_glu_encoder else 0.9
    named |= {
        "W_E_glu": randn(gen, D_IN, D_SAE, scale=1 / math.sqrt(D_IN)),
        "b_E_glu": randn(gen, D_SAE, scale=0.5) + 1,
        "activation_function.log_jumprelu_threshold": uniform(gen, D_SAE, low=0.05, high=most).log(),
    }
    known = sae.state_dict()
    set_parameters(sae, {key: value for key, value in named.items() if key in known})
    sae.set_dataset_average_activation_norm(
        {hook_in: NORM_IN, hook_out: NORM_OUT if case.transcoder else NORM_IN}
    )
    return sae


def scaled(sae: SparseAutoEncoder, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Activations as the library wants them encoded, and the factors of both hook points."""
    hook_in, hook_out = sae.cfg.hook_point_in, sae.cfg.hook_point_out
    # Of a transcoder only factors that the predicted activations do not change are asked for.
    batch = {hook_out: torch.ones_like(x), hook_in: x}
    activations, factors = sae.normalize_activations(batch, return_scale_factor=True)
    return activations[hook_in], factors


@torch.no_grad()
def encode(sae: SparseAutoEncoder, x: Tensor) -> Tensor:
    """Codes of rows, each of them by itself."""
    return torch.cat([sae.encode(scaled(sae, row)[0]) for row in x.split(1)])


@torch.no_grad()
def reconstruct(sae: SparseAutoEncoder, codes: Tensor, x: Tensor) -> Tensor:
    hook_out = sae.cfg.hook_point_out
    _, factors = scaled(sae, x)
    output = sae.denormalize_activations({hook_out: sae.decode(codes)}, {hook_out: factors[hook_out]})
    return output[hook_out]


def samples() -> dict[str, Build]:
    """Every sample by name."""
    return {name: partial(build, case=case) for name, case in CASES.items()}
