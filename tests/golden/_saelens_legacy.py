"""Golden samples of SAELens before version 6, written and evaluated by the releases of that time.

One name serves the releases 2.1, 3.22 and 5.11: each writes its own samples, called by its version.
Where a release could not read its own file, the object that wrote it is evaluated, and the notes
say so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import wandb
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
# Configurations of 2.1 name their folder by a random id of wandb's, which must not vary here.
vars(wandb.util)["generate_id"] = lambda: "run"

import sae_lens  # noqa: E402

K = 6
LIBRARY = "sae_lens_legacy"
VERSION: str = sae_lens.__version__
MAJOR = int(VERSION.split(".", maxsplit=1)[0])

Weights = dict[str, Tensor]

FIELDS: dict[str, Any] = {
    "architecture": "standard",
    "d_in": D_IN,
    "d_sae": D_SAE,
    "activation_fn_str": "relu",
    "apply_b_dec_to_input": True,
    "finetuning_scaling_factor": False,
    "context_size": 192,
    "model_name": "gpt2-small",
    "hook_name": "blocks.7.hook_resid_post",
    "hook_layer": 7,
    "hook_head_index": None,
    "prepend_bos": False,
    "dataset_path": "example/corpus",
    "dataset_trust_remote_code": True,
    "normalize_activations": "none",
    "dtype": "float32",
    "device": "cpu",
    "sae_lens_training_version": VERSION,
}


def plain(gen: torch.Generator) -> Weights:
    return affine_weights(gen, D_IN, D_SAE)


def jumprelu(gen: torch.Generator) -> Weights:
    return plain(gen) | {"threshold": uniform(gen, D_SAE, low=0.1, high=0.9)}


def gated(gen: torch.Generator) -> Weights:
    weights = plain(gen)
    del weights["b_enc"]
    return weights | {
        "b_gate": randn(gen, D_SAE, scale=0.6) - 0.3,
        "b_mag": randn(gen, D_SAE, scale=0.5),
        "r_mag": randn(gen, D_SAE, scale=0.5),
    }


def finetuned(gen: torch.Generator) -> Weights:
    return plain(gen) | {"finetuning_scaling_factor": uniform(gen, D_SAE, low=0.5, high=1.5)}


def finish(
    out: Path,
    name: str,
    fields: dict[str, Any],
    results: tuple[Tensor, Tensor, Tensor],
    *,
    class_name: str,
    architecture: str,
    evaluated_with: str,
    notes: tuple[str, ...] = (),
) -> None:
    x, codes, reconstruction = results
    keys = ("model_name", "context_size", "prepend_bos", "dataset_path")
    write(
        out,
        LIBRARY,
        f"sae-lens {VERSION}",
        Golden(
            name=name,
            architecture=architecture,
            class_name=class_name,
            path="sae",
            d_in=D_IN,
            d_sae=D_SAE,
            x=x,
            codes=codes,
            reconstruction=reconstruction,
            hook_name=fields["hook_name"],
            notes=list(notes),
            recorded={key: fields[key] for key in keys},
            evaluated_with=evaluated_with,
        ),
    )


def saved(
    out: Path,
    name: str,
    *,
    weights: Callable[[torch.Generator], Weights] = plain,
    shape: tuple[int, ...] = (D_IN,),
    reload: bool = True,
    notes: tuple[str, ...] = (),
    **changes: Any,
) -> None:
    """Releases 3 to 5: ``SAE.save_model``, then ``load_from_pretrained`` (its later name: from_disk)."""
    from sae_lens.sae import SAE, SAEConfig

    folder = sae_folder(out, LIBRARY, name)
    fields = {**FIELDS, **changes}
    sae = SAE(SAEConfig(**fields))
    set_parameters(sae, weights(generator(name)))
    sae.save_model(str(folder))
    how = "the object that was saved: encode, forward"
    if reload:
        sae = SAE.load_from_pretrained(str(folder))
        how = "SAE.load_from_pretrained, encode, forward"
    sae.eval()
    x = stable_inputs(name, shape, sae.encode)
    with torch.no_grad():
        results = x, sae.encode(x), sae(x)
    finish(
        out,
        name,
        fields,
        results,
        class_name="SAE",
        architecture="topk" if fields["activation_fn_str"] == "topk" else fields["architecture"],
        evaluated_with=how,
        notes=notes,
    )


def folder_of_2(out: Path, name: str, *, scaled: bool, notes: tuple[str, ...], **changes: Any) -> None:
    """Release 2: the training class saves itself, with the whole run's configuration."""
    from sae_lens.training.config import LanguageModelSAERunnerConfig
    from sae_lens.training.sparse_autoencoder import SparseAutoencoder

    folder = sae_folder(out, LIBRARY, name)
    cfg = LanguageModelSAERunnerConfig(
        model_name="gpt2-small",
        hook_point="blocks.7.hook_resid_post",
        hook_point_layer=7,
        dataset_path="example/corpus",
        context_size=192,
        d_in=D_IN,
        expansion_factor=D_SAE // D_IN,
        prepend_bos=False,
        dtype=torch.float32,
        verbose=False,
        **changes,
    )
    sae = SparseAutoencoder(cfg)
    gen = generator(name)
    values = plain(gen)
    if scaled:
        values["scaling_factor"] = uniform(gen, D_SAE, low=0.5, high=1.5)
    set_parameters(sae, values)
    sae.save_model(str(folder))
    sae = SparseAutoencoder.load_from_pretrained(str(folder)).eval()
    x = stable_inputs(name, (D_IN,), lambda rows: sae(rows).feature_acts)
    with torch.no_grad():
        made = sae(x)
    fields = {**FIELDS, "hook_name": "blocks.7.hook_resid_post"}
    finish(
        out,
        name,
        fields,
        (x, made.feature_acts, made.sae_out),
        class_name="SparseAutoencoder",
        architecture="standard",
        evaluated_with="SparseAutoencoder.load_from_pretrained, forward",
        notes=notes,
    )


COMMON: dict[str, dict[str, Any]] = {
    "standard": {"apply_b_dec_to_input": False},
    "tanh_relu": {"activation_fn_str": "tanh-relu", "notes": ("f = tanh(relu(h))",)},
    "gated": {"weights": gated, "architecture": "gated"},
    "jumprelu": {"weights": jumprelu, "architecture": "jumprelu"},
    "layer_norm": {"normalize_activations": "layer_norm"},
    "hook_z": {"hook_name": "blocks.7.attn.hook_z", "shape": (3, 4)},
    "finetuned": {
        "weights": finetuned,
        "finetuning_scaling_factor": True,
        "reload": False,
        "notes": ("the tensor is called finetuning_scaling_factor; the release cannot reload its own file",),
    },
}
TOPK = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}


def samples() -> dict[str, Build]:
    """Every sample that the installed release writes."""
    if MAJOR < 3:
        return {
            "v2_standard": partial(
                folder_of_2, scaled=False, notes=("scaling_factor is there, and all ones",)
            ),
            "v2_scaled": partial(
                folder_of_2, scaled=True, notes=("scaling_factor always multiplies codes in the decoder",)
            ),
            "v2_tanh_relu": partial(folder_of_2, scaled=False, notes=(), activation_fn="tanh-relu"),
        }
    if MAJOR < 4:
        topk = {**TOPK, "architecture": "standard", "notes": ("top-k under architecture standard",)}
    else:
        topk = {**TOPK, "architecture": "topk"}
    cases = {**COMMON, "topk": topk}
    return {f"v{MAJOR}_{name}": partial(saved, **case) for name, case in cases.items()}
