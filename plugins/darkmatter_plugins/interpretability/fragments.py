"""Fragments of text with the activations of some latents, kept in bounded memory.

A fragment is T neighbouring positions of one context; fragments do not overlap. F counts fragments, L
latents. A latent fires where its code is above 0, also where codes have both signs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from darkmatter import api

Draw = Literal["any", "active"]
"""Random fragments: of all, or (as the second paper's code) of those on which the latent fires."""


class FragmentCutter:
    """Cuts rows that come in the order of their contexts, a few at a time, into fragments of ``size``.

    Where a context ends, or a position is left out, what is shorter than a fragment is dropped. How the
    rows come in chunks changes nothing.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._rest: tuple[Tensor, ...] = ()

    def cut(self, position: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        """The fragments [F, T, ...] of each part [n, ...] that rows at these positions [n] complete."""
        rows: tuple[Tensor, ...] = (position, *parts)
        if self._rest:
            rows = tuple(torch.cat(pair) for pair in zip(self._rest, rows, strict=True))
        n = len(rows[0])
        number = torch.arange(n)
        begins = torch.ones(n, dtype=torch.bool)
        begins[1:] = rows[0][1:] != rows[0][:-1] + 1
        run = torch.where(begins, number, 0)
        run = run.cummax(dim=0).values if n else run
        last = number[(number - run) % self.size == self.size - 1]
        index = last[:, None] + torch.arange(1 - self.size, 1)
        first = int(run[-1]) if n else 0
        rest = first + (n - first) // self.size * self.size
        self._rest = tuple(part[rest:].clone() for part in rows)
        return tuple(part[index] for part in rows[1:])


class FragmentSampler:
    """Per latent the ``top`` fragments of highest activation and ``random_count`` random ones.

    Random fragments are those of least chance among all: each has a number drawn from ``seed`` and its own
    place in the order, so what is drawn does not depend on how rows come. Nothing else is kept.
    """

    def __init__(
        self, n_latents: int, *, size: int, top: int, random_count: int, seed: int, draw: Draw = "any"
    ) -> None:
        self.seed, self.draw, self.seen = seed, draw, 0
        self._pool = torch.zeros(n_latents, dtype=torch.int64)
        self._random_count = random_count
        self._cutter = FragmentCutter(size)
        self._top = _Best(n_latents, top, size)
        self._random = _Best(n_latents, random_count, size)

    def offer(self, position: Tensor, tokens: Tensor, activations: Tensor) -> None:
        """Take in rows in order: their positions [n], tokens [n] and activations [n, L]."""
        cut_tokens, cut = self._cutter.cut(position, tokens, activations)
        number = torch.arange(self.seen, self.seen + len(cut_tokens))
        self.seen += len(cut_tokens)
        cut = cut.permute(2, 0, 1)
        fires = (cut > 0).any(dim=2)
        seeds = [f"{self.seed}/{each}" for each in number.tolist()]
        chances = [random.Random(seed).random() for seed in seeds]  # noqa: S311 - no secret
        chance = torch.tensor(chances, dtype=torch.float64).expand(fires.shape)
        allowed = fires if self.draw == "active" else torch.ones_like(fires)
        self._pool += allowed.sum(dim=1)
        self._top.offer(torch.where(fires, cut.amax(dim=2).double(), -torch.inf), number, cut_tokens, cut)
        self._random.offer(torch.where(allowed, chance, -torch.inf), number, cut_tokens, cut)

    def of(self, latent: int) -> Sample:
        """One latent's fragments; a random one that is a top one too counts once."""
        top, other = self._top.of(latent), self._random.of(latent)
        fresh = ~torch.isin(other[0], top[0])
        tokens, activations = (torch.cat([a, b[fresh]]) for a, b in zip(top[1:], other[1:], strict=True))
        drawn = torch.cat([torch.isin(top[0], other[0]), fresh[fresh]])
        exhausted = int(self._pool[latent]) <= self._random_count
        return Sample(api.Fragments(tokens, activations, len(top[0])), drawn, exhausted)


@dataclass(frozen=True)
class Sample:
    """One latent's fragments; ``random`` [F] says which the random draw holds, top ones among them.

    Where the draw is ``exhausted`` it holds all that there was to draw from, every top one among them.
    """

    fragments: api.Fragments
    random: Tensor
    exhausted: bool


class _Best:
    """Per latent the ``count`` fragments with the highest keys; the earlier one where keys are equal."""

    def __init__(self, n_latents: int, count: int, size: int) -> None:
        self.count = count
        self.key = torch.empty(n_latents, 0, dtype=torch.float64)
        self.number = torch.empty(n_latents, 0, dtype=torch.int64)
        self.tokens = torch.empty(n_latents, 0, size, dtype=torch.int64)
        self.activations = torch.empty(n_latents, 0, size)

    def offer(self, key: Tensor, number: Tensor, tokens: Tensor, activations: Tensor) -> None:
        """Fragments with keys [L, F]: their numbers [F], tokens [F, T] and activations [L, F, T]."""
        keys = torch.cat([self.key, key], dim=1)
        order = keys.sort(dim=1, descending=True, stable=True).indices[:, : self.count]
        wide = order[:, :, None].expand(-1, -1, tokens.shape[1])
        latents = len(key)
        self.key = keys.gather(1, order)
        self.number = torch.cat([self.number, number.expand(latents, -1)], 1).gather(1, order)
        self.tokens = torch.cat([self.tokens, tokens.expand(latents, -1, -1)], 1).gather(1, wide)
        self.activations = torch.cat([self.activations, activations], 1).gather(1, wide)

    def of(self, latent: int) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers [F], tokens and activations [F, T] of one latent, best first."""
        there = self.key[latent] > -torch.inf
        kept = (self.number, self.tokens, self.activations)
        return kept[0][latent][there], kept[1][latent][there], kept[2][latent][there]
