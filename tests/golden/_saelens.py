"""Golden samples of SAELens: every architecture its classes can save.

Unless a sample says otherwise, the SAE is saved by the library's own method, read back
by ``SAE.load_from_disk`` and evaluated by that object's ``encode`` and ``forward``.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from _common import (
    D_IN,
    D_SAE,
    Build,
    Golden,
    affine_weights,
    candidate_inputs,
    generator,
    randn,
    sae_folder,
    set_parameters,
    stable_inputs,
    uniform,
    write,
)
from safetensors.torch import save_file
from torch import Tensor

warnings.filterwarnings("ignore")

import sae_lens  # noqa: E402
from sae_lens.saes.sae import SAE, SAEMetadata, TrainingSAE  # noqa: E402
from sae_lens.training.activation_scaler import ActivationScaler  # noqa: E402

D_OUT = 10
K = 10
VERSION: str = sae_lens.__version__
NEWER = tuple(int(part) for part in VERSION.split(".")[:2]) >= (6, 54)
LIBRARY = "sae_lens_6_54" if NEWER else "sae_lens"

Weights = dict[str, Tensor]


def metadata(**changes: Any) -> SAEMetadata:
    """Where the SAE reads, with values that differ from every library default."""
    values: dict[str, Any] = {
        "model_name": "gpt2-small",
        "hook_name": "blocks.7.hook_resid_post",
        "hook_head_index": None,
        "context_size": 192,
        "prepend_bos": False,
        "dataset_path": "example/corpus",
        "exclude_special_tokens": False,
        "seqpos_slice": [1, None],
        "model_from_pretrained_kwargs": {"center_writing_weights": False},
    }
    return SAEMetadata(**{**values, **changes})


def threshold(gen: torch.Generator, d_sae: int = D_SAE) -> Tensor:
    """Mostly positive; two are negative, where only the ReLU keeps a code at zero."""
    value = uniform(gen, d_sae, low=0.1, high=0.9)
    value[3], value[11] = -0.4, -0.8
    return value


def edge_weights(gen: torch.Generator, make: Callable[[torch.Generator], Weights]) -> Weights:
    """Latent 5 has no encoder, so what it is compared with is exactly its own bias.

    Its pre-activation equals its threshold (its gate is exactly zero) in any arithmetic:
    the comparison is strict, so the code must be 0.
    """
    weights = make(gen)
    weights["W_enc"][:, 5] = 0.0
    if "b_gate" in weights:
        weights["b_gate"][5], weights["b_mag"][5] = 0.0, 0.5
    else:
        weights["b_enc"][5] = weights["threshold"][5] = 0.5
    return weights


def gated_weights(gen: torch.Generator) -> Weights:
    weights = affine_weights(gen, D_IN, D_SAE)
    del weights["b_enc"]
    return weights | {
        "b_gate": randn(gen, D_SAE, scale=0.6) - 0.3,
        "b_mag": randn(gen, D_SAE, scale=0.5),
        "r_mag": randn(gen, D_SAE, scale=0.5),
    }


def jumprelu_weights(gen: torch.Generator) -> Weights:
    return affine_weights(gen, D_IN, D_SAE) | {"threshold": threshold(gen)}


def plain_weights(gen: torch.Generator) -> Weights:
    return affine_weights(gen, D_IN, D_SAE)


def transcoder_weights(gen: torch.Generator, *, jump: bool, skip: bool) -> Weights:
    weights = affine_weights(gen, D_IN, D_SAE, D_OUT)
    if jump:
        weights["threshold"] = threshold(gen)
    if skip:
        weights["W_skip"] = randn(gen, D_OUT, D_IN, scale=0.3)
    return weights


def pursuit_weights(gen: torch.Generator, *, unit: bool) -> Weights:
    """Decoder of unit rows, or of rows near one: longer rows make the pursuit diverge."""
    rows = randn(gen, D_SAE, D_IN)
    rows = rows / rows.norm(dim=-1, keepdim=True)
    if not unit:
        rows = rows * uniform(gen, D_SAE, 1, low=0.7, high=1.1)
    return {"W_dec": rows, "b_dec": randn(gen, D_IN, scale=0.5)}


def config(name: str, **fields: Any) -> Any:
    """A configuration of the class called ``name``, with our sizes and metadata."""
    defaults: dict[str, Any] = {"d_in": D_IN, "d_sae": D_SAE, "metadata": metadata()}
    cls = getattr(sae_lens, name + "Config")
    return cls(**{**defaults, **fields})


def build(name: str, weights: Weights, **fields: Any) -> Any:
    sae = getattr(sae_lens, name)(config(name, **fields))
    set_parameters(sae, weights)
    return sae.eval()


def recorded(cfg: Any) -> dict[str, Any]:
    """The facts a reader should find in the files."""
    data = cfg.metadata
    keys = ("model_name", "context_size", "prepend_bos", "dataset_path", "hook_name_out")
    facts = {key: data[key] for key in keys if data[key] is not None}
    for key in ("k", "apply_b_dec_to_input", "normalize_activations", "reshape_activations"):
        if getattr(cfg, key, None) is not None:
            facts[key] = getattr(cfg, key)
    return facts | {"dtype": cfg.dtype}


def evaluate(
    name: str, sae: SAE[Any], shape: tuple[int, ...], *, items: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs without near-ties, the library's codes, and its full forward."""
    x = stable_inputs(name, shape, sae.encode, n=items)
    with torch.no_grad():
        return x, sae.encode(x), sae(x)


