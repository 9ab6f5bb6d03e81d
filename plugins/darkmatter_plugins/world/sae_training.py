"""Training of TopK and JumpReLU sparse autoencoders on rows held in memory.

Both are trained on rows scaled to a mean square of one per dimension, with unit decoder rows; the scale
is folded into the weights at the end, so the result acts on raw activations. For TopK only the chosen
latents are ever touched after the first matrix product, forward and backward, which makes a width of
4096 practical on one core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darkmatter_plugins.training.encode import topk_encode

LR, WARMUP, BATCH, RESAMPLE_EVERY = 4e-3, 30, 2048, 60


@dataclass
class Weights:
    """f = activation((x - b_dec) W_enc + b_enc) and x̂ = f W_dec + b_dec, on raw activations.

    W_enc is [d_in, d_sae], W_dec [d_sae, d_in].
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    k: int | None = None
    threshold: Tensor | None = None


class _JumpReLU(torch.autograd.Function):
    """h where h > threshold, and how many are.

    Thresholds learn through a rectangular kernel (Rajamanoharan et al. 2024).
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, log_threshold: Tensor, width: float) -> tuple[Tensor, Tensor]:
        threshold = log_threshold.exp()
        active = h > threshold
        ctx.save_for_backward(active, threshold, (h - threshold).abs() < width / 2)
        ctx.width = width
        return h * active, active.float().sum(-1)

    @staticmethod
    def backward(ctx: Any, grad_f: Tensor, grad_count: Tensor) -> tuple[Tensor, Tensor, None]:
        active, threshold, near = ctx.saved_tensors
        pull = (grad_f * near).sum(0) * threshold + (grad_count.unsqueeze(-1) * near).sum(0)
        return grad_f * active, -pull / ctx.width * threshold, None


# The name keeps the type checker quiet: `apply` has no types.
_jumprelu: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]] = _JumpReLU.apply


class Trainer:
    """One SAE in training on rows [n, d]; `rows` are not changed."""

    def __init__(self, rows: Tensor, d_sae: int, steps: int, seed: int) -> None:
        self.rng = torch.Generator().manual_seed(seed)
        self.rows, self.steps, self.d_sae = rows, steps, d_sae
        self.mean = rows[:100_000].mean(0)
        self.scale = float((rows[:100_000] - self.mean).pow(2).mean().rsqrt())
        directions = torch.randn(d_sae, rows.shape[1], generator=self.rng)
        self.decoder = torch.nn.Parameter(directions / directions.norm(dim=1, keepdim=True))
        self.encoder = torch.nn.Parameter(self.decoder.detach().clone())
        self.b_enc = torch.nn.Parameter(torch.zeros(d_sae))
        self.b_dec = torch.nn.Parameter(torch.zeros(rows.shape[1]))
        self.log_threshold = torch.nn.Parameter(torch.zeros(d_sae))
        parameters = [self.encoder, self.b_enc, self.decoder, self.b_dec, self.log_threshold]
        self.peak = LR * min(1.0, math.pow(1024 / d_sae, 0.25))  # wider dictionaries want smaller steps
        self.optimiser = torch.optim.Adam(parameters, lr=self.peak, betas=(0.9, 0.99))
        self.fired = torch.zeros(d_sae)
        self._order = torch.empty(0, dtype=torch.long)

    def batch(self) -> Tensor:
        """The next rows of a random order, drawn anew when used up; centred and scaled."""
        if len(self._order) < BATCH:
            self._order = torch.randperm(len(self.rows), generator=self.rng)
        taken, self._order = self._order[:BATCH], self._order[BATCH:]
        return (self.rows[taken] - self.mean) * self.scale

    def rate(self, step: int) -> float:
        """Warm up, hold, and decay to zero over the last two fifths."""
        return self.peak * min(1.0, (step + 1) / WARMUP, (self.steps - step) / (0.4 * self.steps))

    def update(self, loss: Tensor, step: int) -> None:
        """One optimiser step, after which the decoder rows have unit norm again."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()
        with torch.no_grad():
            self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))

    @torch.no_grad()
    def resample(self, error: Tensor) -> int:
        """Point latents that have not fired since the last call at rows that are badly reconstructed."""
        dead = (self.fired == 0).nonzero().flatten()
        self.fired.zero_()
        if not len(dead):
            return 0
        chosen = torch.multinomial(error.pow(2).sum(1), min(len(dead), BATCH), generator=self.rng)
        dead = dead[: len(chosen)]
        directions = error[chosen] / error[chosen].norm(dim=1, keepdim=True)
        self.decoder[dead] = directions
        self.encoder[dead] = directions * self.encoder.norm(dim=1).mean()
        self.b_enc[dead] = self.b_enc.mean()
        for parameter in (self.encoder, self.decoder, self.b_enc):
            for moment in ("exp_avg", "exp_avg_sq"):
                self.optimiser.state[parameter][moment][dead] = 0
        return len(dead)

    def topk_phase(self, k: int, first: int, last: int) -> None:
        """TopK steps `first` to `last`; dead latents are resampled in the first 60% of all steps."""
        for step in range(first, last):
            x = self.batch()
            values, indices = topk_encode(x - self.b_dec.detach(), self.encoder, self.b_enc, k)
            flat = torch.nn.functional.embedding_bag(
                indices, self.decoder, per_sample_weights=values, mode="sum"
            )
            error = x - flat - self.b_dec
            self.update(error.pow(2).mean(), step)
            self.fired.index_add_(0, indices.flatten(), (values > 0).float().flatten())
            if step % RESAMPLE_EVERY == RESAMPLE_EVERY - 1 and step < 0.6 * self.steps:
                self.resample(error.detach())

    def jumprelu_phase(
        self, l0: float, first: int, last: int, width: float = 0.4, penalty: float = 0.1
    ) -> None:
        """JumpReLU steps with a quadratic penalty that holds the mean number of active latents at `l0`."""
        with torch.no_grad():
            h = torch.addmm(self.b_enc, self.batch() - self.b_dec, self.encoder.T)
            cutoff = h.flatten().topk(int(l0 * len(h))).values[-1]
            self.log_threshold.fill_(math.log(max(float(cutoff), 1e-3)))
        for step in range(first, last):
            x = self.batch()
            h = torch.addmm(self.b_enc, x - self.b_dec, self.encoder.T)
            codes, count = _jumprelu(h, self.log_threshold, width)
            error = x - torch.addmm(self.b_dec, codes, self.decoder)
            self.update(error.pow(2).mean() + penalty * (count.mean() / l0 - 1).pow(2), step)

    @torch.no_grad()
    def weights(self, k: int | None = None) -> Weights:
        """The weights for raw activations: codes are divided by the scale, decoder rows keep unit norm."""
        return Weights(
            W_enc=self.encoder.T.clone().contiguous(),
            b_enc=self.b_enc / self.scale,
            W_dec=self.decoder.clone(),
            b_dec=self.b_dec / self.scale + self.mean,
            k=k,
            threshold=None if k is not None else self.log_threshold.exp() / self.scale,
        )


def train_topk(rows: Tensor, d_sae: int, k: int, steps: int, seed: int) -> Weights:
    """A TopK SAE."""
    trainer = Trainer(rows, d_sae, steps, seed)
    trainer.topk_phase(k, 0, steps)
    return trainer.weights(k)


def train_jumprelu(rows: Tensor, d_sae: int, l0: int, steps: int, seed: int) -> Weights:
    """A JumpReLU SAE: two fifths of the steps as TopK, to settle the dictionary, then with thresholds."""
    trainer = Trainer(rows, d_sae, steps, seed)
    turn = int(0.4 * steps)
    trainer.topk_phase(l0, 0, turn)
    trainer.jumprelu_phase(l0, turn, steps)
    return trainer.weights()
