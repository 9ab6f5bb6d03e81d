"""Writing SAEs in the layouts of SAELens v6, sparsify and Gemma Scope, those of people's own files.

Weights are stored as float16 to keep the shipped folder small, except where a format's readers expect
float32; they are computed with in float32, and every figure in the docs is of the stored weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .sae_training import Weights
from .tokenizer import CONTEXT

MODEL_NAME, DATASET = "darkmatter-world", "darkmatter-world-stories"


def _half(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float16).contiguous()


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def save_saelens(weights: Weights, folder: Path, hook: str) -> None:
    """SAELens v6: cfg.json and sae_weights.safetensors, architecture topk or jumprelu."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    d_in, d_sae = weights.W_enc.shape
    tensors = {name: _half(getattr(weights, name)) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    config: dict[str, object] = {
        "architecture": "topk" if weights.k else "jumprelu",
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "hook_z" if hook.endswith("hook_z") else "none",
    }
    if weights.k:
        config |= {"k": weights.k, "rescale_acts_by_decoder_norm": False}
    else:
        assert weights.threshold is not None
        tensors["threshold"] = _half(weights.threshold)
    config["metadata"] = {
        "sae_lens_version": "6.51.1",
        "model_name": MODEL_NAME,
        "hook_name": hook,
        "hook_head_index": None,
        "context_size": CONTEXT,
        "prepend_bos": True,
        "exclude_special_tokens": True,
        "seqpos_slice": [None],
        "dataset_path": DATASET,
        "model_from_pretrained_kwargs": {},
        "model_class_name": "TransformerBridge",
    }
    _write_json(folder / "cfg.json", config)
    save_file(tensors, folder / "sae_weights.safetensors")


def save_sparsify(weights: Weights, folder: Path, hook: str) -> None:
    """sparsify: RUN/config.json, and in RUN/layers.N the SAE on that block's output."""
    from safetensors.torch import save_file

    if not hook.endswith("hook_resid_post") or weights.k is None:
        message = "the sparsify layout here holds TopK SAEs on a block's output only"
        raise ValueError(message)
    inner = folder / f"layers.{hook.split('.')[1]}"
    inner.mkdir(parents=True, exist_ok=True)
    d_in, d_sae = weights.W_enc.shape
    _write_json(
        folder / "config.json", {"model": MODEL_NAME, "dataset": DATASET, "ctx_len": CONTEXT, "seed": 0}
    )
    config = {
        "activation": "topk",
        "expansion_factor": d_sae // d_in,
        "normalize_decoder": True,
        "num_latents": d_sae,
        "k": weights.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": d_in,
    }
    _write_json(inner / "cfg.json", config)
    tensors = {
        "encoder.weight": _half(weights.W_enc.T),
        "encoder.bias": _half(weights.b_enc),
        "W_dec": _half(weights.W_dec),
        "b_dec": _half(weights.b_dec),
    }
    save_file(tensors, inner / "sae.safetensors")


def save_gemma_scope(weights: Weights, folder: Path, hook: str) -> None:
    """Gemma Scope: params.npz in float32, b_dec folded into b_enc; the hook is in the path."""
    import numpy as np

    if not hook.endswith("hook_resid_post") or weights.threshold is None:
        message = "the Gemma Scope layout here holds JumpReLU SAEs on a block's output only"
        raise ValueError(message)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "W_enc": weights.W_enc,
        "b_enc": weights.b_enc - weights.b_dec @ weights.W_enc,
        "W_dec": weights.W_dec,
        "b_dec": weights.b_dec,
        "threshold": weights.threshold,
    }
    np.savez(
        folder / "params.npz", **{name: tensor.numpy().astype(np.float32) for name, tensor in arrays.items()}
    )
