"""TopK sparse autoencoders, trained on streamed rows.

    f = topk_k((x - b_dec) W_enc + b_enc), negative ones set to 0        x̂ = f W_dec + b_dec
    loss = Σ|x - x̂|² / Σ|x - x̄|² over the batch, its fraction of variance unexplained

Decoder rows have unit norm, W_enc begins as their transpose, b_dec at the geometric median (or the mean).
Adam with a linear warm-up and a linear decay to zero, gradients clipped. Rows are centred and scaled to a
mean square of one per dimension while training, and the weights are folded back at the end, so the learning
rate means the same whatever the units of x. float32; all random numbers come from the seed, and every
product is one that a device computes in a fixed order. Source of the recipe: Gao et al., and Engels et
al.'s training on error vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from darkmatter import api
from darkmatter_plugins.training.encode import topk_encode
from darkmatter_plugins.training.rows import ShuffledRows

CURVE_POINTS = 50
"""Points of a training curve, each the mean over its steps."""

DEAD_AFTER = 100
"""Steps without firing after which the auxiliary loss takes a latent for dead."""

VARIANCE_FLOOR = 1e-8
"""Least variance per number that a batch's FVU is taken relative to; over all rows it is about 1."""

MEDIAN_ROWS, MEDIAN_STEPS = 4096, 50
"""Rows and iterations for the geometric median."""


@dataclass(frozen=True)
class TopKPlan:
    """What is trained, and for how long; ``warmup`` is the share of the steps before the peak rate.

    ``auxk`` weighs the auxiliary loss by which dead latents explain the residual (0: none).
    """

    k: int
    width: int
    steps: int
    lr: float
    warmup: float = 0.05
    clip: float = 1.0
    auxk: float = 0.0
    centre: Literal["geometric_median", "mean"] = "geometric_median"

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ...: up to ``lr`` during the warm-up, then down to zero."""
        rising = max(1, round(self.warmup * self.steps))
        falling = max(1, self.steps - rising)
        return self.lr * min((step + 1) / rising, (self.steps - step) / falling, 1.0)


@dataclass(frozen=True)
class Trained:
    """An SAE with its training curve: ``fvu[i]`` is the batches' mean FVU up to step ``step[i]``."""

    sae: api.CanonicalSAE
    rows: int
    step: list[int] = field(default_factory=list)
    fvu: list[float] = field(default_factory=list)


def train_topk(rows: ShuffledRows, plan: TopKPlan, seed: int) -> list[Trained]:
    """One SAE per slice of the rows [n, slices, d], each trained on the same batches.

    They begin from the same random directions, so that they differ by what they are trained on alone.
    """
    sample = rows.sample()
    states = [_State(part, plan, seed) for part in sample.unbind(1)]
    curves: list[list[float]] = [[] for _ in states]
    for step, batch in enumerate(islice(rows, plan.steps)):
        for state, curve, part in zip(states, curves, batch.unbind(1), strict=True):
            curve.append(state.step(part, step))
    seen = plan.steps * rows.batch
    return [Trained(state.sae(), seen, *_means(curve)) for state, curve in zip(states, curves, strict=True)]