def finish(
    out: Path,
    name: str,
    sae: SAE[Any],
    *,
    architecture: str,
    class_name: str,
    shape: tuple[int, ...] = (D_IN,),
    items: int = 32,
    decode_only: bool = False,
    notes: tuple[str, ...] = (),
    extra: dict[str, Tensor] | None = None,
    facts: dict[str, Any] | None = None,
    evaluated_with: str = "SAE.load_from_disk, encode, forward",
    written_by: Literal["library", "hand"] = "library",
    results: tuple[Tensor, Tensor, Tensor] | None = None,
) -> None:
    x, codes, reconstruction = results or evaluate(name, sae, shape, items=items)
    tensors = dict(extra or {})
    if decode_only:
        with torch.no_grad():
            tensors["decode_only"] = sae.decode(codes)
    sample = Golden(
        name=name,
        architecture=architecture,
        class_name=class_name,
        path="sae",
        d_in=sae.cfg.d_in,
        d_sae=sae.cfg.d_sae,
        x=x,
        codes=codes,
        reconstruction=reconstruction,
        hook_name=sae.cfg.metadata.hook_name,
        notes=list(notes),
        recorded={**recorded(sae.cfg), **(facts or {})},
        extra=tensors,
        evaluated_with=evaluated_with,
        written_by=written_by,
    )
    write(out, LIBRARY, f"sae-lens {VERSION}", sample)


