"""Input normalisations that SAEs carry, and how their outputs undo them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from darkmatter.errors import ItemError

Kind = Literal["none", "layer_norm", "constant_norm", "scale"]


class Normalised(NamedTuple):
    """Normalised rows [n, d_in] and what undoes it: y -> y * scale + shift, each [n, 1] or None."""

    x: Tensor
    scale: Tensor | None
    shift: Tensor | None


@dataclass(frozen=True)
class Normalisation:
    """What happens to each row x [d] before the encoder, and to x̂ after the decoder.

    =============== ======================================= ===================
    kind            input                                   output
    =============== ======================================= ===================
    none            x                                       x̂
    layer_norm      (x - m) / (s + eps), s unbiased (d - 1) x̂ * s + m (no eps)
    constant_norm   x * sqrt(d) / norm(x)                   x̂ * norm(x) / sqrt(d)
    scale           x * factor                              x̂ / factor
    =============== ======================================= ===================

    With ``invert=False`` the output stays as the decoder gives it (transcoders: their output lives
    at another hook point). A row of zeros under ``constant_norm``, where SAELens gives NaN, is
    normalised to zeros and its output to zeros, the limit of the formula; a constant row under
    ``layer_norm`` becomes zeros and decodes to its mean, as in the libraries.
    """

    kind: Kind = "none"
    eps: float = 1e-5
    factor: float = 1.0
    invert: bool = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            message = f"Unknown normalisation {self.kind!r}; known are {', '.join(get_args(Kind))}."
            raise ItemError(message)
        if not (math.isfinite(self.factor) and self.factor != 0 and math.isfinite(self.eps)):
            message = f"A normalisation needs finite numbers and a factor other than 0, not {self}."
            raise ItemError(message)

    def settings(self) -> dict[str, str | float | bool]:
        """What shapes its numbers, JSON-able."""
        numbers = {"layer_norm": {"eps": self.eps}, "scale": {"factor": self.factor}}.get(self.kind, {})
        return {"kind": self.kind, "invert": self.kind == "none" or self.invert, **numbers}

    def said(self) -> str:
        """What ``apply`` makes of a row x, as text."""
        return {
            "none": "x",
            "layer_norm": f"(x - mean(x)) / (std(x) + {self.eps:g})",
            "constant_norm": "x · √d_in / ‖x‖",
            "scale": f"x · {self.factor:g}",
        }[self.kind]

    def said_undone(self, y: str) -> str:
        """What ``undo`` makes of the decoder's output ``y``, as text."""
        if not self.invert:
            return y
        return {
            "none": y,
            "layer_norm": f"({y}) · std(x) + mean(x)",
            "constant_norm": f"({y}) · ‖x‖ / √d_in",
            "scale": f"({y}) / {self.factor:g}",
        }[self.kind]

    @property
    def per_row(self) -> bool:
        """Whether undoing it needs the row's own statistics."""
        return self.invert and self.kind in {"layer_norm", "constant_norm"}

    def apply(self, x: Tensor) -> Normalised:
        """Normalise rows x [n, d] in their own precision."""
        if self.kind == "layer_norm":
            mean = x.mean(-1, keepdim=True)
            centred = x - mean
            spread = centred.norm(dim=-1, keepdim=True) / math.sqrt(max(x.shape[-1] - 1, 1))
            return Normalised(centred / (spread + self.eps), spread, mean)
        if self.kind == "constant_norm":
            scale = x.norm(dim=-1, keepdim=True) / math.sqrt(x.shape[-1])
            return Normalised(x / torch.where(scale == 0, torch.ones_like(scale), scale), scale, None)
        return Normalised(x * self.factor if self.kind == "scale" else x, None, None)

    def undo(self, y: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        """Outputs y [n, d_out] on the scale of the input; ``scale``, ``shift`` [n, 1] from ``apply``.

        Raises:
            ItemError: the normalisation is per row and the rows' statistics are missing.
        """
        if not self.invert:
            return y
        if self.kind == "scale":
            return y / self.factor
        if self.per_row and scale is None:
            message = (
                f"This SAE normalises each row ({self.kind}), so codes alone do not say the scale of their "
                "reconstruction, and these codes carry no row_scale. Decode the codes that encode(x) "
                "returned, or call reconstruct_from(codes, x)."
            )
            raise ItemError(message)
        if self.kind == "none" or scale is None:
            return y
        y = y * scale.to(y)
        return y if shift is None else y + shift.to(y)
