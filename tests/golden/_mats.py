"""Golden samples of the files before SAELens had folders: one ``.pt`` with pickled library objects.

Three layouts, each written and evaluated by the code of its time: a configuration and a state dict
(December 2023 to February 2024, and ``save_model_legacy`` of sae-lens 0.4 to 2.1); a pickled group
of whole modules (``SAEGroup``, to sae-lens 0.3). The code before sae-lens was a package is taken
from a checkout (``--source``); without one the installed sae-lens writes what it can. So one name
serves all, as with ``sae_lens``.
"""

from __future__ import annotations

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
    sae_folder,
    set_parameters,
    stable_inputs,
    uniform,
    write,
)
from torch import Tensor

LIBRARY = "mats_training"


# Configurations name their folder by a random id of wandb's, which must not vary here.
vars(wandb.util)["generate_id"] = lambda: "run"
try:
    from sae_training.config import LanguageModelSAERunnerConfig
    from sae_training.sparse_autoencoder import SparseAutoencoder

    VERSION = "mats_sae_training, February 2024"
    CHECKOUT = True
except ImportError:
    import sae_lens
    from sae_lens.training.config import LanguageModelSAERunnerConfig
    from sae_lens.training.sparse_autoencoder import SparseAutoencoder

    VERSION = f"sae-lens {sae_lens.__version__}"
    CHECKOUT = False
try:
    from sae_training.sae_group import SAEGroup

    VERSION = "mats_sae_training, March 2024"
except ImportError:
    SAEGroup = None


def config(**changes: Any) -> Any:
    """The run's configuration, with values that differ from the defaults."""
    values: dict[str, Any] = {
        "model_name": "gpt2-small",
        "hook_point": "blocks.8.hook_resid_pre",
        "hook_point_layer": 8,
        "dataset_path": "Skylion007/openwebtext",
        "is_dataset_tokenized": False,
        "context_size": 192,
        "d_in": D_IN,
        "expansion_factor": D_SAE // D_IN,
        "store_batch_size": 32,
        "dtype": torch.float32,
    }
    return LanguageModelSAERunnerConfig(**{**values, **changes})


def fill(sae: Any, name: str, *, scaled: bool = False) -> None:
    """Random weights in place of the constructor's."""
    gen = generator(name)
    weights = affine_weights(gen, D_IN, D_SAE)
    if scaled:
        weights["scaling_factor"] = uniform(gen, D_SAE, low=0.5, high=1.5)
    set_parameters(sae, weights)
    sae.eval()


def evaluated(sae: Any, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """(x, codes, reconstruction) by the module's own forward."""
    x = stable_inputs(name, (D_IN,), lambda rows: sae(rows)[1])
    with torch.no_grad():
        reconstruction, codes = sae(x)[:2]
    return x, codes, reconstruction


def finish(
    out: Path,
    name: str,
    sae: Any,
    path: str,
    how: str,
    notes: tuple[str, ...] = (),
    recorded: dict[str, Any] | None = None,
) -> None:
    x, codes, reconstruction = evaluated(sae, name)
    facts = {"model_name": "gpt2-small", "context_size": 192, "dataset_path": "Skylion007/openwebtext"}
    write(
        out,
        LIBRARY,
        VERSION,
        Golden(
            name=name,
            architecture="standard",
            class_name=f"{type(sae).__module__}.{type(sae).__name__}",
            path=path,
            d_in=D_IN,
            d_sae=D_SAE,
            x=x,
            codes=codes,
            reconstruction=reconstruction,
            hook_name=sae.cfg.hook_point,
            notes=list(notes),
            recorded=facts | (recorded or {}),
            evaluated_with=how,
        ),
    )


def dictionary(out: Path, name: str, *, notes: tuple[str, ...] = (), **changes: Any) -> None:
    """``final_sparse_autoencoder_….pt``: {"cfg": configuration, "state_dict": weights}."""
    folder = sae_folder(out, LIBRARY, name)
    sae = SparseAutoencoder(config(**changes))
    fill(sae, name)
    file = folder / f"final_{sae.get_name()}.pt"
    sae.save_model(str(file))
    # What the training run leaves beside it.
    torch.save(torch.zeros(D_SAE), folder / f"final_{sae.get_name()}_log_feature_sparsity.pt")
    how = "the code that saved it: SparseAutoencoder.forward in evaluation mode"
    finish(out, name, sae, f"sae/{file.name}", how, notes)


def group(out: Path, name: str, *, layers: list[int], index: int) -> None:
    """``final_sae_group_….pt``: the pickled group, its modules and all."""
    folder = sae_folder(out, LIBRARY, name)
    made = SAEGroup(config(hook_point="blocks.{layer}.hook_resid_pre", hook_point_layer=layers))
    for number, sae in enumerate(made):
        fill(sae, f"{name}/{number}")
    file = folder / f"final_sae_group_gpt2-small_{D_SAE}.pt"
    made.save_model(str(file))
    how = "the code that saved it: the group's module, forward in evaluation mode"
    notes = (f"{len(layers)} SAEs in one file; the expected numbers are those of #{index}",)
    path = f"sae/{file.name}" + (f"#{index}" if len(layers) > 1 else "")
    finish(out, name, made.autoencoders[index], path, how, notes, {"prepend_bos": True})


def legacy(out: Path, name: str, *, scaled: bool, notes: tuple[str, ...], **changes: Any) -> None:
    """``save_model_legacy`` of the first sae-lens releases: the dictionary again, with a scale."""
    folder = sae_folder(out, LIBRARY, name)
    sae = SparseAutoencoder(config(verbose=False, prepend_bos=False, **changes))
    fill(sae, name, scaled=scaled)
    file = folder / f"{sae.get_name()}.pt"
    sae.save_model_legacy(str(file))
    how = "the library that saved it: SparseAutoencoder.forward in evaluation mode"
    finish(out, name, sae, f"sae/{file.name}", how, notes, {"prepend_bos": False})


def samples() -> dict[str, Build]:
    """Every sample that the code at hand writes."""
    head = "one head of attention's z: d_in is the head's size"
    if SAEGroup is not None:
        return {
            "group_of_one": partial(group, layers=[3], index=0),
            "group_of_two": partial(group, layers=[3, 5], index=1),
        }
    if CHECKOUT:
        return {
            "dictionary": dictionary,
            "dictionary_head": partial(
                dictionary,
                hook_point="blocks.5.attn.hook_q",
                hook_point_layer=5,
                hook_point_head_index=7,
                notes=(head,),
            ),
        }
    return {
        "sae_lens_scaled": partial(
            legacy, scaled=True, notes=("scaling_factor multiplies codes in the decoder, always",)
        ),
        "sae_lens_no_input_bias": partial(
            legacy, scaled=False, apply_b_dec_to_input=False, notes=("b_dec is not subtracted",)
        ),
        "sae_lens_tanh": partial(
            legacy, scaled=False, activation_fn="tanh-relu", notes=("activation tanh(relu(h))",)
        ),
    }
