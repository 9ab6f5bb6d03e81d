"""What the formats of OpenMOSS share: how activations are scaled, and what the activation compares.

The encoder reads s x with s = sqrt(d_model) / (average norm of the hook point), a file's weights live
in those units, and the decoder's output is divided by the s of the hook point that it predicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

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


class Scales(NamedTuple):
    """How activations enter and leave: x is multiplied by ``into``, the output divided by ``out``."""

    normalisation: api.Normalisation
    into: float = 1.0
    out: float = 1.0

    @property
    def decoder(self) -> float:
        """What the decoder is divided by: ``out``, where the normalisation does not undo itself."""
        return 1.0 if self.normalisation.invert else self.out


def scales(
    cfg: api.Fields, options: api.LoadOptions, average: Callable[[str], float], *, transcoder: bool
) -> Scales:
    """The scales that ``norm_activation`` asks for.

    Args:
        cfg: has norm_activation and d_model.
        options: may hold the norm_factor without which a batch-wise SAE cannot be read.
        average: the average norm of activations at the hook point read ("in") or predicted ("out").
        transcoder: whether the two hook points differ.
    """
    kind = cfg.choice("norm_activation", NORMS, default="dataset-wise")
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
    if kind == "batch-wise" and options.overrides.norm_factor is None:
        message = (
            f"{cfg.where}: norm_activation is 'batch-wise': activations are divided by the average norm of "
            "the batch that they come in, so a row alone has no scale. Say the scale of training, "
            "sqrt(d_model) / (average norm): --override norm_factor=NUMBER."
        )
        raise api.SAEFileError(message)
    return Scales(api.Normalisation())


def positive(value: float | None, where: str, name: str) -> float:
    """An average norm."""
    if value is not None and math.isfinite(value) and value > 0:
        return value
    found = "missing" if value is None else f"{value:g}"
    message = f"{where}: {name} is {found}; expected the average norm of the activations, above 0."
    raise api.SAEFileError(message)


def decoder_norms(cfg: api.Fields, W_dec: Tensor) -> Tensor | None:
    """What pre-activations are multiplied by before they are compared (not the codes), if anything.

    ``sparsity_include_decoder_norm`` is on in the published files and by default.
    """
    return W_dec.norm(dim=1) if cfg.flag("sparsity_include_decoder_norm", default=True) else None


def no_glu(cfg: api.Fields) -> None:
    """Refuse a second, multiplicative encoder where no file with one is known."""
    if cfg.flag("use_glu_encoder", default=False):
        message = f"{cfg.where}: field 'use_glu_encoder' is True; expected false in this layout."
        raise api.SAEFileError(message)
