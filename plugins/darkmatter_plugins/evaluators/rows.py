"""Some of the rows, for evaluators that cost too much to see them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.hashing import row_keys, uniforms

_DRAW = 1  # what the hash is drawn for, apart from noise


@dataclass(frozen=True)
class RowBudget:
    """About ``limit`` rows of each side of the split, each drawn by its number and the seed alone.

    So chunks and workers do not change which, and all SAEs of a run are measured on the same ones.
    """

    limit: int | None
    seed: int
    n_train: int
    n_test: int

    @classmethod
    def of(cls, ctx: api.EvalContext, limit: int | None) -> RowBudget:
        """The budget of one run."""
        return cls(limit, ctx.seed, ctx.n_train, ctx.n_test)

    def share(self, rows: api.Rows) -> float:
        """The probability with which a row of one side is drawn."""
        n = self.n_train if rows == "train" else self.n_test
        return 1.0 if self.limit is None or n <= self.limit else self.limit / n

    def drawn(self, chunk: api.Chunk, rows: api.Rows) -> Tensor:
        """Places [m] of the drawn rows within a chunk, ascending, on the device of the rows."""
        luck = uniforms(row_keys(chunk.row, self.seed, _DRAW))
        return (luck < self.share(rows)).nonzero().squeeze(1).to(chunk.x.device)

    def record(self, train: int, test: int) -> dict[str, Any]:
        """What results keep: rows are those whose hash, as a number in (0, 1), is below the share."""
        return {
            "max_rows": self.limit,
            "seed": self.seed,
            "train": train,
            "test": test,
            "share_train": self.share("train"),
            "share_test": self.share("test"),
        }


def subset(chunk: api.Chunk, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, target and reconstruction [m, d] and the unit [m] of the drawn rows."""
    return chunk.x[drawn], chunk.target[drawn], chunk.reconstruction[drawn], chunk.unit[drawn.cpu()]


def l0(codes: api.Codes, drawn: Tensor) -> Tensor:
    """Active latents [m] int64 of the drawn rows."""
    counts: Tensor = codes.offsets.diff()
    return counts.to(drawn.device)[drawn]


def as_double(*rows: Tensor) -> tuple[Tensor, ...]:
    """The same in float64."""
    return tuple(each.to(torch.float64) for each in rows)
