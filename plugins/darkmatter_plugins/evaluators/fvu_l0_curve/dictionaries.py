"""The baselines, fitted on training rows, and what they miss of a row for every k of a grid at once.

x̃ = x - m with m the mean of the training rows; k is how many codes are kept. All are centred: without
it a baseline would spend its codes on the mean, and its FVU could exceed 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import Gram
from darkmatter_plugins.baselines import IcaConfig, ica
from darkmatter_plugins.baselines.pca import components
from darkmatter_plugins.baselines.random import ROWS, directions
from darkmatter_plugins.evaluators.fvu_l0_curve.descriptor import FvuL0CurveConfig

REACH = 2.0
"""Overcomplete dictionaries are followed to this multiple of the family's largest L0: they cost by k."""

Missed = tuple[Tensor, Tensor]
"""Squared error and number of active codes of each row and k [n, G] float64."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """One curve: its values of k [G] int64, ascending, and ``missed(x̃ [n, d] float64, k)``."""

    k: Tensor
    missed: Callable[[Tensor, Tensor], Missed]


@dataclass(frozen=True, eq=False)
class Basis:
    """Codes z = V'x̃ in an orthonormal basis V [d, d] (None: the coordinates).

    What is missed is then the sum of the squared codes that are not kept. ``keep`` says which k are kept:
    the ``first``, the ``largest`` by size, or the largest ``positive`` ones.
    """

    vectors: Tensor | None
    keep: str

    def __call__(self, x: Tensor, k: Tensor) -> Missed:
        """What is missed, by tails of one cumulative sum for all k."""
        z = x if self.vectors is None else x @ self.vectors.to(x)
        never = torch.zeros_like(z[:, :1])
        if self.keep == "positive":
            never = z.clamp_max(0).square().sum(dim=1, keepdim=True)
            z = z.clamp_min(0)
        squares = z.square()
        counts = (squares > 0).sum(dim=1, keepdim=True)
        if self.keep == "first":
            squares, counts = squares.flip(1), torch.full_like(counts, z.shape[1])
        else:
            squares = squares.sort(dim=1).values
        tails = torch.cat([torch.zeros_like(never), squares.cumsum(dim=1)], dim=1)
        k = k.to(x.device)
        return never + tails[:, z.shape[1] - k], torch.minimum(counts, k).to(torch.float64)


@dataclass(frozen=True, eq=False)
class Overcomplete:
    """The k largest by size of the codes x̃ @ encoder [d, m], decoded by ``decoder`` [m, d].

    ``scales`` [G] multiply the reconstruction for each k of the grid. Float32, as the controls are.
    """

    encoder: Tensor
    decoder: Tensor
    scales: Tensor | None = None

    def __call__(self, x: Tensor, k: Tensor) -> Missed:
        """What is missed."""
        scales = torch.ones(len(k), dtype=torch.float64) if self.scales is None else self.scales
        errors, counts = [], []
        for scale, (kept, active) in zip(scales.tolist(), self._kept(x, k), strict=True):
            errors.append((x - scale * kept).square().sum(dim=1))
            counts.append(active)
        return torch.stack(errors, dim=1), torch.stack(counts, dim=1)

    def fitted(self, x: Tensor, k: Tensor) -> Overcomplete:
        """With the least-squares factor for each k on rows x̃."""
        found = []
        for kept, _ in self._kept(x, k):
            energy = float(kept.square().sum())
            found.append(float((kept * x).sum()) / energy if energy > 0 else 1.0)
        return Overcomplete(self.encoder, self.decoder, torch.tensor(found, dtype=torch.float64))

    def _kept(self, x: Tensor, k: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For each k: the unscaled reconstruction [n, d] float64, and the active codes [n]."""
        decoder = self.decoder.to(x.device)
        codes = x.to(torch.float32) @ self.encoder.to(x.device)
        index = codes.abs().topk(int(k[-1]), dim=1).indices
        values = codes.gather(1, index)
        kept, start = torch.zeros_like(x), 0
        for stop in k.tolist():
            if stop > start:
                kept = kept + torch.nn.functional.embedding_bag(
                    index[:, start:stop],
                    decoder,
                    per_sample_weights=values[:, start:stop].contiguous(),
                    mode="sum",
                )
            start = stop
            yield kept, (values[:, :stop] != 0).sum(dim=1).to(torch.float64)


