"""Golden samples of the layouts that publishers chose for themselves.

No library writes these files, so they are written here by hand, to the layout that
SAELens reads, and evaluated by SAELens: its own loader for the format runs on the
folder as if it were the published repository, and the SAE it returns gives the codes.
What a publisher's files really hold is therefore as SAELens understands it.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from _common import (
    D_IN,
    D_SAE,
    Build,
    Golden,
    affine_weights,
    generator,
    randn,
    sae_folder,
    stable_inputs,
    uniform,
    write,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

warnings.filterwarnings("ignore")

import sae_lens  # noqa: E402
from huggingface_hub.utils import EntryNotFoundError  # noqa: E402
from sae_lens.loading import pretrained_sae_loaders as loaders  # noqa: E402
from sae_lens.saes import sae as sae_module  # noqa: E402
from sae_lens.saes.sae import SAE  # noqa: E402

VERSION: str = sae_lens.__version__
K = 6

Weights = dict[str, Tensor]


@dataclass
class Published:
    """A repository on disk, and how SAELens is asked for the SAE in it."""

    library: str
    loader: str
    repo: str
    sae_id: str
    save: Callable[[Path, torch.Generator], None]
    path: str
    overrides: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = (D_IN,)
    items: int = 32
    norm_scaling_factor: float | None = None
    decode_only: bool = False
    codes_only: bool = False
    hook_in: str | None = None
    recorded: dict[str, Any] = field(default_factory=dict)
    unrecorded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Repository:
    """Answers SAELens's downloads from the sample's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def download(self, repo_id: str, filename: str, subfolder: str | None = None, **_: Any) -> str:
        path = self.root / repo_id.rsplit("/", maxsplit=1)[-1] / (subfolder or "") / filename
        if not path.exists():
            raise EntryNotFoundError(f"no {filename} in {repo_id}")
        return str(path)

    def shapes(self, repo_id: str, filename: str) -> dict[str, list[int]]:
        tensors = load_file(self.download(repo_id, filename))
        return {key: list(value.shape) for key, value in tensors.items()}


def load(root: Path, case: Published) -> SAE[Any]:
    """Run ``SAE.from_pretrained`` with its downloads answered from ``root``."""
    repository = Repository(root)
    loaders.hf_hub_download = repository.download
    loaders.get_safetensors_tensor_shapes = repository.shapes
    # The published scales are in a table of SAELens, by release; ours is not there.
    sae_module.get_norm_scaling_factor = lambda *_: case.norm_scaling_factor
    named = loaders.NAMED_PRETRAINED_SAE_LOADERS[case.loader]

    def convert(**arguments: Any) -> Any:
        asked = arguments.pop("cfg_overrides") or {}
        return named(**arguments, cfg_overrides={**asked, **case.overrides})

    return SAE.from_pretrained(case.repo, case.sae_id, converter=convert).eval()


def published(out: Path, name: str, *, case: Published) -> None:
    folder = sae_folder(out, case.library, name)
    case.save(folder / case.repo.split("/")[-1], generator(name))
    sae = load(folder, case)
    x = stable_inputs(name, case.shape, sae.encode, n=case.items)
    data = sae.cfg.metadata
    keys = ("model_name", "context_size", "prepend_bos", "hook_name_out", "hf_hook_name")
    recorded = {key: data[key] for key in keys if data[key] is not None and key not in case.unrecorded}
    with torch.no_grad():
        codes = sae.encode(x)
        sample = Golden(
            name=name,
            architecture=sae.cfg.architecture(),
            class_name=type(sae).__name__,
            path=case.path,
            d_in=sae.cfg.d_in,
            d_sae=sae.cfg.d_sae,
            x=x,
            codes=codes,
            reconstruction=None if case.codes_only else sae(x),
            hook_name=data.hook_name,
            hook_in=case.hook_in,
            notes=["hand-written to the layout SAELens reads", *case.notes],
            recorded=recorded | case.recorded,
            extra={"decode_only": sae.decode(codes)} if case.decode_only else {},
            written_by="hand",
            evaluated_with=f"SAE.from_pretrained with SAELens's {case.loader} loader",
        )
    write(out, case.library, f"sae-lens {VERSION}", sample)


def thresholds(gen: torch.Generator) -> Tensor:
    value = uniform(gen, D_SAE, low=0.1, high=0.9)
    value[3], value[11] = -0.4, -0.8
    return value


# --- Gemma Scope ---------------------------------------------------------------------


