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

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
FILES = ("ae.safetensors", "ae.pt")
"""The final weights, safest first; checkpoints are ``ae_STEP.pt``."""


class Layout(NamedTuple):
    """How one dictionary class stores and uses its tensors."""

    activation: str
    decoder_bias: str
    linear: bool = True
    """Whether matrices are those of nn.Linear (encoder.weight [d_sae, d_in]) or W_enc, W_dec."""
    subtracts: bool = True
    """Whether the decoder bias is subtracted from the input."""


LAYOUTS = {
    "AutoEncoder": Layout("relu", "bias"),
    "AutoEncoderNew": Layout("relu", "decoder.bias", subtracts=False),
    "GatedAutoEncoder": Layout("gated", "decoder_bias"),
    "AutoEncoderTopK": Layout("topk", "b_dec"),
    "BatchTopKSAE": Layout("threshold", "b_dec"),
    "MatryoshkaBatchTopKSAE": Layout("threshold", "b_dec", linear=False),
    "JumpReluAutoEncoder": Layout("jumprelu", "b_dec", linear=False, subtracts=False),
}


def detect(view: api.FileView) -> api.Detection | api.Refusal:
    """A configuration that names a dictionary class, beside the weights or above a checkpoint."""
    config = _config(view)
    if config is None:
        return api.Refusal(f"there is no {CONFIG} beside the weights")
    name = config.inside("trainer").values.get("dict_class")
    if not isinstance(name, str):
        return api.Refusal(f"{CONFIG} has no trainer.dict_class; expected the name of a class")
    return api.Detection(f"{CONFIG} has trainer.dict_class {name[:80]!r}")


def load(view: api.FileView, _options: object) -> api.SAE:
    """Read one dictionary."""
    config = _config(view) or api.Fields({}, str(view))
    trainer = config.inside("trainer")
    layout = LAYOUTS[trainer.choice("dict_class", LAYOUTS, default="")]
    d_in, d_sae = trainer.size("activation_dim"), trainer.size("dict_size")
    name = _weights_file(view)
    weights = view.weights(name, marker="encoder.weight" if layout.linear else "W_enc")
    W_enc, W_dec, b_enc = _matrices(weights, layout, d_in, d_sae)
    b_dec = weights.take(layout.decoder_bias, d_in)
    assumptions = [
        api.Assumption("dataset not recorded."),
        api.Assumption("BOS policy not recorded.", about="bos"),
    ]
    if layout.activation == "relu":
        unscaled = "codes are unscaled; load_dictionary would multiply an AutoEncoder's by decoder norms."
        assumptions.append(api.Assumption(unscaled))
    activation = _activation(weights, layout, trainer, d_sae)
    hook_in, hook_out = _hooks(trainer, config.inside("buffer"), assumptions)
    return api.CanonicalSAE(
        W_enc=W_enc,
        W_dec=W_dec,
        b_enc=b_enc,
        b_dec=b_dec,
        activation=activation,
        subtract=b_dec if layout.subtracts else None,
        normalisation=_normalisation(view, name, assumptions),
        hook_in=hook_in,
        hook_out=hook_out,
        metadata=_metadata(trainer, config.inside("buffer"), weights),
        assumptions=tuple(assumptions),
    )


def _config(view: api.FileView) -> api.Fields | None:
    """config.json beside the weights, or above them where they lie in ``checkpoints``."""
    for place in (view, view.parent() if view.root.name == "checkpoints" else None):
        if place is not None and place.has(CONFIG):
            return api.Fields(place.json(CONFIG, allow_nan=True), str(place.file(CONFIG)))
    return None


def _weights_file(view: api.FileView) -> str:
    """The file with the weights; a folder of checkpoints must say which."""
    names = [name for name in FILES if name in view.names()]
    names = names or [name for name in view.names() if re.fullmatch(r"ae_\d+\.(pt|safetensors)", name)]
    if len(names) == 1 or (names and names[0] in FILES):
        return names[0]
    message = f"{view}: holds the checkpoints {', '.join(names[:10])}; give one of these files."
    raise api.SAEFileError(message)