@dataclass(frozen=True)
class TrainingRows:
    """The training rows of an evaluator as baselines are fitted on them (``api.FitData``)."""

    ctx: api.EvalContext
    _drawn: dict[int, Tensor] = field(default_factory=dict)

    @property
    def d_in(self) -> int:
        """Features per row."""
        return self.ctx.info.d_in

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.ctx.seed

    @property
    def hook(self) -> str:
        """The hook point."""
        return self.ctx.hook

    @property
    def inputs(self) -> Any:
        """Moments of all training rows."""
        return self.ctx.info.inputs

    def sample(self, rows: int) -> Tensor:
        """At most so many training rows [n, d_in] float32, evenly spread: those of the controls."""
        if rows not in self._drawn:
            n = self.ctx.n_train
            wanted = torch.arange(n)
            if n > rows:
                wanted = torch.linspace(0, n - 1, rows).round().to(torch.int64)
            parts, start = [], 0
            for chunk in self.ctx.chunks("train"):
                inside = wanted[(wanted >= start) & (wanted < start + len(chunk.x))] - start
                parts.append(chunk.x.cpu()[inside].to(torch.float32))
                start += len(chunk.x)
            self._drawn[rows] = torch.cat(parts) if parts else torch.zeros(0, self.d_in)
        return self._drawn[rows]


def fit(config: FvuL0CurveConfig, ctx: api.EvalContext, l0s: list[float]) -> dict[str, Baseline]:
    """The baselines by name, each with a grid of k that holds the whole numbers beside every L0."""
    data, train = TrainingRows(ctx), ctx.info.inputs.train
    found: dict[str, Baseline] = {}
    for name in dict.fromkeys(config.baselines):
        if name in {"random", "ica"}:
            found[name] = _overcomplete(name, config, data, train, l0s)
            continue
        vectors = components(train) if name.startswith("pca") else None
        keep = {"pca": "first", "identity_relu": "positive"}.get(name, "largest")
        k = grid(train.cxx.shape[0], config.points, l0s)
        found[name] = Baseline(k, Basis(vectors, keep))
    return found


def _overcomplete(
    name: str, config: FvuL0CurveConfig, data: TrainingRows, train: Gram, l0s: list[float]
) -> Baseline:
    if name == "ica":
        options = IcaConfig(k=1, rows=config.ica_rows, max_iterations=config.ica_max_iterations)
        sae = ica.fit(options, data)
        assert isinstance(sae, api.CanonicalSAE)
        codes = Overcomplete(sae.W_enc, sae.W_dec)
        k = grid(codes.encoder.shape[1], config.points, l0s, reach=REACH * max(l0s))
        return Baseline(k, codes)
    atoms = directions(config.random_width or 8 * data.d_in, data).to(torch.float32)
    k = grid(len(atoms), config.points, l0s, reach=REACH * max(l0s))
    rows = data.sample(ROWS).to(torch.float64) - train.mean
    return Baseline(k, Overcomplete(atoms.T, atoms).fitted(rows, k))


def grid(most: int, points: int, l0s: list[float], *, reach: float | None = None) -> Tensor:
    """Values of k [G]: 0, so many from 1 to ``most`` or ``reach`` evenly in log k, those beside each L0."""
    end = most if reach is None else max(1, min(most, round(reach)))
    even = torch.logspace(0, torch.tensor(float(end)).log10().item(), points).round().tolist()
    beside = [float(side) for l0 in l0s for side in (int(l0), -int(-l0 // 1))]
    return torch.tensor(sorted({0, *(int(k) for k in (*even, *beside) if k <= end)}))