def save_npz(
    root: Path, gen: torch.Generator, *, folder: str, lower: bool = False, gain: float = 1.0
) -> None:
    weights = affine_weights(gen, D_IN, D_SAE) | {"threshold": thresholds(gen)}
    weights["W_enc"] = weights["W_enc"] * gain
    weights["W_dec"] = weights["W_dec"] / gain
    named = {key.replace("W_", "w_") if lower else key: value.numpy() for key, value in weights.items()}
    (root / folder).mkdir(parents=True)
    np.savez(root / folder / "params.npz", **named)


def gemma_scope(kind: str, folder: str, *, loader: str = "gemma_2", **changes: Any) -> Published:
    save_options = {key: changes.pop(key) for key in ("lower", "gain") if key in changes}
    repo = f"gemma-scope-2b-pt-{kind}"
    return Published(
        library="gemma_scope",
        loader=loader,
        repo=f"google/{repo}",
        sae_id=folder,
        save=partial(save_npz, folder=folder, **save_options),
        path=f"sae/{repo}/{folder}",
        overrides={"d_in": D_IN, "d_sae": D_SAE} | ({"d_out": D_IN} if kind == "transcoders" else {}),
        **changes,
    )


def gemma_scope_cases() -> dict[str, Published]:
    layer = "layer_3/width_32/average_l0_5"
    return {
        "res": gemma_scope("res", layer),
        "res_lower_case": gemma_scope("res", layer, lower=True),
        "mlp": gemma_scope("mlp", layer),
        "att": gemma_scope("att", layer, shape=(3, 4), notes=("hook_z, flattened over heads",)),
        "embedding": gemma_scope(
            "res",
            "embedding/width_4k/average_l0_6",
            gain=math.sqrt(D_IN),
            notes=("embedding: W_enc / sqrt(d_in), W_dec * sqrt(d_in)",),
        ),
        "transcoder": gemma_scope(
            "transcoders", "layer_3/width_16k/average_l0_5", loader="gemma_2_transcoder"
        ),
    }


# --- Gemma Scope 2 -------------------------------------------------------------------


LAYERS = 2
SAELENS_HOOK = (
    "hook_in is the output of pre_feedforward_layernorm; SAELens's hook_mlp_in is, in "
    "TransformerLens, the residual stream before that norm"
)


def save_gemma_2(
    root: Path,
    gen: torch.Generator,
    *,
    folder: str,
    config: dict[str, Any] | None,
    affine: bool,
) -> None:
    made = affine_weights(gen, D_IN, D_SAE) | {"threshold": thresholds(gen)}
    weights = {key.replace("W_", "w_"): value for key, value in made.items()}
    if affine:
        weights["affine_skip_connection"] = randn(gen, D_IN, D_IN, scale=0.3)
    (root / folder).mkdir(parents=True)
    save_file(weights, root / folder / "params.safetensors")
    if config is not None:
        (root / folder / "config.json").write_text(json.dumps(config, indent=2))


def gemma_scope_2(kind: str, hooks: dict[str, Any], *, affine: bool = False, **changes: Any) -> Published:
    repo = "gemma-scope-2-1b-pt"
    folder = f"{kind}/layer_7_width_32_l0_5" + ("_affine" if affine else "")
    config: dict[str, Any] | None = {
        "architecture": "jump_relu",
        "model_name": "gemma-v3-1b-pt",
        "width": D_SAE,
        **hooks,
    }
    if not hooks:
        config = None
    return Published(
        library="gemma_scope_2",
        loader="gemma_3",
        repo=f"google/{repo}",
        sae_id=folder,
        save=partial(save_gemma_2, folder=folder, config=config, affine=affine),
        path=f"sae/{repo}/{folder}",
        decode_only=affine,
        **changes,
    )


def save_gemma_2_clt(root: Path, gen: torch.Generator, *, folder: str, affine: bool) -> None:
    """One file per layer, each with decoders to all layers; those to earlier ones are not used."""
    (root / folder).mkdir(parents=True)
    for layer in range(LAYERS):
        made = affine_weights(gen, D_IN, D_SAE) | {"threshold": thresholds(gen)}
        weights = {key.replace("W_", "w_"): value for key, value in made.items()}
        weights["w_dec"] = randn(gen, D_SAE, LAYERS, D_IN, scale=0.3)
        if affine:
            weights["affine_skip_connection"] = randn(gen, D_IN, D_IN, scale=0.3)
        save_file(weights, root / folder / f"params_layer_{layer}.safetensors")
    config = {
        "hf_hook_point_in": "model.layers.{all}.pre_feedforward_layernorm.output",
        "hf_hook_point_out": "model.layers.{all}.post_feedforward_layernorm.output",
        "width": LAYERS * D_SAE,
        "model_name": "google/gemma-3-1b-pt",
        "architecture": "jump_relu",
        "l0": 5,
        "affine_connection": affine,
        "type": "clt",
    }
    (root / folder / "config.json").write_text(json.dumps(config, indent=2))


