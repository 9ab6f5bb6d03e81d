"""Regressors of cross-layer predictions: blocks of columns, and what is fitted on them.

A *block* is one kind of one SAE (``source`` "" is the SAE that is measured): its reconstruction, its
activation or its codes. A *design* is a row of blocks whose joint moments are collected once; a *fit*
regresses on some of its blocks, so that [S], [x, S] and [x, S₁, S₂] share one Gram.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import CrossMoments, Gram, GramFactor, LinearMap
from darkmatter_plugins.evaluators.cross_layer.descriptor import Kind


@dataclass(frozen=True, eq=False)
class Block:
    """``width`` regressors of one SAE; ``live`` are the latents that count as codes."""

    source: str
    kind: Kind
    width: int
    live: Tensor | None = None

    def columns(self, chunk: api.Chunk) -> Tensor:
        """[n, width] float64."""
        each = chunk.beside[self.source] if self.source else chunk
        if self.kind == "codes":
            assert self.live is not None
            return _dense(each.codes, self.live)
        rows = each.reconstruction if self.kind == "reconstruction" else each.x
        return rows.to(torch.float64)


def _dense(codes: api.Codes, live: Tensor) -> Tensor:
    """The codes of the latents ``live`` [m] as a matrix [n, m] float64; only these are ever dense."""
    column = torch.full((codes.d_sae,), -1, dtype=torch.int64, device=codes.device)
    column[live.to(codes.device)] = torch.arange(len(live), device=codes.device)
    place = column[codes.indices]
    kept = place >= 0
    dense = torch.zeros(codes.n_rows, len(live), dtype=torch.float64, device=codes.device)
    dense[codes.row_ids()[kept], place[kept]] = codes.values[kept].to(torch.float64)
    return dense


@dataclass(frozen=True, eq=False)
class Design:
    """Blocks side by side."""

    blocks: tuple[Block, ...]

    @property
    def width(self) -> int:
        """Columns of all blocks."""
        return sum(block.width for block in self.blocks)

    def columns(self, chunk: api.Chunk) -> Tensor:
        """[n, width] float64."""
        return torch.cat([block.columns(chunk) for block in self.blocks], dim=1)

    def place(self, blocks: tuple[Block, ...]) -> Tensor:
        """Which columns some of the blocks are [m]."""
        found, start = [], 0
        for block in self.blocks:
            if any(block is wanted for wanted in blocks):
                found.append(torch.arange(start, start + block.width))
            start += block.width
        return torch.cat(found)


@dataclass(frozen=True, eq=False)
class Wanted:
    """A prediction that is to be fitted: its name, the design, and the blocks of it that count.

    ``joint`` says that x is among them, so that only e itself is predicted, not its parts. With
    ``mixing`` [m, r] not the columns themselves are regressed on but r mixtures of them.
    """

    name: str
    design: Design
    blocks: tuple[Block, ...]
    joint: bool = False
    mixing: Tensor | None = None

    def fit(self, gram: Gram, cross: CrossMoments, *, bias: bool) -> Fit:
        """Fitted from the design's training moments with [e, N]."""
        at = self.design.place(self.blocks)
        part = Gram(gram.n, gram.mean[at], gram.cxx[at][:, at])
        y = slice(0, cross.cxy.shape[1] // 2) if self.joint else slice(None)
        to = CrossMoments(cross.n, cross.mean_x[at], cross.mean_y[y], cross.cxy[at][:, y], cross.syy[y])
        if self.mixing is not None:
            mixing = self.mixing
            part = Gram(part.n, part.mean @ mixing, mixing.T @ part.cxx @ mixing)
            to = CrossMoments(to.n, to.mean_x @ mixing, to.mean_y, mixing.T @ to.cxy, to.syy)
        found = GramFactor.of(part, bias=bias).solve(to)
        weight = found.weight if self.mixing is None else self.mixing @ found.weight
        return Fit(self, at, found, weight, _left(part, to, found, cross.cxy.shape[1] // 2))


def _left(gram: Gram, to: CrossMoments, found: LinearMap, d_out: int) -> float | None:
    """Share of Σ|e|², over the fitted rows and the first d_out targets, that a fit leaves of them."""
    weight, products = found.weight[:, :d_out], to.cxy[:, :d_out]
    mean, squares = to.mean_y[:d_out], to.syy[:d_out].sum()
    total = float(squares + to.n * mean.square().sum())
    if total == 0:
        return None
    missed = mean - gram.mean @ weight - found.intercept[:d_out]
    centred = squares + (weight * (gram.cxx @ weight - 2 * products)).sum()
    return max(0.0, float(centred + to.n * missed.square().sum()) / total)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted prediction of [e, N] (of e alone if joint); ``weight`` is over the columns ``at``.

    ``left_train`` is the share of Σ|e|² that it leaves on the rows it was fitted on.
    """

    wanted: Wanted
    at: Tensor
    found: LinearMap
    weight: Tensor
    left_train: float | None

    def __call__(self, columns: Tensor) -> Tensor:
        """Predictions [n, 2 d_out] or [n, d_out] from the columns of the design."""
        part = columns if len(self.at) == columns.shape[1] else columns[:, self.at.to(columns.device)]
        return torch.addmm(self.found.intercept.to(part.device), part, self.weight.to(part.device))