def inference(
    out: Path,
    name: str,
    *,
    cls: str,
    weights: Callable[[torch.Generator], Weights] = plain_weights,
    shape: tuple[int, ...] = (D_IN,),
    items: int = 32,
    decode_only: bool = False,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> None:
    """An inference class, saved by ``save_model``."""
    sae = build(cls, weights(generator(name)), **fields)
    folder = sae_folder(out, LIBRARY, name)
    sae.save_model(folder)
    loaded = SAE.load_from_disk(folder).eval()
    finish(
        out,
        name,
        loaded,
        architecture=sae.cfg.architecture(),
        class_name=cls,
        shape=shape,
        items=items,
        decode_only=decode_only,
        notes=notes,
    )


def trained(
    out: Path,
    name: str,
    *,
    cls: str,
    weights: Callable[[torch.Generator], Weights] = plain_weights,
    topk_threshold: float | None = None,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> None:
    """A training class, saved by ``save_inference_model``: what a finished run leaves."""
    sae = build(cls, weights(generator(name)), **fields)
    if topk_threshold is not None:
        sae.topk_threshold.fill_(topk_threshold)
    folder = sae_folder(out, LIBRARY, name)
    sae.save_inference_model(folder)
    # The runner saves the log10 firing frequencies next to the weights.
    frequency = uniform(generator(name + "/sparsity"), D_SAE, low=-4.0, high=-0.5)
    save_file({"sparsity": frequency}, folder / "sparsity.safetensors")
    loaded = SAE.load_from_disk(folder).eval()
    written = json.loads((folder / "cfg.json").read_text())
    finish(
        out,
        name,
        loaded,
        architecture=written["architecture"],
        class_name=cls,
        notes=notes,
        facts={"training_architecture": written["metadata"]["training_architecture"]},
    )


def inference_twin(sae: TrainingSAE[Any]) -> SAE[Any]:
    """What the training object becomes when its run ends."""
    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        return SAE.load_from_disk(folder).eval()


def checkpoint(
    out: Path,
    name: str,
    *,
    cls: str,
    weights: Callable[[torch.Generator], Weights] = plain_weights,
    topk_threshold: float | None = None,
    scaling_factor: float | None = None,
    whitened: bool = False,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> None:
    """A training class, saved by ``save_model``: what a run leaves half-way.

    ``SAE.load_from_disk`` refuses some of these (batchtopk), so the codes are those of
    the inference SAE that the same object becomes.
    """
    sae = build(cls, weights(generator(name)), **fields)
    if topk_threshold is not None:
        sae.topk_threshold.fill_(topk_threshold)
    folder = sae_folder(out, LIBRARY, name)
    sae.save_model(folder)
    # Both files are what the trainer adds to a checkpoint folder (beside an optimizer
    # state that a reader has no use for).
    frequency = uniform(generator(name + "/sparsity"), D_SAE, low=-4.0, high=-0.5)
    save_file({"sparsity": frequency}, folder / "sparsity.safetensors")
    scaler = ActivationScaler(scaling_factor)
    if whitened:
        batches = iter([candidate_inputs(generator(name + "/training"), D_IN, 512)])
        scaler.estimate_whitening(D_IN, batches, n_batches_for_norm_estimate=1)
    scaler.save(str(folder / "activation_scaler.json"))
    twin = inference_twin(sae)
    x = stable_inputs(name, (D_IN,), lambda value: twin.encode(scaler.scale(value)))
    with torch.no_grad():
        codes = twin.encode(scaler.scale(x))
        reconstruction = scaler.unscale(twin.decode(codes))
        check_checkpoint(sae, scaler.scale(x), codes, twin.decode(codes), topk_threshold)
    facts: dict[str, Any] = {"training_architecture": sae.cfg.architecture()}
    if scaling_factor is not None:
        facts["activation_scaler.scaling_factor"] = scaling_factor
    finish(
        out,
        name,
        sae,
        architecture=sae.cfg.architecture(),
        class_name=cls,
        notes=notes,
        facts=facts,
        evaluated_with="save_inference_model of the same object, then SAE.load_from_disk",
        results=(x, codes, reconstruction),
    )


def check_checkpoint(
    sae: TrainingSAE[Any], x: Tensor, codes: Tensor, decoded: Tensor, cutoff: float | None
) -> None:
    """The raw weights of a checkpoint must give the codes of its inference twin."""
    _, pre = sae.encode_with_hidden_pre(x)
    expected = pre.relu() * (pre > cutoff) if cutoff is not None else sae.encode(x)
    torch.testing.assert_close(codes, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(decoded, sae.decode(expected), rtol=1e-5, atol=1e-5)


def half_precision(
    out: Path, name: str, *, cls: str, dtype: str, weights: Callable[[torch.Generator], Weights]
) -> None:
    """Weights stored in 16 bits. ``codes`` come from loading them as float32.

    What the library gives at the recorded dtype is kept as ``codes_native``; in 16 bits
    its rounding depends on the kernel, so a reader should not be held to it closely.
    """
    sae = build(cls, weights(generator(name)), dtype=dtype)
    folder = sae_folder(out, LIBRARY, name)
    sae.save_model(folder)
    loaded = SAE.load_from_disk(folder, dtype="float32").eval()
    native = SAE.load_from_disk(folder).eval()
    x, codes, reconstruction = evaluate(name, loaded, (D_IN,), items=32)
    with torch.no_grad():
        extra = {"codes_native": native.encode(x), "reconstruction_native": native(x)}
    finish(
        out,
        name,
        loaded,
        architecture=sae.cfg.architecture(),
        class_name=cls,
        extra=extra,
        facts={"dtype": dtype},
        notes=("codes: SAE.load_from_disk(dtype='float32'); *_native: at the stored dtype",),
        results=(x, codes, reconstruction),
    )


def temporal_weights(gen: torch.Generator, sae: SAE[Any]) -> Weights:
    """Every parameter at random, attention included; gains that keep the codes moderate."""
    weights = {}
    for key, value in sae.named_parameters():
        fan_in = value.shape[-1] if value.ndim > 1 else 1
        weights[key] = randn(gen, *value.shape, scale=0.3 if fan_in == 1 else fan_in**-0.5)
    weights["W_dec"] = weights["W_dec"] * 3
    return weights


def temporal(out: Path, name: str, **fields: Any) -> None:
    """Works on sequences: x is [sequences, positions, d_in]; the codes exclude the prediction."""
    sizes = {"n_heads": 2, "bottleneck_factor": 3, "n_attn_layers": 1}
    cfg = config("TemporalSAE", d_in=8, **sizes, **fields)
    sae = sae_lens.TemporalSAE(cfg)
    set_parameters(sae, temporal_weights(generator(name), sae))
    folder = sae_folder(out, LIBRARY, name)
    sae.save_model(folder)
    loaded = SAE.load_from_disk(folder).eval()
    finish(
        out,
        name,
        loaded,
        architecture="temporal",
        class_name="TemporalSAE",
        shape=(8, 8),
        items=4,
        decode_only=True,
        facts={"tied_weights": cfg.tied_weights, "sae_diff_type": cfg.sae_diff_type},
        notes=(
            (
                "codes are the novel codes; forward also decodes codes predicted by attention,"
                " so decode(codes) is not forward(x)"
            ),
        ),
    )


def legacy(
    out: Path,
    name: str,
    *,
    cfg: dict[str, Any],
    weights: Weights | Callable[[torch.Generator], Weights] = plain_weights,
    shape: tuple[int, ...] = (D_IN,),
    notes: tuple[str, ...] = (),
) -> None:
    """The layout before version 6: configuration written by hand, read by the legacy loader."""
    folder = sae_folder(out, LIBRARY, name)
    tensors = weights(generator(name)) if callable(weights) else weights
    save_file(tensors, folder / "sae_weights.safetensors")
    base = {
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "torch.float32",
        "device": "cpu",
        "model_name": "gpt2-small",
        "prepend_bos": True,
        "dataset_path": "example/corpus",
        "context_size": 192,
    }
    document = {key: value for key, value in {**base, **cfg}.items() if value != "omit"}
    (folder / "cfg.json").write_text(json.dumps(document))
    loaded = SAE.load_from_disk(folder).eval()
    finish(
        out,
        name,
        loaded,
        architecture=loaded.cfg.architecture(),
        class_name=type(loaded).__name__,
        shape=shape,
        notes=("hand-written config", *notes),
        evaluated_with="SAE.load_from_disk (its handling of configs before 6.0)",
        written_by="hand",
    )


NEW_KEYS = {"hook_name": "blocks.7.hook_resid_post", "hook_layer": 7, "hook_head_index": None}
OLD_KEYS = {
    "hook_point": "blocks.7.hook_resid_post",
    "hook_point_layer": 7,
    "hook_point_head_index": None,
}


def legacy_samples() -> dict[str, Build]:
    ones = lambda gen: plain_weights(gen) | {"scaling_factor": torch.ones(D_SAE)}
    topk = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    v5 = {"sae_lens_training_version": "5.0.0", "finetuning_scaling_factor": False}
    cases: dict[str, dict[str, Any]] = {
        "legacy_standard": {
            "cfg": OLD_KEYS | {"normalize_activations": False, "prepend_bos": "omit"},
            "notes": ("hook_point keys, boolean normalisation, no architecture or prepend_bos",),
        },
        "legacy_no_input_bias": {
            "cfg": NEW_KEYS | v5 | {"architecture": "standard", "apply_b_dec_to_input": False},
        },
        "legacy_topk": {
            "cfg": NEW_KEYS | v5 | topk | {"architecture": "standard"},
            "notes": ("architecture says standard; the activation function says topk",),
        },
        "legacy_topk_unnamed": {
            "cfg": OLD_KEYS | {"activation_fn": "topk", "activation_fn_kwargs": {"k": K}},
        },
        "legacy_jumprelu": {
            "cfg": NEW_KEYS | v5 | {"architecture": "jumprelu", "activation_fn_str": "relu"},
            "weights": jumprelu_weights,
        },
        "legacy_gated": {
            "cfg": NEW_KEYS | v5 | {"architecture": "gated", "dtype": "float32"},
            "weights": gated_weights,
        },
        "legacy_hook_z": {
            "cfg": {"hook_name": "blocks.7.attn.hook_z", "hook_layer": 7},
            "shape": (3, 4),
            "notes": ("no reshape_activations key: inferred from the hook's name",),
        },
        "legacy_scaling_factor_ones": {
            "cfg": NEW_KEYS | {"finetuning_scaling_factor": False},
            "weights": ones,
            "notes": ("scaling_factor is all ones and is dropped",),
        },
        "legacy_normalize_true": {
            "cfg": OLD_KEYS | {"normalize_activations": True},
            "notes": ("true means expected_average_only_in: load_from_disk scales nothing",),
        },
        "legacy_layer_norm": {
            "cfg": NEW_KEYS | v5 | topk | {"normalize_activations": "layer_norm"},
        },
    }
    return {name: partial(legacy, **case) for name, case in cases.items()}


def inference_samples() -> dict[str, Build]:
    cases: dict[str, dict[str, Any]] = {
        "standard": {"cls": "StandardSAE"},
        "standard_no_input_bias": {"cls": "StandardSAE", "apply_b_dec_to_input": False},
        "topk": {"cls": "TopKSAE", "k": K},
        "topk_rescale": {"cls": "TopKSAE", "k": K, "rescale_acts_by_decoder_norm": True},
        "jumprelu": {"cls": "JumpReLUSAE", "weights": jumprelu_weights},
        "jumprelu_no_input_bias": {
            "cls": "JumpReLUSAE",
            "weights": jumprelu_weights,
            "apply_b_dec_to_input": False,
        },
        "jumprelu_at_threshold": {
            "cls": "JumpReLUSAE",
            "weights": partial(edge_weights, make=jumprelu_weights),
            "notes": ("latent 5 lies exactly at its threshold: code 0",),
        },
        "gated": {"cls": "GatedSAE", "weights": gated_weights},
        "gated_at_zero": {
            "cls": "GatedSAE",
            "weights": partial(edge_weights, make=gated_weights),
            "notes": ("the gate of latent 5 is exactly zero and its magnitude is not: code 0",),
        },
        "matching_pursuit": {
            "cls": "MatchingPursuitSAE",
            "weights": partial(pursuit_weights, unit=True),
            "residual_threshold": 0.8,
            "max_iterations": 6,
        },
    }
    return {name: partial(inference, **case) for name, case in cases.items()}


def normalisation_samples() -> dict[str, Build]:
    cases: dict[str, dict[str, Any]] = {
        "standard_layer_norm": {"cls": "StandardSAE", "normalize_activations": "layer_norm"},
        "topk_layer_norm": {"cls": "TopKSAE", "k": K, "normalize_activations": "layer_norm"},
        "standard_constant_norm_rescale": {
            "cls": "StandardSAE",
            "normalize_activations": "constant_norm_rescale",
        },
        "jumprelu_constant_norm_rescale": {
            "cls": "JumpReLUSAE",
            "weights": jumprelu_weights,
            "normalize_activations": "constant_norm_rescale",
            "apply_b_dec_to_input": False,
        },
        "standard_expected_average": {
            "cls": "StandardSAE",
            "normalize_activations": "expected_average_only_in",
            "notes": ("load_from_disk applies no scale; the files do not hold one",),
        },
    }
    return {name: partial(inference, **case) for name, case in cases.items()}


def hook_z_samples() -> dict[str, Build]:
    hook = metadata(hook_name="blocks.7.attn.hook_z")
    common = {"shape": (3, 4), "metadata": hook, "reshape_activations": "hook_z"}
    cases: dict[str, dict[str, Any]] = {
        "standard_hook_z": {"cls": "StandardSAE"},
        "topk_hook_z": {"cls": "TopKSAE", "k": K},
        "standard_hook_z_constant_norm_rescale": {
            "cls": "StandardSAE",
            "normalize_activations": "constant_norm_rescale",
            "notes": ("the norm is taken over all heads, after flattening",),
        },
    }
    return {name: partial(inference, **common, **case) for name, case in cases.items()}


def transcoder_samples() -> dict[str, Build]:
    places = metadata(hook_name="blocks.7.ln2.hook_normalized", hook_name_out="blocks.7.hook_mlp_out")
    common = {"d_out": D_OUT, "apply_b_dec_to_input": False, "metadata": places}
    skip_note = ("the skip connection is in forward, not in decode",)
    plain = partial(transcoder_weights, jump=False, skip=False)
    cases: dict[str, dict[str, Any]] = {
        "transcoder": {"cls": "Transcoder", "weights": plain},
        "skip_transcoder": {
            "cls": "SkipTranscoder",
            "weights": partial(transcoder_weights, jump=False, skip=True),
            "decode_only": True,
            "notes": skip_note,
        },
        "jumprelu_transcoder": {
            "cls": "JumpReLUTranscoder",
            "weights": partial(transcoder_weights, jump=True, skip=False),
        },
        "jumprelu_skip_transcoder": {
            "cls": "JumpReLUSkipTranscoder",
            "weights": partial(transcoder_weights, jump=True, skip=True),
            "decode_only": True,
            "notes": skip_note,
        },
        "transcoder_layer_norm": {
            "cls": "Transcoder",
            "weights": plain,
            "normalize_activations": "layer_norm",
            "notes": ("a transcoder normalises its input and does not undo it on its output",),
        },
        "skip_transcoder_layer_norm": {
            "cls": "SkipTranscoder",
            "weights": partial(transcoder_weights, jump=False, skip=True),
            "normalize_activations": "layer_norm",
            "decode_only": True,
            "notes": ("the skip connection reads the input before normalisation",),
        },
    }
    return {name: partial(inference, **common, **case) for name, case in cases.items()}


def pursuit_samples() -> dict[str, Build]:
    common = {"cls": "MatchingPursuitSAE", "weights": partial(pursuit_weights, unit=False)}
    cases: dict[str, dict[str, Any]] = {
        "matching_pursuit_no_bias": {
            "apply_b_dec_to_input": False,
            "residual_threshold": 0.5,
            "notes": ("b_dec is stored and unused, on both sides; max_iterations is d_in",),
        },
        "matching_pursuit_repeats": {
            "residual_threshold": 0.05,
            "max_iterations": 8,
            "stop_on_duplicate_support": False,
            "notes": ("a latent may be chosen again and its code grows; rows are not unit",),
        },
    }
    return {name: partial(inference, **common, **case) for name, case in cases.items()}


MATRYOSHKA = {"cls": "MatryoshkaBatchTopKTrainingSAE", "k": 6.0, "matryoshka_widths": [6, 12, 24]}


def trained_samples() -> dict[str, Build]:
    batch = {"cls": "BatchTopKTrainingSAE", "k": 6.5, "topk_threshold": 0.62}
    cases: dict[str, dict[str, Any]] = {
        "standard_trained": {"cls": "StandardTrainingSAE"},
        "gated_trained": {"cls": "GatedTrainingSAE", "weights": gated_weights},
        "topk_trained": {
            "cls": "TopKTrainingSAE",
            "k": K,
            "notes": ("decoder norms are folded in; the config still asks for rescaling",),
        },
        "jumprelu_trained": {
            "cls": "JumpReLUTrainingSAE",
            "weights": lambda gen: plain_weights(gen) | {"threshold": threshold(gen).abs()},
        },
        "batchtopk_trained": batch,
        "batchtopk_trained_no_rescale": batch | {"rescale_acts_by_decoder_norm": False},
        "matryoshka_batchtopk_trained": MATRYOSHKA | {"topk_threshold": 0.62},
        "matching_pursuit_trained": {
            "cls": "MatchingPursuitTrainingSAE",
            "weights": partial(pursuit_weights, unit=True),
            "residual_threshold": 0.8,
            "max_iterations": 6,
        },
    }
    return {name: partial(trained, **case) for name, case in cases.items()}


def checkpoint_samples() -> dict[str, Build]:
    batch = {"cls": "BatchTopKTrainingSAE", "k": 6.5, "topk_threshold": 0.62}
    scaled = {"normalize_activations": "expected_average_only_in", "scaling_factor": 0.37}
    scale_note = ("the scale is in activation_scaler.json, not in cfg.json",)
    cases: dict[str, dict[str, Any]] = {
        "topk_checkpoint": {"cls": "TopKTrainingSAE", "k": K},
        "batchtopk_checkpoint": batch,
        "batchtopk_checkpoint_no_rescale": batch | {"rescale_acts_by_decoder_norm": False},
        "matryoshka_batchtopk_checkpoint": MATRYOSHKA | {"topk_threshold": 0.62},
        "standard_checkpoint_scaled": {"cls": "StandardTrainingSAE", **scaled, "notes": scale_note},
        "batchtopk_checkpoint_scaled": {**batch, **scaled, "notes": scale_note},
    }
    return {name: partial(checkpoint, **case) for name, case in cases.items()}


def precision_samples() -> dict[str, Build]:
    cases: dict[str, dict[str, Any]] = {
        "standard_bfloat16": {"cls": "StandardSAE", "dtype": "bfloat16", "weights": plain_weights},
        "jumprelu_float16": {"cls": "JumpReLUSAE", "dtype": "float16", "weights": jumprelu_weights},
    }
    return {name: partial(half_precision, **case) for name, case in cases.items()}


def temporal_samples() -> dict[str, Build]:
    cases: dict[str, dict[str, Any]] = {
        "temporal": {"kval_topk": 5},
        "temporal_untied_relu": {"sae_diff_type": "relu", "tied_weights": False},
        "temporal_scaled": {
            "kval_topk": 5,
            "normalize_activations": "constant_scalar_rescale",
            "activation_normalization_factor": 0.4,
        },
    }
    return {name: partial(temporal, **case) for name, case in cases.items()}


def newer_samples() -> dict[str, Build]:
    """What 6.51 has not: signed codes, and whitening left outside the weights."""
    white = {
        "normalize_activations": "covariance_whitening",
        "whitened": True,
        "notes": ("the SAE reads (x - mean) @ matrix of activation_whitening.safetensors",),
    }
    note = ("codes are signed: the k largest magnitudes, no ReLU",)
    return {
        "abstopk": partial(inference, cls="AbsTopKSAE", k=4, notes=note),
        "abstopk_rescale": partial(
            inference, cls="AbsTopKSAE", k=4, rescale_acts_by_decoder_norm=True, notes=note
        ),
        "standard_checkpoint_whitened": partial(checkpoint, cls="StandardTrainingSAE", **white),
        "batchtopk_checkpoint_whitened": partial(
            checkpoint, cls="BatchTopKTrainingSAE", k=6.5, topk_threshold=0.62, **white
        ),
        "abstopk_trained": partial(trained, cls="AbsTopKTrainingSAE", k=4, notes=note),
    }


# What 6.54 repeats: one of each family, to show that the layout did not move.
REPEATED = (
    "standard",
    "topk_rescale",
    "jumprelu",
    "gated",
    "topk_trained",
    "batchtopk_trained",
    "batchtopk_checkpoint",
    "matryoshka_batchtopk_trained",
    "matching_pursuit",
    "jumprelu_skip_transcoder",
    "standard_layer_norm",
    "legacy_topk",
)


def samples() -> dict[str, Build]:
    """Every sample of the installed version, by name."""
    every = (
        inference_samples()
        | normalisation_samples()
        | hook_z_samples()
        | transcoder_samples()
        | pursuit_samples()
        | trained_samples()
        | checkpoint_samples()
        | precision_samples()
        | temporal_samples()
        | legacy_samples()
    )
    if not NEWER:
        return every
    return {name: every[name] for name in REPEATED} | newer_samples()