class _State:
    """One SAE in training: its parameters on centred and scaled rows, and the optimiser."""

    def __init__(self, sample: Tensor, plan: TopKPlan, seed: int) -> None:
        self.plan = plan
        mean = sample.mean(dim=0)
        self.centre = mean if plan.centre == "mean" else geometric_median(sample[:MEDIAN_ROWS])
        spread = float((sample - self.centre).square().mean())
        self.scale = spread**-0.5 if spread > 0 else 1.0
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(plan.width, sample.shape[1], generator=generator)
        directions = normalize(drawn).to(sample.device)
        self.decoder = torch.nn.Parameter(directions)
        self.encoder = torch.nn.Parameter(directions.clone())
        self.b_enc = torch.nn.Parameter(directions.new_zeros(plan.width))
        self.b_dec = torch.nn.Parameter(directions.new_zeros(sample.shape[1]))
        self.parameters = [self.encoder, self.b_enc, self.decoder, self.b_dec]
        self.optimiser = torch.optim.Adam(self.parameters, lr=plan.lr)
        self.silent = torch.zeros(plan.width, dtype=torch.int64, device=sample.device)

    def step(self, rows: Tensor, number: int) -> float:
        """One optimiser step on rows [batch, d]; gives the batch's FVU before it."""
        x = (rows - self.centre) * self.scale
        with torch.enable_grad():
            inputs = x - self.b_dec.detach()
            values, indices = topk_encode(inputs, self.encoder, self.b_enc, self.plan.k)
            error = x - _decode(values, indices, self.decoder) - self.b_dec
            fvu = error.square().sum() / _variance(x)
            loss = fvu
            if self.plan.auxk:
                loss = fvu + self.plan.auxk * self._auxiliary(inputs, error.detach())
            for group in self.optimiser.param_groups:
                group["lr"] = self.plan.rate(number)
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.plan.clip)
        self.optimiser.step()
        with torch.no_grad():
            self.decoder.copy_(normalize(self.decoder))
            self.silent += 1
            self.silent[indices[values > 0]] = 0
        return float(fvu.detach())

    def _auxiliary(self, inputs: Tensor, residual: Tensor) -> Tensor:
        """The FVU with which the dead latents, half as many as dimensions, explain the residual."""
        dead = (self.silent >= DEAD_AFTER).nonzero().flatten()
        if not len(dead):
            return residual.new_zeros(())
        k = min(len(dead), max(1, residual.shape[1] // 2))
        values, indices = topk_encode(inputs, self.encoder[dead], self.b_enc[dead], k)
        missed = residual - _decode(values, indices, self.decoder[dead])
        return missed.square().sum() / _variance(residual)

    @torch.no_grad()
    def sae(self) -> api.CanonicalSAE:
        """The SAE on rows as they came: codes are divided by the scale, decoder rows keep unit norm."""
        b_dec = self.b_dec / self.scale + self.centre
        return api.CanonicalSAE(
            W_enc=self.encoder.T.contiguous(),
            b_enc=self.b_enc / self.scale,
            W_dec=self.decoder.detach().clone(),
            b_dec=b_dec,
            subtract=b_dec,
            activation=api.TopK(self.plan.k),
            metadata=api.SAEMetadata(format="trained", architecture="topk"),
        )


def _decode(values: Tensor, indices: Tensor, decoder: Tensor) -> Tensor:
    """Codes [n, k] times decoder rows: gathered on a CPU; dense on a GPU, which gathers in no fixed order."""
    if decoder.device.type == "cpu":
        return embedding_bag(indices, decoder, per_sample_weights=values, mode="sum")
    dense = values.new_zeros(len(values), len(decoder)).scatter(1, indices, values)
    return dense @ decoder


def _variance(x: Tensor) -> Tensor:
    """Σ|x - x̄|² of rows in units of their spread; what rounding leaves of constant rows is no variance."""
    return (x - x.mean(dim=0)).square().sum().clamp_min(VARIANCE_FLOOR * x.numel())


def geometric_median(rows: Tensor) -> Tensor:
    """The point [d] of least total distance to rows [n, d], by Weiszfeld's iteration from the mean."""
    wide = rows.double()
    point = wide.mean(dim=0)
    for _ in range(MEDIAN_STEPS):
        distance = (wide - point).norm(dim=1)
        if float(distance.max()) == 0:  # all rows are the same
            break
        weight = 1 / distance.clamp_min(1e-12 * float(distance.max()))
        point = weight @ wide / weight.sum()
    return point.to(rows.dtype)


def _means(curve: list[float]) -> tuple[list[int], list[float]]:
    """The curve in at most ``CURVE_POINTS`` stretches: their last steps (from 1) and their means."""
    size = max(1, -(-len(curve) // CURVE_POINTS))
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    ends = [min(len(curve), (number + 1) * size) for number in range(len(parts))]
    return ends, [sum(part) / len(part) for part in parts]
