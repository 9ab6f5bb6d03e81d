"""dictionary_learning: ``ae.pt`` (or ``ae.safetensors``) and ``config.json``.

Codes are those of the class's own ``encode`` on the weights as saved. The library's
``load_dictionary`` multiplies an AutoEncoder's codes by the norms of its decoder columns; the
reconstruction is the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from darkmatter import api
from darkmatter_plugins.adapters._hooks import module_input, module_output
from darkmatter_plugins.adapters._unsaid import DATASET

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
FILES = ("ae.safetensors", "ae.pt")
"""The final weights, safest first; checkpoints are ``ae_STEP.pt``."""

IDLE = ("k", "threshold", "group_sizes")
"""Tensors that classes keep beside their weights and that change no code where they are not asked for."""


class Form(NamedTuple):
    """How one dictionary class stores and uses its tensors."""

    architecture: str
    activation: str
    decoder_bias: str
    linear: bool = True
    """Whether matrices are those of nn.Linear (encoder.weight [d_sae, d_in]) or W_enc, W_dec."""
    subtracts: bool = True
    """Whether the decoder bias is subtracted from the input."""


CLASSES = {
    "AutoEncoder": Form("standard", "relu", "bias"),
    "AutoEncoderNew": Form("standard", "relu", "decoder.bias", subtracts=False),
    "GatedAutoEncoder": Form("gated", "gated", "decoder_bias"),
    "AutoEncoderTopK": Form("topk", "topk", "b_dec"),
    "BatchTopKSAE": Form("batchtopk", "threshold", "b_dec"),
    "MatryoshkaBatchTopKSAE": Form("matryoshka_batchtopk", "threshold", "b_dec", linear=False),
    "JumpReluAutoEncoder": Form("jumprelu", "jumprelu", "b_dec", linear=False, subtracts=False),
}

ARCHITECTURES = tuple(dict.fromkeys(form.architecture for form in CLASSES.values()))


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A configuration that names a dictionary class, beside the weights or above a checkpoint."""
    config = _config(view)
    if config is None:
        return api.Refusal(f"there is no {CONFIG} beside the weights")
    name = config.inside("trainer").values.get("dict_class")
    if not isinstance(name, str):
        return api.Refusal(f"{CONFIG} has no trainer.dict_class; expected the name of a class")
    return api.Detection(f"{CONFIG} has trainer.dict_class {name[:80]!r}")


def load(view: api.FileView, options: api.LoadOptions) -> api.SAE:
    """Read one dictionary."""
    config = _config(view) or api.Fields({}, str(view))
    trainer = config.inside("trainer")
    form = CLASSES[trainer.choice("dict_class", CLASSES, default="")]
    d_in, d_sae = trainer.size("activation_dim"), trainer.size("dict_size")
    name = _weights_file(view)
    weights = view.weights(name, marker="encoder.weight" if form.linear else "W_enc")
    W_enc, W_dec, b_enc = _matrices(weights, form, d_in, d_sae)
    b_dec = weights.take(form.decoder_bias, d_in)
    assumptions: list[api.Assumption] = [
        DATASET,
        api.Assumption("BOS policy not recorded.", about="bos"),
    ]
    if form.activation == "relu":
        unscaled = "codes are unscaled; load_dictionary would multiply an AutoEncoder's by decoder norms."
        assumptions.append(api.Assumption(unscaled))
    k = _k(weights, trainer, options)
    activation = _activation(weights, form, trainer, d_sae, k)
    hook_in, hook_out = _hooks(trainer, config.inside("buffer"), assumptions)
    sae = api.CanonicalSAE(
        W_enc=W_enc,
        W_dec=W_dec,
        b_enc=b_enc,
        b_dec=b_dec,
        activation=activation,
        subtract=b_dec if form.subtracts else None,
        normalisation=_normalisation(view, name, assumptions),
        hook_in=hook_in,
        hook_out=hook_out,
        metadata=_metadata(trainer, config.inside("buffer"), weights, form, k),
        assumptions=tuple(assumptions),
    )
    weights.nothing_else(*IDLE)
    return sae


def _config(view: api.FileView) -> api.Fields | None:
    """config.json beside the weights, or above them where they lie in ``checkpoints``."""
    for place in (view, view.parent() if view.root.name == "checkpoints" else None):
        if place is not None and place.has(CONFIG):
            return api.Fields(place.json(CONFIG, allow_nan=True), str(place.file(CONFIG)))
    return None


def _weights_file(view: api.FileView) -> str:
    """The file with the weights; a folder of checkpoints must say which."""
    names = [name for name in FILES if name in view.names()]
    if len(names) == len(FILES):
        _check_same(view, names)
    names = names or [name for name in view.names() if re.fullmatch(r"ae_\d+\.(pt|safetensors)", name)]
    if len(names) == 1 or (names and names[0] in FILES):
        return names[0]
    message = f"{view}: holds the checkpoints {', '.join(names[:10])}; give one of these files."
    raise api.SAEFileError(message)


