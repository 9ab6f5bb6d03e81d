"""Golden samples of EleutherAI's sparsify: folders written by its ``Trainer.save``.

The trainer is built on a tiny random Llama, its sparse coders are given random weights,
and it saves; ``SparseCoder.load_from_disk`` reads them back. No step is trained.
"""

from __future__ import annotations

import os
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before the import: with triton installed, the decoder needs a GPU driver.
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"

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
    write,
)
from datasets import Dataset
from sparsify import SparseCoder, SparseCoderConfig, Trainer
from sparsify.__main__ import RunConfig
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

LIBRARY = "sparsify"
VERSION = version("eai-sparsify")
CONTEXT = 96


def model() -> LlamaForCausalLM:
    """The trainer reads module names and widths from it, nothing more."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=D_IN,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
    )
    return LlamaForCausalLM(config)


def weights(gen: torch.Generator, *, skip: bool) -> dict[str, Tensor]:
    made = affine_weights(gen, D_IN, D_SAE)
    named = {
        "encoder.weight": made["W_enc"].T,
        "encoder.bias": made["b_enc"],
        "W_dec": made["W_dec"],
        "b_dec": made["b_dec"],
    }
    return named | ({"W_skip": randn(gen, D_IN, D_IN, scale=0.3)} if skip else {})


def dense_codes(sae: SparseCoder, x: Tensor) -> Tensor:
    encoded = sae.encode(x)
    empty = torch.zeros(len(x), sae.num_latents)
    return empty.scatter(-1, encoded.top_indices, encoded.top_acts)


def decoded(sae: SparseCoder, x: Tensor) -> Tensor:
    encoded = sae.encode(x)
    return sae.decode(encoded.top_acts, encoded.top_indices)


def trainer(folder: Path, hook: str, cfg: SparseCoderConfig, seeds: list[int]) -> Trainer:
    run = RunConfig(
        cfg,
        model="EleutherAI/example-70m",
        dataset="EleutherAI/example-corpus",
        ctx_len=CONTEXT,
        hookpoints=[hook],
        init_seeds=seeds,
        save_dir=str(folder.parent),
        run_name=folder.name,
        log_to_wandb=False,
        batch_size=1,
    )
    data = Dataset.from_dict({"input_ids": [[1] * 8] * 4}).with_format("torch")
    return Trainer(run, data, model())


def forget_places(folder: Path) -> None:
    """The run's config records the folder it was told to save in; ours means nothing."""
    for file in folder.rglob("config.json"):
        file.write_text(file.read_text().replace(str(folder.parent), "checkpoints"))


def notes_of(cfg: SparseCoderConfig) -> list[str]:
    notes = []
    if cfg.skip_connection:
        notes.append("the skip connection is in forward, not in decode")
    if cfg.transcode:
        notes.append("transcoder: b_dec is not subtracted from the input")
    if cfg.num_latents == 0:
        notes.append("num_latents is 0: the width is d_in * expansion_factor")
    if cfg.multi_topk:
        notes.append(
            "forward returns the reconstruction of the 4k largest latents, without the skip"
            " connection (forward_multi_topk); codes and reconstruction are encode and decode"
        )
    return notes


def saved(
    out: Path,
    name: str,
    *,
    hook: str = "layers.1",
    seeds: tuple[int, ...] = (0,),
    best: bool = False,
    **fields: Any,
) -> None:
    """Save with the trainer, read back with the library, evaluate."""
    cfg = SparseCoderConfig(**{"num_latents": D_SAE, "k": 6, **fields})
    folder = sae_folder(out, LIBRARY, name)
    made = trainer(folder, hook, cfg, list(seeds))
    for key, sae in made.saes.items():
        set_parameters(sae, weights(generator(name + key), skip=cfg.skip_connection))
    if best:
        made.best_loss = dict.fromkeys(made.saes, 1.0)
        made.save_best(dict.fromkeys(made.saes, 0.5))
    else:
        made.save()
    forget_places(folder)
    # Optimizer and scheduler states: a reader has no use for them.
    for file in folder.rglob("*.pt"):
        file.unlink()
    key = list(made.saes)[-1]
    path = f"sae/best/{key}/{key}" if best else f"sae/{key}"
    loaded = SparseCoder.load_from_disk(folder.parent / path).eval()
    x = stable_inputs(name, (D_IN,), partial(dense_codes, loaded))
    extra: dict[str, Tensor] = {}
    with torch.no_grad():
        reconstruction = loaded(x).sae_out
        if cfg.skip_connection:
            extra["decode_only"] = decoded(loaded, x)
        if cfg.multi_topk:
            extra["forward_multi_topk"] = reconstruction
            reconstruction = decoded(loaded, x)
        sample = Golden(
            name=name,
            architecture=cfg.activation + ("_transcoder" if cfg.transcode else ""),
            class_name="SparseCoder",
            path=path,
            d_in=D_IN,
            d_sae=loaded.num_latents,
            x=x,
            codes=dense_codes(loaded, x),
            reconstruction=reconstruction,
            hook_name=hook,
            notes=notes_of(cfg),
            recorded={
                "model": "EleutherAI/example-70m",
                "dataset": "EleutherAI/example-corpus",
                "context_size": CONTEXT,
                "k": cfg.k,
                "activation": cfg.activation,
                "transcode": cfg.transcode,
                "hookpoint": hook,
            },
            extra=extra,
            evaluated_with="SparseCoder.load_from_disk, encode, forward",
        )
    write(out, LIBRARY, f"eai-sparsify {VERSION}", sample)


def samples() -> dict[str, Build]:
    """Every sample, by name."""
    cases: dict[str, dict[str, Any]] = {
        "topk": {},
        "topk_k_exceeds_positives": {"k": 14},
        "groupmax": {"activation": "groupmax"},
        "expansion_factor": {"num_latents": 0, "expansion_factor": 2},
        "decoder_not_normalised": {"normalize_decoder": False},
        "multi_topk": {"multi_topk": True, "k": 4},
        "seeds": {"seeds": (3, 7)},
        "best": {"best": True},
        "mlp": {"hook": "layers.1.mlp"},
        "embed_tokens": {"hook": "embed_tokens"},
        "transcoder": {"hook": "layers.1.mlp", "transcode": True},
        "skip_transcoder": {"hook": "layers.1.mlp", "transcode": True, "skip_connection": True},
        "skip_autoencoder": {"skip_connection": True},
        "groupmax_skip_transcoder": {
            "hook": "layers.1.mlp",
            "activation": "groupmax",
            "transcode": True,
            "skip_connection": True,
        },
    }
    return {name: partial(saved, **case) for name, case in cases.items()}
