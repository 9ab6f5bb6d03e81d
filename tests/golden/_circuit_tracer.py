"""Golden samples of circuit-tracer: transcoders saved and evaluated by its own classes.

Its classes save weights and nothing else. The ``config.yaml`` of a repository is written by
whoever publishes one; here by hand, with the fields that the library reads from it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import torch
import yaml
from _common import (
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
from torch.nn import functional

# Imported by the module that draws graphs, on the way to the classes; never used here.
sys.modules["transformers"] = ModuleType("transformers")
vars(sys.modules["transformers"])["AutoTokenizer"] = MagicMock()

from circuit_tracer.transcoder.activation_functions import JumpReLU  # noqa: E402
from circuit_tracer.transcoder.cross_layer_transcoder import (  # noqa: E402
    CrossLayerTranscoder,
    load_clt,
)
from circuit_tracer.transcoder.single_layer_transcoder import (  # noqa: E402
    SingleLayerTranscoder,
    load_relu_transcoder,
)

LIBRARY = "circuit_tracer"
VERSION = "circuit-tracer " + version("circuit-tracer")
D_MODEL, D_SAE, LAYERS = 12, 24, 3
CPU = torch.device("cpu")
MODEL = "meta-llama/Llama-3.2-1B"


def thresholds(gen: torch.Generator) -> Tensor:
    """One negative: it lets negative codes through, since the library applies no ReLU below it."""
    value = uniform(gen, D_SAE, low=0.1, high=0.9)
    value[3] = -0.3
    return value


def save_config(folder: Path, kind: str) -> dict[str, str]:
    """What publishers write beside the weights; returns what of it a reader should find."""
    config = {
        "model_name": MODEL,
        "model_kind": kind,
        "feature_input_hook": "hook_resid_mid",
        "feature_output_hook": "hook_mlp_out",
        "scan": "example-transcoders",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return {"model_name": MODEL}


@dataclass(frozen=True)
class PerLayer:
    """What one per-layer transcoder is like."""

    jump: bool = False
    skip: bool = False
    config: bool = True
    dtype: torch.dtype = torch.float32
    notes: tuple[str, ...] = ()


def per_layer(out: Path, name: str, *, case: PerLayer, layer: int = 5) -> None:
    folder, gen = sae_folder(out, LIBRARY, name), generator(name)
    made = affine_weights(gen, D_MODEL, D_SAE)
    values = made | {"W_enc": made["W_enc"].T}
    activation = JumpReLU(thresholds(gen).to(case.dtype)) if case.jump else functional.relu
    if case.skip:
        values["W_skip"] = randn(gen, D_MODEL, D_MODEL, scale=0.3)
    saved = SingleLayerTranscoder(
        D_MODEL, D_SAE, activation, layer, skip_connection=case.skip, device=CPU, dtype=case.dtype
    )
    set_parameters(saved, values)
    path = folder / f"layer_{layer}.safetensors"
    saved.to_safetensors(str(path))
    recorded = save_config(folder, "transcoder_set") if case.config else {}
    sae = load_relu_transcoder(
        str(path), layer, device=CPU, dtype=torch.float32, lazy_encoder=False, lazy_decoder=False
    )
    x = stable_inputs(name, (D_MODEL,), sae.encode)
    with torch.no_grad():
        codes = sae.encode(x)
        sample = Golden(
            name=name,
            architecture="skip_transcoder" if case.skip else "transcoder",
            class_name=type(sae).__name__,
            path=f"sae/{path.name}",
            d_in=D_MODEL,
            d_sae=D_SAE,
            x=x,
            codes=codes,
            reconstruction=sae(x),
            hook_name=f"blocks.{layer}.hook_resid_mid" if case.config else None,
            recorded=recorded | ({"hook_name_out": f"blocks.{layer}.hook_mlp_out"} if case.config else {}),
            # Without inputs the library refuses to decode where there is a skip connection.
            extra={"decode_only": codes @ sae.W_dec + sae.b_dec} if case.skip else {},
            notes=["W_enc is stored [d_sae, d_in]", *case.notes],
            evaluated_with="load_relu_transcoder, encode and forward",
        )
    write(out, LIBRARY, VERSION, sample)


def cross_layer(out: Path, name: str, *, jump: bool, layer: int) -> None:
    folder, gen = sae_folder(out, LIBRARY, name), generator(name)
    saved = CrossLayerTranscoder(
        LAYERS,
        D_SAE,
        D_MODEL,
        activation_function="jump_relu" if jump else "relu",
        lazy_decoder=False,
        device=CPU,
        dtype=torch.float32,
    )
    made = [affine_weights(gen, D_MODEL, D_SAE) for _ in range(LAYERS)]
    values = {key: torch.stack([each[key] for each in made]) for key in ("b_enc", "b_dec")}
    values["W_enc"] = torch.stack([each["W_enc"].T for each in made])
    for i in range(LAYERS):
        values[f"W_dec.{i}"] = randn(gen, D_SAE, LAYERS - i, D_MODEL, scale=0.3)
    if jump:
        values["activation_function.threshold"] = torch.stack([thresholds(gen)[None] for _ in made])
    set_parameters(saved, values)
    saved.to_safetensors(str(folder))
    recorded = save_config(folder, "cross_layer_transcoder")
    sae = load_clt(str(folder), device=CPU, dtype=torch.float32, lazy_decoder=False)
    encode = partial(sae.encode_layer, layer_id=layer)
    x = stable_inputs(name, (D_MODEL,), encode)
    with torch.no_grad():
        sample = Golden(
            name=name,
            architecture="cross_layer_transcoder",
            class_name=type(sae).__name__,
            path=f"sae/W_enc_{layer}.safetensors",
            d_in=D_MODEL,
            d_sae=D_SAE,
            x=x,
            codes=encode(x),
            reconstruction=None,
            hook_name=f"blocks.{layer}.hook_resid_mid",
            recorded=recorded,
            notes=[f"layer {layer} of {LAYERS}; what it writes is only a part of any layer's output"],
            evaluated_with="load_clt and encode_layer",
        )
    write(out, LIBRARY, VERSION, sample)


def samples() -> dict[str, Build]:
    """Every sample by name."""
    plain = {
        "relu": PerLayer(),
        "no_config": PerLayer(config=False, notes=("no config.yaml: hooks and model are unknown",)),
        "jumprelu": PerLayer(jump=True, notes=("f = h where h > threshold, without a ReLU",)),
        "skip": PerLayer(skip=True, notes=("W_skip is stored [d_out, d_in]: x W_skip^T",)),
        "jumprelu_skip": PerLayer(jump=True, skip=True),
        "bfloat16": PerLayer(dtype=torch.bfloat16, notes=("saved in bfloat16, evaluated in float32",)),
    }
    built: dict[str, Build] = {
        f"per_layer_{name}": partial(per_layer, case=case) for name, case in plain.items()
    }
    built["cross_layer_relu"] = partial(cross_layer, jump=False, layer=0)
    built["cross_layer_jumprelu"] = partial(cross_layer, jump=True, layer=1)
    return built