def _matrices(
    weights: api.Weights, layout: Layout, d_in: int, d_sae: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_enc)."""
    if not layout.linear:
        W_enc, W_dec = weights.take("W_enc", d_in, d_sae), weights.take("W_dec", d_sae, d_in)
        return W_enc, W_dec, weights.take("b_enc", d_sae)
    W_enc, W_dec = weights.take("encoder.weight", d_sae, d_in), weights.take("decoder.weight", d_in, d_sae)
    return W_enc.T, W_dec.T, None if layout.activation == "gated" else weights.take("encoder.bias", d_sae)


def _activation(weights: api.Weights, layout: Layout, trainer: api.Fields, d_sae: int) -> api.Activation:
    import torch

    if layout.activation == "gated":
        gate, growth, bias = (weights.take(name, d_sae) for name in ("gate_bias", "r_mag", "mag_bias"))
        return api.Gated(b_gate=gate, r_mag=growth, b_mag=bias)
    if layout.activation == "topk":
        return api.TopK(int(weights.number("k")) if "k" in weights else trainer.size("k"))
    if layout.activation == "jumprelu":
        return api.JumpRelu(weights.take("threshold", d_sae, infinite=True))
    if layout.activation == "threshold":
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
    if layer is None:
        assumptions.append(api.Assumption("hook point not recorded; none taken.", about="hook"))
        return None, None
    side = buffer.text("io") or "out"
    part = ".mlp" if "mlp" in module else ".attn" if "att" in module else ""
    place = f"layers.{layer}{part}"
    out, inside = module_output(place, trainer.text("lm_name")), module_input(place)
    hooks = {"out": (out, out), "in": (inside, inside), "in_and_out": (inside, out)}.get(side, (out, out))
    taken = hooks[0] if hooks[0] == hooks[1] else f"{hooks[0]} to {hooks[1]}"
    sentence = f"hook point not recorded; took {taken} from layer {layer}, module {module!r}, side {side!r}."
    assumptions.append(api.Assumption(sentence, about="hook"))
    return hooks


def _metadata(trainer: api.Fields, buffer: api.Fields, weights: api.Weights) -> api.SAEMetadata:
    return api.SAEMetadata(
        format="dictionary_learning",
        architecture=trainer.text("dict_class") or "",
        model=trainer.text("lm_name"),
        context_length=buffer.integer("ctx_len"),
        dtype=str(next(iter(weights.values())).dtype).removeprefix("torch."),
        extra=trainer.some(
            "trainer_class", "k", "steps", "seed", "submodule_name", "group_sizes", "group_fractions"
        ),
    )


ADAPTER = api.SAEAdapter(
    "dictionary_learning",
    "dictionary_learning dictionaries (ae.pt or ae.safetensors, config.json)",
    "darkmatter_plugins.adapters.dictionary_learning:load",
    filenames=("ae.pt", "ae.safetensors", "ae_*.pt", "ae_*.safetensors"),
    detect=detect,
    formats=frozenset({"pt", "safetensors"}),
    checkpoints=("checkpoints/ae_*.pt", "checkpoints/ae_*.safetensors"),
    layouts=(
        api.Layout(
            name="dictionary_learning, a finished run",
            files=("<trainer>/config.json", "<trainer>/ae.pt"),
            architectures=tuple(LAYOUTS),
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
            architectures=tuple(LAYOUTS),
            known_from="dictionary_learning 0.1.0, which wrote and evaluated the sample",
            traps=("The configuration is one folder above the weights.",),
            samples=("dictionary_learning/topk_run_checkpoint",),
        ),
        api.Layout(
            name="dictionary_learning, backup of a run that goes on",
            files=("<trainer>/config.json", "<trainer>/ae.pt with the optimizer's state"),
            architectures=tuple(LAYOUTS),
            known_from="the source of its development version; the sample's file is written by hand",
            traps=("Weights lie one level down and are in units of x / norm_factor, unlike a saved SAE's.",),
            samples=("dictionary_learning/topk_backup",),
        ),
    ),
)