def _check_same(view: api.FileView, names: list[str]) -> None:
    """Raise an SAEFileError unless both files hold the same tensors: nothing says which is the SAE."""
    first, second = (view.tensors(name) for name in names)
    differ = [
        name
        for name in sorted(first.keys() | second.keys())
        if name not in first or name not in second or not first[name].equal(second[name])
    ]
    if differ:
        message = (
            f"{view}: holds {' and '.join(names)}, and their tensors differ ({', '.join(differ[:5])}); "
            "expected the same in both. Give the one you mean: "
            f"{view.file(names[0])} or {view.file(names[1])}."
        )
        raise api.SAEFileError(message)


def _matrices(
    weights: api.Weights, form: Form, d_in: int, d_sae: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_enc)."""
    if not form.linear:
        W_enc, W_dec = weights.take("W_enc", d_in, d_sae), weights.take("W_dec", d_sae, d_in)
        return W_enc, W_dec, weights.take("b_enc", d_sae)
    W_enc, W_dec = weights.take("encoder.weight", d_sae, d_in), weights.take("decoder.weight", d_in, d_sae)
    return W_enc.T, W_dec.T, None if form.activation == "gated" else weights.take("encoder.bias", d_sae)


def _k(weights: api.Weights, trainer: api.Fields, options: api.LoadOptions) -> int | None:
    """The k that weights and configuration agree on, or that the user gives; None where none has one.

    The library refuses to load a file whose two k differ.
    """
    configured, given = trainer.size("k") if "k" in trainer else None, options.overrides.k
    if given is not None and configured is None and "k" not in weights:
        message = f"{weights.where}: an SAE of this class has no k; leave the override k={given} out."
        raise api.SAEFileError(message)
    if "k" not in weights:
        return configured if given is None else given
    stored = api.Fields({"k": weights.number("k")}, f"{weights.where}, tensors").size("k")
    if given is None and configured in {stored, None}:
        return stored
    if given is None:
        message = (
            f"{weights.where}: tensor 'k' is {stored}, but field 'k' of {trainer.where} is {configured}; "
            f"expected one number. Say which: --override k={stored} or --override k={configured}."
        )
        raise api.SAEFileError(message)
    return given


def _activation(
    weights: api.Weights, form: Form, trainer: api.Fields, d_sae: int, k: int | None
) -> api.Activation:
    import torch

    if form.activation == "gated":
        gate, growth, bias = (weights.take(name, d_sae) for name in ("gate_bias", "r_mag", "mag_bias"))
        return api.Gated(b_gate=gate, r_mag=growth, b_mag=bias)
    if form.activation == "topk":
        return api.TopK(trainer.size("k") if k is None else k)
    if form.activation == "jumprelu":
        return api.JumpRelu(weights.take("threshold", d_sae, infinite=True))
    if form.activation == "threshold":
        return api.JumpRelu(torch.tensor(_cutoff(weights, trainer)))
    return api.Relu()


def _cutoff(weights: api.Weights, trainer: api.Fields) -> float:
    """The one threshold of a batch top-k SAE; -1, its value before training sets it, is an error."""
    threshold = weights.number("threshold")
    if threshold >= 0:
        return threshold
    start = trainer.integer("threshold_start_step")
    when = f"step {start}" if start is not None else "trainer.threshold_start_step (1000 by default)"
    message = (
        f"{weights.where}: tensor 'threshold' is {threshold:g}: it was never set, because the SAE was saved "
        f"before training starts to set it, at {when}. Until then training keeps the largest codes of a "
        "whole batch, which is no function of single rows; encode keeps every positive code. Give a later "
        "checkpoint, or set the tensor: the library averages the smallest code kept in each batch."
    )
    raise api.SAEFileError(message)


def _normalisation(view: api.FileView, name: str, assumptions: list[api.Assumption]) -> api.Normalisation:
    """A backup made during training holds weights in units of x / norm_factor; a saved SAE does not."""
    content = view.pickled(name) if name.endswith(".pt") else None
    if not isinstance(content, dict) or not isinstance(content.get("ae"), dict):
        return api.Normalisation()
    if content.get("norm_factor") is None:
        unscaled = "norm_factor not recorded beside the weights; activations are taken unscaled."
        assumptions.append(api.Assumption(unscaled, about="norm_factor"))
        return api.Normalisation()
    factor = api.Fields({"norm_factor": content["norm_factor"]}, str(view.file(name))).number("norm_factor")
    if not factor:
        message = f"{view.file(name)}: norm_factor is 0; expected the scale of the activations."
        raise api.SAEFileError(message)
    return api.Normalisation(kind="scale", factor=1 / factor)


def _hooks(
    trainer: api.Fields, buffer: api.Fields, assumptions: list[api.Assumption]
) -> tuple[str | None, str | None]:
    """The library records a layer, a free-text name of the module, and which side of it was read."""
    layer, module = trainer.integer("layer"), trainer.text("submodule_name") or ""
    named = _named(module, layer)
    if layer is None and named is None:
        assumptions.append(api.Assumption("hook point not recorded; none taken.", about="hook"))
        return None, None
    side = buffer.text("io") or "out"
    part = ".mlp" if "mlp" in module else ".attn" if "att" in module else ""
    place = f"layers.{layer}{part}"
    out, inside = module_output(place, trainer.text("lm_name")), module_input(place)
    hooks = {"in": (inside, inside), "in_and_out": (inside, out)}.get(side, (out, out))
    if named is not None and side != "in_and_out":
        hooks = (named, named)
    taken = hooks[0] if hooks[0] == hooks[1] else f"{hooks[0]} to {hooks[1]}"
    sentence = f"hook point not recorded; took {taken} from layer {layer}, module {module!r}, side {side!r}."
    assumptions.append(api.Assumption(sentence, about="hook"))
    return hooks


def _named(module: str, layer: int | None) -> str | None:
    """The hook point of a name that says it is not the output of its layer, or of a part of it."""
    if re.search(r"(?:^|\.)embed", module):
        return "hook_embed"
    match = re.search(r"resid_(?:pre|mid)", module)
    return f"blocks.{layer}.hook_{match[0]}" if match and layer is not None else None


def _metadata(
    trainer: api.Fields, buffer: api.Fields, weights: api.Weights, form: Form, k: int | None
) -> api.SAEMetadata:
    return api.SAEMetadata(
        format="dictionary_learning",
        architecture=form.architecture,
        model=trainer.text("lm_name"),
        context_length=buffer.integer("ctx_len"),
        dtype=str(weights["W_enc" if "W_enc" in weights else "encoder.weight"].dtype).removeprefix("torch."),
        extra=trainer.some(
            "dict_class",
            "trainer_class",
            "k",
            "steps",
            "seed",
            "submodule_name",
            "group_sizes",
            "group_fractions",
        )
        | ({} if k is None else {"k": k}),
    )


ADAPTER = api.SAEAdapter(
    "dictionary_learning",
    "dictionary_learning dictionaries (ae.pt or ae.safetensors, config.json)",
    "darkmatter_plugins.adapters.dictionary_learning:load",
    filenames=("ae.pt", "ae.safetensors", "ae_*.pt", "ae_*.safetensors"),
    detect=detect,
    formats=frozenset({"pt", "safetensors"}),
    follows=frozenset({"k"}),
    checkpoints=("checkpoints/ae_*.pt", "checkpoints/ae_*.safetensors"),
    layouts=(
        api.Layout(
            name="dictionary_learning, a finished run",
            files=("<trainer>/config.json", "<trainer>/ae.pt"),
            architectures=ARCHITECTURES,
            known_from="dictionary_learning 0.1.0, which wrote and evaluated the samples",
            traps=(
                (
                    "load_dictionary multiplies an AutoEncoder's codes by the norms of its decoder; encode "
                    "on weights as saved does not."
                ),
                (
                    "JumpReluAutoEncoder and AutoEncoderNew do not subtract the decoder bias from the "
                    "input; the others do."
                ),
                (
                    "Matryoshka and JumpReLU classes store W_enc [d_in, d_sae], the others nn.Linear's "
                    "transposes."
                ),
                (
                    "A BatchTopK threshold of -1 was never set: an error, since the codes are then no "
                    "function of single rows."
                ),
                "config.json is written before the norm factor is known; it is folded into the biases.",
            ),
            samples=(
                *("dictionary_learning/auto_encoder_new", "dictionary_learning/batchtopk*"),
                *("dictionary_learning/gated", "dictionary_learning/jumprelu*"),
                *("dictionary_learning/matryoshka_batchtopk", "dictionary_learning/standard*"),
                *("dictionary_learning/topk", "dictionary_learning/topk_run"),
            ),
        ),
        api.Layout(
            name="dictionary_learning, checkpoints of a run",
            files=("<trainer>/config.json", "<trainer>/checkpoints/ae_<step>.pt"),
            architectures=ARCHITECTURES,
            known_from="dictionary_learning 0.1.0, which wrote and evaluated the sample",
            traps=("The configuration is one folder above the weights.",),
            samples=("dictionary_learning/topk_run_checkpoint",),
        ),
        api.Layout(
            name="dictionary_learning, backup of a run that goes on",
            files=("<trainer>/config.json", "<trainer>/ae.pt with the optimizer's state"),
            architectures=ARCHITECTURES,
            known_from="the source of its development version; the sample's file is written by hand",
            traps=("Weights lie one level down and are in units of x / norm_factor, unlike a saved SAE's.",),
            samples=("dictionary_learning/topk_backup",),
        ),
    ),
)
