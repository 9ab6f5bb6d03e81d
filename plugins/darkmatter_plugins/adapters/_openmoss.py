"""What the formats of OpenMOSS share: how activations are scaled, and what the activation compares.

The encoder reads s x with s = sqrt(d_model) / (average norm of the hook point), a file's weights live
in those units, and the decoder's output is divided by the s of the hook point that it predicts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from darkmatter import api

if TYPE_CHECKING:
    from torch import Tensor

NORMS = {
    "dataset-wise": "one scale for all activations, from their average norm",
    "token-wise": "every token to the norm sqrt(d_model)",
    "batch-wise": "the average norm of each batch",
    "inference": "nothing: the scale is in the weights",
    "none": "nothing",
}
"""Values of ``norm_activation``."""
NORMS_AT = "dataset_average_activation_norm.{}"
"""Tensors with the average norm at a hook point; only dataset-wise SAEs use them."""

DEFAULTS: dict[str, Any] = {
    "act_fn": "relu",
    "norm_activation": "dataset-wise",
    "sparsity_include_decoder_norm": True,
    "use_decoder_bias": True,
}
"""What the project's configuration classes take for a missing field (norm_activation: since 2025)."""


class Scales(NamedTuple):
    """How activations enter and leave: x is multiplied by ``into``, the output divided by ``out``."""

    normalisation: api.Normalisation
    into: float = 1.0
    out: float = 1.0
    said: tuple[api.Assumption, ...] = ()
    """What the files say of the scale, where something else was stated."""

    @property
    def decoder(self) -> float:
        """What the decoder is divided by: ``out``, where the normalisation does not undo itself."""
        return 1.0 if self.normalisation.invert else self.out


def architecture(kind: str, *, transcoder: bool) -> str:
    """The field's name for an SAE with this activation."""
    if kind == "relu":
        return "transcoder" if transcoder else "standard"
    return kind + ("_transcoder" if transcoder else "")


def completed(cfg: api.Fields, defaults: Mapping[str, Any]) -> tuple[api.Fields, list[api.Assumption]]:
    """The configuration with a default for each of these fields that it lacks, and what was taken."""
    missing = {name: value for name, value in defaults.items() if name not in cfg}
    taken = [
        api.Assumption(
            f"{name} not recorded; taken as {value if isinstance(value, str) else json.dumps(value)}.",
            about="hook_out" if name == "hook_point_out" else None,
            to_be_sure=f"the training script or the publisher's page: what was {name}?",
        )
        for name, value in missing.items()
    ]
    return api.Fields({**cfg.values, **missing}, cfg.where), taken


def hook_point(cfg: api.Fields, name: str) -> str:
    """A hook point that must be recorded."""
    found = cfg.text(name)
    if found is None:
        message = f"{cfg.where}: field {name!r} is missing; expected the name of a hook point."
        raise api.SAEFileError(message)
    return found


def asked_for(weights: api.Weights, tensor: str, cfg: api.Fields, field: str) -> None:
    """Refuse weights without a tensor that a field of the (completed) configuration asks for."""
    if tensor not in weights:
        message = (
            f"{weights.where}: has no tensor {tensor!r}; expected one, because field {field!r} of "
            f"{cfg.where} is {cfg.values[field]!r} (or missing, which means the same)."
        )
        raise api.SAEFileError(message)


def average_norm(weights: api.Weights, cfg: api.Fields, hook: str) -> float:
    """The average norm at a hook point, from the tensor that a dataset-wise SAE has for it."""
    name = NORMS_AT.format(hook)
    asked_for(weights, name, cfg, "norm_activation")
    return positive(weights.number(name), weights.where, f"tensor {name!r}")


def scales(
    cfg: api.Fields, options: api.LoadOptions, average: Callable[[str], float], *, transcoder: bool
) -> Scales:
    """The scales that ``norm_activation`` asks for.

    Args:
        cfg: has norm_activation (see ``completed``) and d_model.
        options: may hold a norm_factor, which replaces all scales: it enters thresholds and decoders,
            so it has to be known here. It is both scales of a transcoder; of one that is not folded
            these are two numbers, so there only 1 can be followed.
        average: the average norm of activations at the hook point read ("in") or predicted ("out").
        transcoder: whether the two hook points differ.
    """
    kind = cfg.choice("norm_activation", NORMS, default=DEFAULTS["norm_activation"])
    if options.overrides.norm_factor is not None:
        return _stated(options.overrides.norm_factor, cfg, kind, transcoder=transcoder)
    if kind == "dataset-wise":
        root = math.sqrt(cfg.size("d_model"))
        into, out = root / average("in"), root / average("out")
        return Scales(api.Normalisation(kind="scale", factor=into, invert=into == out), into, out)
    if kind == "token-wise":
        if transcoder:
            message = (
                f"{cfg.where}: norm_activation is 'token-wise' and the hook points differ, so the scale of "
                "an output is the norm of what it shall predict, which no input tells; expected "
                "dataset-wise or inference."
            )
            raise api.SAEFileError(message)
        return Scales(api.Normalisation(kind="constant_norm"))
    if kind == "batch-wise":
        message = (
            f"{cfg.where}: norm_activation is 'batch-wise': activations are divided by the average norm of "
            "the batch that they come in, so a row alone has no scale. Say the scale of training, "
            "sqrt(d_model) / (average norm): --override norm_factor=NUMBER."
        )
        raise api.SAEFileError(message)
    return Scales(api.Normalisation())


def _stated(factor: float, cfg: api.Fields, kind: str, *, transcoder: bool) -> Scales:
    """The scale that is stated, instead of the one that norm_activation asks for."""
    what = f"{cfg.where}: norm_factor {factor:g} cannot be followed"
    if kind == "token-wise":
        message = f"{what}: norm_activation is 'token-wise', so each row has a scale of its own."
        raise api.SAEFileError(message + " Leave the override out.")
    if transcoder and factor != 1:
        message = (
            f"{what}: this is a transcoder, whose input and output have scales of their own, and the one "
            "number does not say both. Expected 1, for weights into which both are folded, or no override."
        )
        raise api.SAEFileError(message)
    said = f"norm_activation is {kind} ({NORMS[kind]}), in the place of which a norm_factor was stated."
    return Scales(api.Normalisation(kind="scale", factor=factor), factor, factor, (api.Assumption(said),))


def positive(value: float | None, where: str, name: str) -> float:
    """An average norm."""
    if value is not None and math.isfinite(value) and value > 0:
        return value
    found = "missing" if value is None else f"{value:g}"
    message = f"{where}: {name} is {found}; expected the average norm of the activations, above 0."
    raise api.SAEFileError(message)


def decoder_norms(cfg: api.Fields, W_dec: Tensor) -> Tensor | None:
    """What pre-activations are multiplied by before they are compared (not the codes), if anything.

    ``sparsity_include_decoder_norm`` is on in the published files.
    """
    return W_dec.norm(dim=1) if cfg.flag("sparsity_include_decoder_norm", default=True) else None


def no_glu(cfg: api.Fields) -> None:
    """Refuse a second, multiplicative encoder where no file with one is known."""
    if cfg.flag("use_glu_encoder", default=False):
        message = f"{cfg.where}: field 'use_glu_encoder' is True; expected false in this layout."
        raise api.SAEFileError(message)
