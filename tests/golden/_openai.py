"""Golden samples of OpenAI's GPT-2 SAEs: the state dict of ``sparse_autoencoder.Autoencoder``.

The class is imported from a checkout (``--source``). It saves by ``torch.save`` of its own
``state_dict``, under the names of the published files; ``from_state_dict`` reads it back, after
the two keys that newer versions of torch add and that it refuses are taken out. Codes and
reconstructions are those of the object that was read back.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _common import (
    D_IN,
    D_SAE,
    Build,
    Golden,
    affine_weights,
    candidate_inputs,
    generator,
    sae_folder,
    set_parameters,
    stable_inputs,
    write,
)
from torch import Tensor, nn

warnings.filterwarnings("ignore", category=FutureWarning)

from sparse_autoencoder.model import Autoencoder, TopK  # noqa: E402

LIBRARY = "openai"
VERSION = "openai/sparse_autoencoder 4965b94"
K = 6
ADDED_BY_TORCH = ("activation.k", "activation.postact_fn")
HOOKS = {
    "resid_post_mlp": "hook_resid_post",
    "resid_delta_mlp": "hook_mlp_out",
    "resid_post_attn": "hook_resid_mid",
    "resid_delta_attn": "hook_attn_out",
    "mlp_post_act": "mlp.hook_post",
}


def made(name: str, activation: nn.Module, *, tied: bool = False) -> Autoencoder:
    """An autoencoder of random weights; buffers hold numbers that a reader must not use."""
    weights = affine_weights(generator(name), D_IN, D_SAE)
    autoencoder = Autoencoder(D_SAE, D_IN, activation=activation, tied=tied)
    values = {
        "encoder.weight": weights["W_enc"].T,
        "latent_bias": weights["b_enc"],
        "pre_bias": weights["b_dec"],
        "stats_last_nonzero": torch.arange(D_SAE),
    }
    if not tied:
        values["decoder.weight"] = weights["W_dec"].T
    set_parameters(autoencoder, {key: value.contiguous() for key, value in values.items()})
    return autoencoder


def read_back(file: Path, *, tied: bool) -> Autoencoder:
    """The library's reading of the file; a tied one, which it cannot read, gets its weights untied."""
    state = torch.load(file, weights_only=True)
    for key in ADDED_BY_TORCH:
        state.pop(key, None)
    if tied:
        state["decoder.weight"] = state.pop("decoder.linear.weight").T
    return Autoencoder.from_state_dict(state).eval()


def forward(autoencoder: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """(codes, reconstruction), through encode and decode as the README uses them."""
    codes, info = autoencoder.encode(x)
    return codes, autoencoder.decode(codes, info)


def inputs(name: str, autoencoder: Autoencoder, *, small_rows: bool) -> Tensor:
    """Stable inputs; with ``small_rows``, half of them so small that the eps of LN shows."""
    x = stable_inputs(name, (D_IN,), lambda x: autoencoder.encode(x)[0])
    if not small_rows:
        return x
    rows = candidate_inputs(generator(name + "/small"), D_IN, 400)
    rows = rows / rows.std(dim=-1, keepdim=True) * 10.0 ** torch.linspace(-5, -3, 400)[:, None]
    with torch.no_grad():
        support = autoencoder.encode(rows)[0] != 0
        stable = torch.ones(len(rows), dtype=torch.bool)
        for factor in (0.999, 0.9999, 1.0001, 1.001):
            stable &= ((autoencoder.encode(rows * factor)[0] != 0) == support).all(-1)
    chosen = rows[stable]
    x[::2] = chosen[torch.linspace(0, len(chosen) - 1, len(x[::2])).long()]
    return x


def saved(
    out: Path,
    name: str,
    *,
    activation: Callable[[], nn.Module],
    folder: str,
    layer: int = 6,
    tied: bool = False,
    keep: Callable[[str], bool] = lambda _: True,
    small_rows: bool = False,
    notes: tuple[str, ...] = (),
) -> None:
    """Save as the published files are named, read back, evaluate."""
    place = sae_folder(out, LIBRARY, name) / "gpt2-small" / folder / "autoencoders"
    place.mkdir(parents=True)
    file = place / f"{layer}.pt"
    state = made(name, activation(), tied=tied).state_dict()
    torch.save(type(state)((key, value) for key, value in state.items() if keep(key)), file)
    loaded = read_back(file, tied=tied)
    x = inputs(name, loaded, small_rows=small_rows)
    with torch.no_grad():
        codes, reconstruction = forward(loaded, x)
    location = folder.partition("_v")[0]
    sample = Golden(
        name=name,
        architecture=type(loaded.activation).__name__.lower(),
        class_name="Autoencoder",
        path=f"sae/gpt2-small/{folder}/autoencoders/{layer}.pt",
        d_in=D_IN,
        d_sae=D_SAE,
        x=x,
        codes=codes,
        reconstruction=reconstruction,
        hook_name=f"blocks.{layer}.{HOOKS[location]}",
        notes=list(notes),
        recorded={"model_name": "gpt2"},
        written_by="hand" if any("by hand" in note for note in notes) else "library",
        evaluated_with="Autoencoder.from_state_dict, encode, decode",
        atol=1e-6 if small_rows else 1e-5,
        dense=isinstance(loaded.activation, nn.Identity),
    )
    write(out, LIBRARY, VERSION, sample)


def samples() -> dict[str, Build]:
    """Every sample, by name."""
    topk = partial(TopK, K)
    published = "without the keys that newer versions of torch add, as the published files are"

    def old(key: str) -> bool:
        return key not in ADDED_BY_TORCH

    cases: dict[str, dict[str, Any]] = {
        "relu": {"activation": nn.ReLU, "folder": "resid_delta_mlp_v4"},
        "relu_mlp_post_act": {"activation": nn.ReLU, "folder": "mlp_post_act", "layer": 0},
        "relu_not_recorded": {
            "activation": nn.ReLU,
            "folder": "resid_delta_mlp",
            "keep": lambda key: not key.startswith("activation"),
            "notes": ("activation and its state taken out by hand: the library then takes ReLU",),
        },
        "relu_tied": {
            "activation": nn.ReLU,
            "folder": "resid_delta_mlp",
            "tied": True,
            "notes": (
                "saved with tied=True, which from_state_dict cannot read; evaluated with its weights untied",
            ),
        },
        "identity": {"activation": nn.Identity, "folder": "resid_delta_mlp"},
        "topk": {
            "activation": topk,
            "folder": "resid_post_mlp_v5_32k",
            "keep": old,
            "notes": (published, "layer norm because the activation is TopK"),
        },
        "topk_resaved": {
            "activation": topk,
            "folder": "resid_post_attn_v5_128k",
            "layer": 11,
            "notes": ("has activation.k and activation.postact_fn, which torch 2.13 adds",),
        },
        "topk_attention": {"activation": topk, "folder": "resid_delta_attn_v5_32k", "keep": old},
        "topk_small_rows": {
            "activation": topk,
            "folder": "resid_delta_mlp_v5_32k",
            "keep": old,
            "small_rows": True,
            "notes": ("half of the rows have a standard deviation of 1e-5 to 1e-3, near the eps of 1e-5",),
        },
        "topk_k_exceeds_positives": {
            "activation": partial(TopK, 18),
            "folder": "resid_post_mlp_v5_32k",
            "keep": old,
        },
        "topk_signed": {
            "activation": partial(TopK, 18, postact_fn=nn.Identity()),
            "folder": "resid_post_mlp_v5_32k",
            "notes": ("postact_fn Identity: negative codes stay",),
        },
    }
    return {name: partial(saved, **case) for name, case in cases.items()}
