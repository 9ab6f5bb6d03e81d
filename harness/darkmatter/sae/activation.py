"""Activation functions of SAEs, each as a rule that can be applied tile by tile.

Every activation known to the field says the same thing in different words: **an entry is kept if
its key exceeds a floor, and, where a count k is given, if it is among the k largest keys of its
group; what is kept has a value**. Writing it so lets one selection (``darkmatter.sae.select``) do
the tiling, the near-ties in float64 and the sparse output for all of them. A new activation is one
small subclass of ``Activation`` that overrides what differs; nothing else has to know it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from darkmatter.errors import ItemError

Columns = slice | Tensor
"""Which latents: a slice (a tile, h is [n, T]) or indices [m] (single entries, h is [m])."""


@dataclass(frozen=True, eq=False)
class Activation:
    """The rule f = activation(h), for h [n, d_sae].

    Entry j of a row is kept iff ``key(h)_j > floor_j`` (strict) and, if ``count`` is k, its key is
    among the k largest of its group (ties: lowest index first); the d_sae latents form ``groups``
    groups of consecutive latents. A kept entry has the code ``value(h)_j``, all others are 0.

    What a subclass must hold: ``key`` and ``value`` act entry by entry, in the precision of h;
    |key(h) - key(h')| <= |h - h'|; with a ``count`` the floor is the same for all latents.
    """

    @property
    def count(self) -> int | None:
        """Entries kept per group of a row; None keeps all above the floor."""
        return None

    @property
    def groups(self) -> int:
        """Groups of consecutive latents within which ``count`` counts."""
        return 1

    def key(self, h: Tensor, columns: Columns) -> Tensor:
        """What is compared and ranked; h where not overridden."""
        del columns
        return h

    def value(self, h: Tensor, columns: Columns) -> Tensor:
        """The code of a kept entry; h where not overridden."""
        del columns
        return h

    def floor(self, columns: Columns) -> Tensor:
        """What a key must exceed: float64, [] or one number per column; 0 where not overridden."""
        del columns
        return torch.zeros((), dtype=torch.float64)

    def check(self, d_sae: int) -> None:
        """Raise an ItemError if the parameters do not fit a width of ``d_sae``."""
        for name, tensor in self.tensors().items():
            if tensor.ndim > 1 or (tensor.ndim == 1 and tensor.shape[0] != d_sae):
                message = (
                    f"{type(self).__name__}.{name} has shape {list(tensor.shape)}; expected one number or "
                    f"[d_sae] = [{d_sae}]."
                )
                raise ItemError(message)
            if not tensor.is_floating_point() or bool(tensor.isnan().any()):
                message = f"{type(self).__name__}.{name} ({tensor.dtype}) holds NaN or is not floating point."
                raise ItemError(message)
        _check_count(self, d_sae)

    def tensors(self) -> dict[str, Tensor]:
        """Parameters that are tensors, by name."""
        return {name: value for name, value in self._fields().items() if isinstance(value, Tensor)}

    def settings(self) -> dict[str, Any]:
        """The activation's name and its parameters that are plain numbers; JSON-able."""
        plain = {name: value for name, value in self._fields().items() if not isinstance(value, Tensor)}
        return {"name": type(self).__name__, **plain}

    def to(self, device: torch.device | str) -> Self:
        """The same activation with its tensors on another device."""
        return replace(self, **{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class Relu(Activation):
    """f = max(h, 0)."""


@dataclass(frozen=True, eq=False)
class TanhRelu(Activation):
    """f = tanh(max(h, 0)), "tanh-relu" in the configurations of SAELens before version 6."""

    def value(self, h: Tensor, columns: Columns) -> Tensor:
        """tanh(h), of an h above 0."""
        del columns
        return h.tanh()


@dataclass(frozen=True, eq=False)
class JumpRelu(Activation):
    """f = relu(h) * [h > threshold], strict; ``threshold`` [d_sae] or a single number [].

    Batch-TopK SAEs at inference are this, with one threshold for all latents. A threshold of +inf
    switches a latent off.
    """

    threshold: Tensor

    def floor(self, columns: Columns) -> Tensor:
        """max(threshold, 0)."""
        return _at(self.threshold, columns, torch.float64).clamp_min(0)


@dataclass(frozen=True, eq=False)
class Threshold(Activation):
    """f = h * [h > threshold], strict, without a ReLU; ``threshold`` [d_sae] or a single number [].

    Where the threshold is 0 or more this is ``JumpRelu``; below 0 it lets negative codes through, as
    circuit-tracer does.
    """

    threshold: Tensor

    def floor(self, columns: Columns) -> Tensor:
        """The threshold."""
        return _at(self.threshold, columns, torch.float64)


@dataclass(frozen=True, eq=False)
class TopK(Activation):
    """The k largest h of each row; of these, with ``relu``, only the positive ones.

    Relu before and relu after the selection are the same thing: both keep the positive ones among
    the k largest. ``relu=False`` keeps negative codes where fewer than k are positive.
    """

    k: int
    relu: bool = True

    @property
    def count(self) -> int:
        """The k."""
        return self.k

    def floor(self, columns: Columns) -> Tensor:
        """0 with relu, else minus infinity."""
        del columns
        return torch.tensor(0.0 if self.relu else -torch.inf, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class AbsTopK(Activation):
    """The k entries of largest |h| of each row, with their sign."""

    k: int

    @property
    def count(self) -> int:
        """The k."""
        return self.k

    def key(self, h: Tensor, columns: Columns) -> Tensor:
        """|h|."""
        del columns
        return h.abs()


@dataclass(frozen=True, eq=False)
class GroupMax(Activation):
    """The largest relu(h) of each of ``k`` groups of d_sae / k consecutive latents.

    As in sparsify 1.3.3: relu first, so a group without a positive h gives no code.
    """

    k: int

    @property
    def count(self) -> int:
        """One per group."""
        return 1

    @property
    def groups(self) -> int:
        """The k groups."""
        return self.k


@dataclass(frozen=True, eq=False)
class Gated(Activation):
    """f = [h + b_gate > 0] * relu(h * exp(r_mag) + b_mag); all parameters [d_sae].

    h is x'W_enc: these SAEs have no b_enc. Both conditions are one threshold on h,
    max(-b_gate, -b_mag * exp(-r_mag)).
    """

    b_gate: Tensor
    r_mag: Tensor
    b_mag: Tensor

    def value(self, h: Tensor, columns: Columns) -> Tensor:
        """The magnitude, h * exp(r_mag) + b_mag."""
        return h * _at(self.r_mag, columns, h.dtype).exp() + _at(self.b_mag, columns, h.dtype)

    def floor(self, columns: Columns) -> Tensor:
        """max(-b_gate, -b_mag * exp(-r_mag))."""
        gate = _at(self.b_gate, columns, torch.float64)
        magnitude = _at(self.b_mag, columns, torch.float64)
        growth = _at(self.r_mag, columns, torch.float64).neg().exp()
        return torch.maximum(-gate, -magnitude * growth)


def _at(parameter: Tensor, columns: Columns, dtype: torch.dtype) -> Tensor:
    """A parameter [] or [d_sae] at these columns, in this precision."""
    if parameter.ndim and isinstance(columns, Tensor) and columns.ndim == 1:
        parameter = parameter.index_select(0, columns)
    elif parameter.ndim:
        parameter = parameter[columns]
    return parameter.to(dtype)


def _check_count(activation: Activation, d_sae: int) -> None:
    """Raise an ItemError if k or the groups do not fit the width."""
    name, groups, count = type(activation).__name__, activation.groups, activation.count
    if groups < 1 or d_sae % groups:
        message = f"{name} needs d_sae to be a multiple of its {groups} groups; d_sae is {d_sae}."
        raise ItemError(message)
    if count is not None and not 1 <= count <= d_sae // groups:
        message = f"{name} needs k between 1 and d_sae = {d_sae}, not {count}."
        raise ItemError(message)
