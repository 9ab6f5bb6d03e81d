"""Which latents are looked at, and the rows on which they fire, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.hashing import row_keys

_DRAW = 2  # what the hash is drawn for


@dataclass(frozen=True)
class Firings:
    """Rows on which each latent fires, by side: [2, d_sae] int64, training rows first."""

    def start(self, info: api.PassInfo) -> FiringsCollector:
        """A fresh collector."""
        return FiringsCollector(torch.zeros(2, info.d_sae, dtype=torch.int64))


@dataclass
class FiringsCollector:
    """Counts firings."""

    counts: Tensor

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in rows of one side."""
        fired = chunk.codes.indices[chunk.codes.values != 0].cpu()
        self.counts[int(rows == "test")] += torch.bincount(fired, minlength=self.counts.shape[1])

    def merge(self, other: FiringsCollector) -> None:
        """Take in the next shard."""
        self.counts += other.counts

    def finish(self) -> Tensor:
        """The counts."""
        return self.counts


@dataclass
class Entries:
    """Firings of several latents: one per place of equally long columns.

    Attributes:
        latent: [n] place of the latent among those looked at.
        row: [n] number of the row in the cache.
        token: [n] its token.
        value: [n] float64 activation.
        key: [n] the row's own random number.
    """

    latent: Tensor
    row: Tensor
    token: Tensor
    value: Tensor
    key: Tensor

    @staticmethod
    def none() -> Entries:
        """No firing."""
        empty = torch.zeros(0, dtype=torch.int64)
        return Entries(empty, empty, empty, torch.zeros(0, dtype=torch.float64), empty)

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: Tensor) -> Entries:
        """Some of them, in the order of ``index``."""
        return Entries(*(part[index] for part in vars(self).values()))

    def joined(self, other: Entries) -> Entries:
        """These, then the others."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Entries(*(torch.cat(pair) for pair in pairs))

    def of(self, place: int) -> Entries:
        """Those of one latent."""
        return self.take((self.latent == place).nonzero().flatten())

    def first_of_each(self, limit: int, *order: Tensor) -> Entries:
        """At most ``limit`` per latent, first in the order of these keys, the foremost key first."""
        index = torch.arange(len(self))
        for key in (*reversed(order), self.latent):
            index = index[key[index].sort(stable=True).indices]
        latent = self.latent[index]
        rank = torch.arange(len(index)) - torch.searchsorted(latent, latent)
        return self.take(index[rank < limit])


@dataclass(frozen=True)
class LatentRows:
    """Rows on which some latents fire: drawn ones, those of largest activation, and sums over all.

    Args:
        latents: the latents looked at, ascending.
        keep: drawn firings kept per latent; what is drawn depends on the row and the seed alone.
        top: contexts of largest activation kept per latent.
        positions: positions of a context.
        seed: the run's.
    """

    latents: tuple[int, ...]
    keep: int
    top: int
    positions: int
    seed: int

    def start(self, info: api.PassInfo) -> LatentRowsCollector:
        """A fresh collector."""
        place = torch.full((info.d_sae,), -1)
        place[list(self.latents)] = torch.arange(len(self.latents))
        return LatentRowsCollector(self, place, torch.zeros(2, len(self.latents), dtype=torch.float64))


@dataclass
class LatentRowsCollector:
    """What is kept of the firings.

    Attributes:
        sums: [2, L] Σ 1 and Σ c over all firings.
        low, high: [L] smallest and largest activation; infinite where there is none.
        drawn: at most ``keep`` firings of each latent, in the order of their random numbers.
        top: the best firing in each of the ``top`` contexts of each latent, largest first.
        tokens: ids of all tokens seen, ascending.
    """

    spec: LatentRows
    place: Tensor
    sums: Tensor
    low: Tensor = field(init=False)
    high: Tensor = field(init=False)
    drawn: Entries = field(default_factory=Entries.none)
    top: Entries = field(default_factory=Entries.none)
    tokens: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    def __post_init__(self) -> None:
        self.low = torch.full_like(self.sums[0], torch.inf)
        self.high = -self.low

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the protocol's
        """Take in rows."""
        assert chunk.tokens is not None
        tokens = chunk.tokens.cpu().to(torch.int64)
        self.tokens = torch.unique(torch.cat([self.tokens, tokens]))
        codes = chunk.codes.to("cpu")
        latent = self.place[codes.indices]
        kept = ((latent >= 0) & (codes.values != 0)).nonzero().flatten()
        at, row = codes.row_ids()[kept], chunk.row.cpu()
        keys = row_keys(row, self.spec.seed, _DRAW)
        found = Entries(latent[kept], row[at], tokens[at], codes.values[kept].double(), keys[at])
        self.sums[0].index_add_(0, found.latent, torch.ones_like(found.value))
        self.sums[1].index_add_(0, found.latent, found.value)
        self.low.scatter_reduce_(0, found.latent, found.value, "amin")
        self.high.scatter_reduce_(0, found.latent, found.value, "amax")
        self._keep(found, found)

    def _keep(self, drawn: Entries, top: Entries) -> None:
        drawn, top = self.drawn.joined(drawn), self.top.joined(top)
        self.drawn = drawn.first_of_each(self.spec.keep, drawn.key)
        self.top = self._best(top)

    def _best(self, entries: Entries) -> Entries:
        """The best firing per context, of the best contexts; the earlier row where they are equal."""
        context = entries.row // self.spec.positions
        by_context = Entries(context, entries.row, entries.token, entries.value, entries.latent)
        by_context.latent = context * len(self.spec.latents) + entries.latent
        best = by_context.first_of_each(1, -entries.value, entries.row)
        best.latent, best.key = best.key, torch.zeros_like(best.row)
        return best.first_of_each(self.spec.top, -best.value, best.row)

    def merge(self, other: LatentRowsCollector) -> None:
        """Take in the next shard."""
        self.sums += other.sums
        self.low = torch.minimum(self.low, other.low)
        self.high = torch.maximum(self.high, other.high)
        self.tokens = torch.unique(torch.cat([self.tokens, other.tokens]))
        self._keep(other.drawn, other.top)

    def finish(self) -> LatentRowsCollector:
        """Itself."""
        return self
