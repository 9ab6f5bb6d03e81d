"""Edits that shall take a concept out of activations, fitted on training rows.

Notation: y [n, d] activations, z [n] labels 0 or 1, μ their mean, Δ the difference of the two class means,
Σ the covariance of y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.decoding import contribution
from darkmatter_plugins.interpretability.latents import codes_of

RANK = 1e-10
"""Directions whose variance is below this share of the largest are round-off."""


@dataclass(frozen=True)
class ClassMoments:
    """What the edits need to know of labelled rows: μ [d], Δ [d], Σ [d, d], all float64."""

    mean: Tensor
    difference: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, y: Tensor, z: Tensor) -> ClassMoments:
        """Moments of rows y [n, d] with labels z [n]."""
        mean = y.mean(dim=0)
        centred = y - mean
        difference = centred[z == 1].mean(dim=0) - centred[z == 0].mean(dim=0)
        return cls(mean, difference, centred.T @ centred / len(y))


class Edit(Protocol):
    """A change of activations."""

    def __call__(self, y: Tensor, codes: api.Codes | None) -> Tensor:
        """Edited rows [n, d] float64 of rows y [n, d] float64; some edits need the rows' codes."""
        ...

    def score(self, y: Tensor, codes: api.Codes | None) -> Tensor | None:
        """[n] how far each row lies along the direction that is taken out; None where there are several."""
        ...


@dataclass(frozen=True)
class Keep:
    """No edit."""

    def __call__(self, y: Tensor, codes: api.Codes | None) -> Tensor:  # noqa: ARG002
        """The rows as they are."""
        return y

    def score(self, y: Tensor, codes: api.Codes | None) -> None:
        """There is no direction."""


@dataclass(frozen=True)
class Remove:
    """y - (y - m) R L: ``read`` R [d, r], taken out ``along`` L [r, d], about ``centre`` m [d]."""

    read: Tensor
    along: Tensor
    centre: Tensor

    def __call__(self, y: Tensor, codes: api.Codes | None) -> Tensor:  # noqa: ARG002
        """Edited rows."""
        read, along, centre = (each.to(y.device) for each in (self.read, self.along, self.centre))
        return y - (y - centre) @ read @ along

    def score(self, y: Tensor, codes: api.Codes | None) -> Tensor | None:  # noqa: ARG002
        """What is read, where that is one number."""
        return (y @ self.read.to(y.device))[:, 0] if self.read.shape[1] == 1 else None


@dataclass(frozen=True)
class SubtractLatent:
    """y - c_f f where the latent f is active: less than rank one, inactive rows stay as they are."""

    sae: api.SAE
    latent: int

    def __call__(self, y: Tensor, codes: api.Codes | None) -> Tensor:
        """Edited rows."""
        assert codes is not None
        every = torch.full((codes.n_rows,), self.latent)
        # By what decoding says, because a decoder may undo a normalisation of the row.
        rows, added = contribution(self.sae, codes, every)
        edited = y.clone()
        edited[rows.to(y.device)] -= added.to(y)
        return edited

    def score(self, y: Tensor, codes: api.Codes | None) -> Tensor:
        """The latent's code."""
        assert codes is not None
        return codes_of(codes, torch.tensor([self.latent]))[:, 0].to(y)


def projection(directions: Tensor, centre: Tensor) -> Remove:
    """Take out the span of directions [r, d] about a point."""
    left, sizes, _ = torch.linalg.svd(directions.double().T, full_matrices=False)
    basis = left[:, sizes > RANK * sizes[0]]
    return Remove(basis, basis.T, centre)


def leace(moments: ClassMoments) -> Remove:
    """Least-squares erasure of a binary label: y - Δ w·(y - μ) / w·Δ with w = Σ⁺Δ.

    Of all affine maps after which the class means coincide it has the least mean squared edit. For two
    classes the general solution has rank one: the covariance with the label is along Δ, and whitening,
    projecting and colouring again is this map. Source: Belrose et al., LEACE.
    """
    w = torch.linalg.pinv(moments.covariance, rtol=RANK, hermitian=True) @ moments.difference
    return Remove((w / (w @ moments.difference))[:, None], moments.difference[None, :], moments.mean)


def random_directions(d: int, count: int, seed: int) -> list[Tensor]:
    """So many unit vectors [1, d]."""
    drawn = torch.randn(count, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return [each[None, :] / each.norm() for each in drawn]


def gaps(edits: Sequence[Edit], y: Tensor, z: Tensor, codes: api.Codes | None) -> dict[str, float]:
    """What edits leave on labelled rows, the mean over several edits.

    ``gap``: distance of the class means; ``label_covariance``: the largest absolute covariance of a
    coordinate with the label; ``squared_edit``: mean |y' - y|².
    """
    found = []
    for edit in edits:
        edited = edit(y, codes)
        gap = edited[z == 1].mean(dim=0) - edited[z == 0].mean(dim=0)
        share = float((z == 1).double().mean())
        found.append(
            (
                float(gap.norm()),
                share * (1 - share) * float(gap.abs().max()),
                float((edited - y).square().sum(dim=1).mean()),
            )
        )
    names = ("gap", "label_covariance", "squared_edit")
    return {name: sum(each) / len(found) for name, each in zip(names, zip(*found, strict=True), strict=True)}
