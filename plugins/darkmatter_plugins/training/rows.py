"""Batches of rows in random order, from a stream that is read again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Blocks = Callable[[int], Iterator[Tensor]]
"""``blocks(epoch)`` gives all rows once, some at a time: tensors [m, ...], m as it comes."""


class ShuffledRows:
    """Endless batches [batch, ...] of the rows of ``blocks``, drawn from a buffer of ``buffer`` rows.

    The buffer is filled, shuffled by ``seed``, half of it is given away in batches, and it is filled again.
    It holds ``buffer`` rows and the rest of one block, whatever the length of the stream. How the stream
    is cut into blocks changes nothing: rows enter the buffer one by one.
    """

    def __init__(self, blocks: Blocks, *, batch: int, buffer: int, seed: int) -> None:
        self.batch = batch
        self.buffer = max(2 * batch, buffer)
        self._generator = torch.Generator().manual_seed(seed)
        self._stream = _endless(blocks)
        self._rest: Tensor | None = None
        self._pool: Tensor | None = None

    def sample(self) -> Tensor:
        """The rows now in the buffer; taking a look uses none of them up."""
        if self._pool is None:
            self._pool = self._take(self.buffer)
        return self._pool

    def __iter__(self) -> Iterator[Tensor]:
        given = self.buffer // 2 // self.batch * self.batch
        while True:
            pool = self.sample()
            order = torch.randperm(len(pool), generator=self._generator).to(pool.device)
            for index in torch.split(order[:given], self.batch):
                yield pool[index]
            kept = pool[order[given:]]
            self._pool = None
            del pool
            self._pool = torch.cat([kept, self._take(given)])

    def _take(self, wanted: int) -> Tensor:
        """Exactly the next ``wanted`` rows of the stream."""
        parts, missing = [], wanted
        while missing:
            block = next(self._stream) if self._rest is None else self._rest
            parts.append(block[:missing])
            self._rest = block[missing:].clone() if len(block) > missing else None
            missing -= len(parts[-1])
        return torch.cat(parts)


def _endless(blocks: Blocks) -> Iterator[Tensor]:
    """All epochs one after another."""
    epoch = 0
    while True:
        found = False
        for block in blocks(epoch):
            if len(block):
                found = True
                yield block
        if not found:
            message = "there are no rows to train on"
            raise ValueError(message)
        epoch += 1
