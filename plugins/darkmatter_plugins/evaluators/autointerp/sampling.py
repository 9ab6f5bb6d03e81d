"""Which latents are scored, and on which fragments of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.autointerp.descriptor import AutointerpConfig
from darkmatter_plugins.interpretability.fragments import FragmentSampler, Sample
from darkmatter_plugins.interpretability.latents import codes_of, sampled_latents


@dataclass(frozen=True)
class TrainFirings:
    """Training rows on which each latent's code is above 0: [d_sae] int64."""

    def start(self, info: api.PassInfo) -> TrainFiringsCollector:
        """A fresh collector."""
        return TrainFiringsCollector(torch.zeros(info.d_sae, dtype=torch.int64))


@dataclass
class TrainFiringsCollector:
    """Collects ``TrainFirings``."""

    counts: Tensor

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in training rows."""
        if rows == "train":
            fires = chunk.codes.indices[chunk.codes.values > 0]
            self.counts += torch.bincount(fires.cpu(), minlength=len(self.counts))

    def merge(self, other: TrainFiringsCollector) -> None:
        """Take in the next shard."""
        self.counts += other.counts

    def finish(self) -> Tensor:
        """The counts."""
        return self.counts


def scored_latents(firings: Tensor, config: AutointerpConfig, seed: int) -> Tensor:
    """The latents that are scored, ascending: they fire on enough training rows, of held-out ones unseen."""
    enough = firings >= config.min_firings
    if config.choose == "first":
        enough[config.latents :] = False
    return sampled_latents(enough, config.latents, seed)


@dataclass(frozen=True)
class Drawn:
    """One latent with its fragments; ``other`` is the place of the latent that its control looks at.

    ``n_train_random`` counts the random fragments of the training side, top ones among them.
    """

    latent: int
    firings: int
    train: api.Fragments
    n_train_random: int
    test: Sample
    other: int


@dataclass(frozen=True)
class Draws:
    """The fragments of all latents, and how many there were to draw from on each side of the split."""

    samples: Sequence[Drawn]
    available: Mapping[api.Rows, int]


def drawn(ctx: api.EvalContext, config: AutointerpConfig, latents: Tensor, firings: Tensor) -> Draws:
    """Every latent's fragments; none where a side of the split has no fragment."""
    train, test = _sampler(ctx, config, latents, "train"), _sampler(ctx, config, latents, "test")
    available: dict[api.Rows, int] = {"train": train.seen, "test": test.seen}
    if not all(available.values()):
        return Draws([], available)
    other = _others(len(latents), ctx.seed)
    samples = []
    for place, latent in enumerate(latents.tolist()):
        seen, held_out = train.of(place), test.of(place)
        fires, shown = int(firings[latent]), int(seen.random.sum())
        samples.append(Drawn(latent, fires, seen.fragments, shown, held_out, other[place]))
    return Draws(samples, available)


def _others(count: int, seed: int) -> list[int]:
    """Another place for each: the next on a circle in an order drawn by the seed."""
    circle = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(circle)
    other[circle] = circle.roll(-1)
    return [int(place) for place in other]


def _sampler(
    ctx: api.EvalContext, config: AutointerpConfig, latents: Tensor, rows: api.Rows
) -> FragmentSampler:
    """One side's fragments; bounded by the chunk and the fragments kept, whatever the text's length."""
    count = config.train_fragments if rows == "train" else config.test_fragments
    sampler = FragmentSampler(
        len(latents), size=config.fragment, top=count, random_count=count, seed=ctx.seed, draw=config.draw
    )
    for chunk in ctx.chunks(rows):
        assert chunk.tokens is not None  # required
        tokens = chunk.tokens.cpu().to(torch.int64)
        sampler.offer(chunk.position.cpu(), tokens, codes_of(chunk.codes, latents))
    return sampler