def gemma_scope_2_clt(*, affine: bool = False) -> Published:
    repo, layer = "gemma-scope-2-1b-pt", 1
    folder = "clt/width_48_l0_5" + ("_affine" if affine else "")
    return Published(
        library="gemma_scope_2",
        loader="gemma_3",
        repo=f"google/{repo}",
        sae_id=f"{folder}/params_layer_{layer}",
        save=partial(save_gemma_2_clt, folder=folder, affine=affine),
        path=f"sae/{repo}/{folder}/params_layer_{layer}.safetensors",
        codes_only=True,
        hook_in=f"blocks.{layer}.mlp.hook_in",
        unrecorded=("hook_name_out",),
        notes=(
            "one layer of a cross-layer transcoder: codes alone; SAELens sums the decoders",
            SAELENS_HOOK,
        ),
    )


def gemma_scope_2_cases() -> dict[str, Published]:
    between = {
        "hf_hook_point_in": "model.layers.7.pre_feedforward_layernorm.output",
        "hf_hook_point_out": "model.layers.7.post_feedforward_layernorm.output",
    }
    resid = {"hf_hook_point_in": "model.layers.7.output"}
    skip_note = (
        "affine_skip_connection is stored (d_in, d_out): x @ it. SAELens before 6.54 applied its transpose",
    )
    return {
        "resid_post": gemma_scope_2("resid_post", resid),
        "resid_post_no_config": gemma_scope_2(
            "resid_post", {}, notes=("no config.json: everything from the path",)
        ),
        "attn_out": gemma_scope_2("attn_out", {"hf_hook_point_in": "model.layers.7.self_attn.o_proj.input"}),
        "mlp_out": gemma_scope_2(
            "mlp_out", {"hf_hook_point_in": "model.layers.7.post_feedforward_layernorm.output"}
        ),
        "transcoder": gemma_scope_2(
            "transcoder",
            between | {"affine_connection": False},
            hook_in="blocks.7.mlp.hook_in",
            notes=(SAELENS_HOOK,),
        ),
        "transcoder_affine": gemma_scope_2(
            "transcoder",
            between | {"affine_connection": True},
            affine=True,
            hook_in="blocks.7.mlp.hook_in",
            notes=(*skip_note, SAELENS_HOOK),
        ),
        "clt": gemma_scope_2_clt(),
        "clt_affine": gemma_scope_2_clt(affine=True),
    }


# --- Llama Scope ---------------------------------------------------------------------


def transposed(gen: torch.Generator) -> Weights:
    """Both matrices as nn.Linear keeps them."""
    made = affine_weights(gen, D_IN, D_SAE)
    return {
        "encoder.weight": made["W_enc"].T.contiguous(),
        "encoder.bias": made["b_enc"],
        "decoder.weight": made["W_dec"].T.contiguous(),
        "decoder.bias": made["b_dec"],
    }


LLAMA_NORM = 7.5
LLAMA_NAME = "Llama3_1-8B-Base-L7R-8x"


def save_llama_scope(root: Path, gen: torch.Generator) -> None:
    folder = root / LLAMA_NAME
    (folder / "checkpoints").mkdir(parents=True)
    save_file(transposed(gen), folder / "checkpoints" / "final.safetensors")
    config = {
        "hook_point_in": "blocks.7.hook_resid_post",
        "hook_point_out": "blocks.7.hook_resid_post",
        "use_decoder_bias": True,
        "apply_decoder_bias_to_pre_encoder": False,
        "expansion_factor": D_SAE // D_IN,
        "d_model": D_IN,
        "d_sae": D_SAE,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": {"in": LLAMA_NORM, "out": LLAMA_NORM},
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.9,
        "sparsity_include_decoder_norm": False,
    }
    (folder / "hyperparams.json").write_text(json.dumps(config, indent=4))


