"""The parts of the error on whole contexts: S, e, L and N at the patched positions.

Notation: x [n, d_in] what the SAE reads, y [n, d] what stands at the patched hook point (x itself
unless it is a transcoder), S = Sae(x), e = y - S, L = b*x + c, N = e - L.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import LinearMap

MISALIGNED = (
    "the rows that were encoded are not those of the contexts: their tokens differ. `darkmatter cache rm` "
    "removes the cache, and the next run makes it anew"
)


@dataclass(frozen=True)
class ErrorParts:
    """Rows at the patched positions of a batch, in the order of its contexts and positions.

    Attributes:
        patched: [B, P] True where the activation is replaced.
        sae: [n, d] S.
        error: [n, d] e.
        linear: [n, d] L; all float64.
    """

    patched: Tensor
    sae: Tensor
    error: Tensor
    linear: Tensor

    @property
    def nonlinear(self) -> Tensor:
        """[n, d] N."""
        return self.error - self.linear


class HeldOutRows:
    """The held-out rows of the shared pass, decoded, handed out context by context.

    Chunks and contexts hold the same rows in the same order; token ids and positions of each are
    compared all the same, because one row too many would patch every token with its neighbour's S.
    """

    def __init__(self, ctx: api.EvalContext, linear: LinearMap) -> None:
        self._linear = linear
        self._pieces = self._decoded(ctx)
        self._rest: tuple[Tensor, ...] | None = None

    def _decoded(self, ctx: api.EvalContext) -> Iterator[tuple[Tensor, ...]]:
        for chunk in ctx.chunks("test"):
            assert chunk.tokens is not None  # the evaluator requires tokens
            wide = chunk.reconstruction.to(torch.float64)
            yield chunk.tokens, chunk.position, wide, chunk.error, self._linear(chunk.x)

    def of(self, batch: api.Contexts) -> ErrorParts:
        """The held-out rows of the next contexts."""
        n = int(batch.rows.sum())
        found = () if self._rest is None else (self._rest,)
        while sum(len(piece[0]) for piece in found) < n:
            piece = next(self._pieces, None)
            if piece is None:
                raise api.ItemError(MISALIGNED)
            found = (*found, piece)
        whole = [torch.cat(columns) for columns in zip(*found, strict=True)]
        tokens, position, sae, error, linear = (column[:n] for column in whole)
        self._rest = tuple(column[n:] for column in whole)
        assert batch.tokens is not None
        where = batch.rows.nonzero()[:, 1]
        if not (torch.equal(tokens.cpu(), batch.tokens[batch.rows]) and torch.equal(position.cpu(), where)):
            raise api.ItemError(MISALIGNED)
        return ErrorParts(batch.rows, sae, error, linear)


def everywhere(held_out: ErrorParts, batch: api.Contexts, sae: api.SAE, linear: LinearMap) -> ErrorParts:
    """The same for every position: those that are not held out are encoded here."""
    others = ~batch.rows
    device = held_out.sae.device
    x, y = batch.x[others].to(device), batch.target[others].to(device, torch.float64)
    S = sae.reconstruct(x).to(torch.float64)
    found = []
    for inside, outside in (
        (held_out.sae, S),
        (held_out.error, y - S),
        (held_out.linear, linear(x)),
    ):
        whole = inside.new_empty(*batch.rows.shape, inside.shape[1])
        whole[batch.rows.to(device)], whole[others.to(device)] = inside, outside
        found.append(whole.flatten(0, 1))
    return ErrorParts(torch.ones_like(batch.rows), *found)
