"""FVU, sparsity and their variants, all from one pass over the held-out rows.

Notation: x target [n, d], x̂ reconstruction, e = x - x̂, x̄ mean of the held-out rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter import api
from darkmatter.stats import UnitSums

NAMES = (
    "rows",
    "error_sq",
    "variance",
    "target_sq",
    "l0",
    "l1",
    "cosine",
    "cosine_rows",
    "norm_ratio",
    "nmse",
    "nonzero_rows",
    "legacy_fvu",
    "varying_rows",
    "dot",
    "reconstruction_sq",
)


@dataclass(frozen=True)
class ReconstructionSums:
    """Sums per unit of ``NAMES`` over the test rows."""

    def start(self, info: api.PassInfo) -> ReconstructionCollector:
        """A fresh collector."""
        return ReconstructionCollector(info.inputs.mean_target, UnitSums(NAMES))


@dataclass
class ReconstructionCollector:
    """Collects ``ReconstructionSums``."""

    mean: Tensor
    sums: UnitSums

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in test rows."""
        if rows == "test":
            self.sums.add(chunk.unit, row_quantities(chunk, self.mean))

    def merge(self, other: ReconstructionCollector) -> None:
        """Take in the next shard."""
        self.sums.merge(other.sums)

    def finish(self) -> UnitSums:
        """The sums."""
        return self.sums


def row_quantities(chunk: api.Chunk, mean: Tensor) -> Tensor:
    """``NAMES`` per row [n, len(NAMES)]; a ratio without a denominator counts no row."""
    x = chunk.target.to(torch.float64)
    xh = chunk.reconstruction.to(torch.float64)
    x_sq, xh_sq, e_sq = (part.square().sum(dim=1) for part in (x, xh, chunk.error))
    variance = (x - mean.to(x.device)).square().sum(dim=1)
    dot = (x * xh).sum(dim=1)
    both, nonzero, varying = (x_sq > 0) & (xh_sq > 0), x_sq > 0, variance > 0
    codes = chunk.codes
    return torch.stack(
        [
            torch.ones_like(x_sq),
            e_sq,
            variance,
            x_sq,
            codes.offsets.diff().to(torch.float64),
            _row_sums(codes.values.abs(), codes.offsets),
            torch.where(both, dot / (x_sq * xh_sq).sqrt(), 0.0),
            both.to(torch.float64),
            torch.where(nonzero, (xh_sq / x_sq).sqrt(), 0.0),
            torch.where(nonzero, e_sq / x_sq, 0.0),
            nonzero.to(torch.float64),
            torch.where(varying, e_sq / variance, 0.0),
            varying.to(torch.float64),
            dot,
            xh_sq,
        ],
        dim=1,
    )


def _row_sums(values: Tensor, offsets: Tensor) -> Tensor:
    """Sums of each row's entries, in their order (which adding in parallel would not keep)."""
    return torch.segment_reduce(values.to(torch.float64), "sum", offsets=offsets)


class Reconstruction:
    """The evaluator `reconstruction`."""

    def __init__(self, config: api.Config) -> None:
        self.config = config

    def collectors(self) -> Sequence[api.CollectorSpec]:
        """Everything comes from the shared pass."""
        return (ReconstructionSums(), api.LatentMoments(), api.MeanError())

    def run(self, ctx: api.EvalContext) -> api.EvalOutput:
        """All metrics."""
        out = ctx.output()
        sums: UnitSums = ctx.collected(ReconstructionSums())
        out.add_columns(sums.columns(ctx.info.n_units))
        constant = "the activations do not vary on the held-out rows"
        floor = variance_floor(out)
        out.ratio("fvu", "error_sq", "variance", floor=floor, undefined=constant)
        add_warning(out)
        out.ratio("l0", "l0", "rows")
        self._dead(out, ctx)
        zero = "every reconstruction or every activation is zero"
        out.ratio("cosine", "cosine", "cosine_rows", undefined=zero)
        out.ratio("norm_ratio", "norm_ratio", "nonzero_rows", undefined="every activation is zero")
        out.ratio("mse", "error_sq", "rows")
        out.ratio("l1", "l1", "rows")
        out.ratio(
            "relative_reconstruction_bias", "reconstruction_sq", "dot", undefined="Σ x·x̂ is not positive"
        )
        self._variants(out, ctx, floor, constant)
        return out

    @staticmethod
    def _dead(out: api.EvalOutput, ctx: api.EvalContext) -> None:
        fired = ctx.collected(api.LatentMoments()).sums[0]
        if len(fired) == 0:
            out.undefined("dead_fraction", "the dictionary has no latents")
            return
        why = "a bootstrap cannot make unseen firings"
        out.plain("dead_fraction", float((fired == 0).double().mean()), why_no_interval=why)

    @staticmethod
    def _variants(out: api.EvalOutput, ctx: api.EvalContext, floor: float, constant: str) -> None:
        """Other tools' formulas under their own names, so that a different number explains itself."""
        total = {name: float(column.sum()) for name, column in out.columns.items()}
        out.ratio("fvu_uncentred", "error_sq", "target_sq", undefined="every activation is zero")
        out.ratio(
            "saelens.explained_variance",
            "error_sq",
            "variance",
            complement=True,
            floor=floor,
            undefined=constant,
        )
        out.ratio(
            "saelens.explained_variance_legacy",
            "legacy_fvu",
            "varying_rows",
            complement=True,
            # Where the activations do not vary as a whole, no row's distance from the mean means much.
            floor=0.0 if total["variance"] > floor else math.inf,
            undefined=constant,
        )
        out.ratio("openai.normalized_mse", "nmse", "nonzero_rows", undefined="every activation is zero")
        n, d = total["rows"], ctx.info.d_out
        why = "a variant for comparison with another tool"
        scalar_mean = float(ctx.info.inputs.mean_target.mean())
        scalar_variance = total["target_sq"] - n * d * scalar_mean**2
        unmoved = total["error_sq"] - n * float(ctx.collected(api.MeanError()).square().sum())
        square = total["target_sq"]
        for name, top, bottom, complement in (
            ("fvu_scalar_centre", total["error_sq"], scalar_variance, False),
            ("dictionary_learning.frac_variance_explained", unmoved, total["variance"], True),
            ("saebench.explained_variance", total["error_sq"], square - n * (square / n / d) ** 2, True),
        ):
            if not abs(bottom) > floor:
                out.undefined(name, constant)
                continue
            out.plain(name, 1 - top / bottom if complement else top / bottom, why_no_interval=why)


def variance_floor(out: api.EvalOutput) -> float:
    """A variance below this is what rounding leaves of activations that do not vary."""
    return 1e-13 * float(out.columns["target_sq"].sum())


def add_warning(out: api.EvalOutput) -> None:
    """An SAE that is worse than the mean was most likely made for other activations."""
    fvu = out.metrics[0].value
    if fvu is not None and fvu > 1:
        out.notes.append(
            f"warning: fvu is {fvu:.3g}: worse than always giving the mean. These are probably not the "
            "activations that the SAE was trained on: check the hook point, the model, its weight processing "
            "and the SAE's normalisation; `darkmatter inspect` shows what was assumed."
        )