def save_llama_distill(root: Path, gen: torch.Generator) -> None:
    folder = root / "400M-Slimpajama-400M-OpenR1-Math-220k" / "L7R"
    folder.mkdir(parents=True)
    log_threshold = uniform(gen, D_SAE, low=0.1, high=0.9).log()
    weights = transposed(gen) | {"log_jumprelu_threshold": log_threshold}
    save_file(weights, folder / "sae_weights.safetensors")
    config = {
        "sae_type": "sae",
        "d_model": D_IN,
        "expansion_factor": D_SAE // D_IN,
        "hook_point_in": "blocks.7.hook_resid_post",
        "hook_point_out": "blocks.7.hook_resid_post",
        "use_decoder_bias": True,
        "use_glu_encoder": False,
        "act_fn": "jumprelu",
        "apply_decoder_bias_to_pre_encoder": False,
        "norm_activation": "inference",
        "sparsity_include_decoder_norm": False,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=4))


def llama_cases() -> dict[str, Published]:
    distill = "400M-Slimpajama-400M-OpenR1-Math-220k/L7R"
    return {
        "base": Published(
            library="llama_scope",
            loader="llama_scope",
            repo="fnlp/Llama3_1-8B-Base-LXR-8x",
            sae_id=LLAMA_NAME,
            save=save_llama_scope,
            path=f"sae/Llama3_1-8B-Base-LXR-8x/{LLAMA_NAME}",
            norm_scaling_factor=math.sqrt(D_IN) / LLAMA_NORM,
            recorded={"norm_scaling_factor": math.sqrt(D_IN) / LLAMA_NORM},
            notes=(
                "s = sqrt(d_model) / norm_in multiplies input and threshold, divides output",
                "SAELens ignores sparsity_include_decoder_norm, which is off here and on in published files",
            ),
        ),
        "r1_distill": Published(
            library="llama_scope",
            loader="llama_scope_r1_distill",
            repo="fnlp/Llama-Scope-R1-Distill",
            sae_id=distill,
            save=save_llama_distill,
            path=f"sae/Llama-Scope-R1-Distill/{distill}",
            recorded={"model_name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
            notes=(
                "threshold = exp(log_jumprelu_threshold); no scale is applied",
                "the model is by the name of the repository; SAELens says meta-llama/Llama-3.1-8B",
            ),
        ),
    }


# --- Single files --------------------------------------------------------------------


def save_goodfire(root: Path, gen: torch.Generator) -> None:
    root.mkdir(parents=True)
    weights = transposed(gen)
    state = {
        key.replace("encoder.", "encoder_linear.").replace("decoder.", "decoder_linear."): value
        for key, value in weights.items()
    }
    torch.save(state, root / "Llama-3.1-8B-Instruct-SAE-l19.pth")


def save_qwen(root: Path, gen: torch.Generator) -> None:
    root.mkdir(parents=True)
    made = affine_weights(gen, D_IN, D_SAE)
    made["W_enc"] = made["W_enc"].T.contiguous()
    made["W_dec"] = made["W_dec"].T.contiguous()
    torch.save(made, root / "layer5.sae.pt")


def save_deepseek(root: Path, gen: torch.Generator) -> None:
    root.mkdir(parents=True)
    torch.save(transposed(gen), root / "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt")


HEADS = "gpt2-small_L5_Hcat_z_lr1.20e-03_l11.80e+00_ds24_bs4096_dc1.00e-06_rsanthropic_rie25000"


def save_hook_z(root: Path, gen: torch.Generator) -> None:
    root.mkdir(parents=True)
    torch.save(affine_weights(gen, D_IN, D_SAE), root / f"{HEADS}.pt")
    config = {
        "act_name": "blocks.5.attn.hook_z",
        "act_size": D_IN,
        "dict_size": D_SAE,
        "layer": 5,
        "model_name": "gpt2-small",
    }
    (root / f"{HEADS}_cfg.json").write_text(json.dumps(config))


def save_per_layer(root: Path, gen: torch.Generator) -> None:
    root.mkdir(parents=True)
    made = affine_weights(gen, D_IN, D_SAE)
    made["W_enc"] = made["W_enc"].T.contiguous()
    save_file(made, root / "layer_5.safetensors")
    config = {
        "model_name": "Qwen/Qwen3-0.6B",
        "model_kind": "transcoder_set",
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "hook_mlp_out",
    }
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    run = {"d_model": D_IN, "d_feature": D_SAE, "batch_size": 128}
    values = {key: {"value": value} for key, value in run.items()}
    (root / "wandb-config.yaml").write_text(yaml.safe_dump(values))


def save_temporal(root: Path, gen: torch.Generator) -> None:
    folder = root / "layer_5" / "temporal"
    folder.mkdir(parents=True)
    width = 8
    shapes = {
        f"attn_layers.0.{name}.{part}": (rows, D_SAE) if part == "weight" else (rows,)
        for name, rows in {"k_ctx": 8, "q_target": 8, "v_ctx": 24, "c_proj": 24}.items()
        for part in ("weight", "bias")
    }
    weights = {key: randn(gen, *shape, scale=D_SAE**-0.5) for key, shape in shapes.items()}
    weights |= {"D": randn(gen, D_SAE, width), "b": randn(gen, width, scale=0.3)}
    save_file(weights, folder / "latest_ckpt.safetensors")
    config = {
        "llm": {"dimin": width},
        "data": {"dtype": "float32"},
        "sae": {
            "exp_factor": D_SAE // width,
            "n_heads": 2,
            "n_attn_layers": 1,
            "bottleneck_factor": 3,
            "sae_diff_type": "topk",
            "kval_topk": 5,
            "tied_weights": True,
            "scaling_factor": 0.4,
        },
    }
    (folder / "conf.yaml").write_text(yaml.safe_dump(config))


def single_cases() -> dict[str, dict[str, Published]]:
    sizes = {"d_in": D_IN, "d_sae": D_SAE}
    qwen = f"SAE-Res-Qwen3-1.7B-Base-W1K-L0_{K}"
    deepseek = "DeepSeek-R1-Distill-Llama-8B-SAE-l19"
    goodfire = "Llama-3.1-8B-Instruct-SAE-l19"
    return {
        "goodfire": {
            "l19": Published(
                library="goodfire",
                loader="goodfire",
                repo=f"Goodfire/{goodfire}",
                sae_id=f"{goodfire}.pth",
                save=save_goodfire,
                path=f"sae/{goodfire}/{goodfire}.pth",
                overrides=sizes,
            )
        },
        "qwen_scope": {
            "res": Published(
                library="qwen_scope",
                loader="qwen_scope",
                repo=f"Qwen/{qwen}",
                sae_id="layer5.sae.pt",
                save=save_qwen,
                path=f"sae/{qwen}/layer5.sae.pt",
                overrides=sizes,
                recorded={"k": K},
                notes=("k is in the repository's name only; b_dec is not subtracted",),
            )
        },
        "deepseek_r1": {
            "l19": Published(
                library="deepseek_r1",
                loader="deepseek_r1",
                repo=f"qresearch/{deepseek}",
                sae_id=f"{deepseek}.pt",
                save=save_deepseek,
                path=f"sae/{deepseek}/{deepseek}.pt",
                overrides=sizes,
            )
        },
        "hook_z_attention": {
            "concatenated_heads": Published(
                library="hook_z_attention",
                loader="connor_rob_hook_z",
                repo="ckkissane/attn-saes-gpt2-small-all-layers",
                sae_id=f"{HEADS}.pt",
                save=save_hook_z,
                path=f"sae/attn-saes-gpt2-small-all-layers/{HEADS}.pt",
                shape=(3, 4),
            )
        },
        "per_layer_transcoder": {
            "relu": Published(
                library="per_layer_transcoder",
                loader="mwhanna_transcoder",
                repo="mwhanna/qwen3-0.6b-transcoders-lowl0",
                sae_id="layer_5.safetensors",
                save=save_per_layer,
                path="sae/qwen3-0.6b-transcoders-lowl0/layer_5.safetensors",
                unrecorded=("context_size",),
                notes=(
                    "W_enc is stored (d_sae, d_in)",
                    "SAELens takes batch_size of wandb-config.yaml for the context length",
                ),
            )
        },
        "temporal": {
            "topk": Published(
                library="temporal",
                loader="temporal",
                repo="canrager/temporalSAEs",
                sae_id="layer_5/temporal",
                save=save_temporal,
                path="sae/temporalSAEs/layer_5/temporal",
                shape=(8, 8),
                items=4,
                decode_only=True,
                notes=("x is [sequences, positions, d_in]",),
            )
        },
    }


def samples() -> dict[str, Build]:
    """Every sample, by ``publisher/name``."""
    groups = {
        "gemma_scope": gemma_scope_cases(),
        "gemma_scope_2": gemma_scope_2_cases(),
        "llama_scope": llama_cases(),
        **single_cases(),
    }
    built: dict[str, Build] = {}
    for group, cases in groups.items():
        for name, case in cases.items():
            built[f"{group}/{name}"] = partial(build_case, case=case, short=name)
    return built


def build_case(out: Path, name: str, *, case: Published, short: str) -> None:
    """Drop the publisher from the name: it is the folder above."""
    del name
    published(out, short, case=case)
