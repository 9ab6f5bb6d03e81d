"""The 95% intervals hold what they promise."""

from __future__ import annotations

import pytest
import torch

import darkmatter as dm
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split

D, POSITIONS, CONTEXTS = 6, 8, 500
REPETITIONS = 300


def contexts(n: int, generator: torch.Generator) -> torch.Tensor:
    """Rows that are alike within a context, so that treating them as independent would fail."""
    shared = torch.randn(n, 1, D, generator=generator)
    own = torch.randn(n, POSITIONS, D, generator=generator)
    return 0.7 * shared + 0.7 * own + 0.3


class Fresh:
    """What a fitted map gives on a million fresh rows, from their moments."""

    def __init__(self, generator: torch.Generator) -> None:
        x = contexts(1_000_000 // POSITIONS, generator).reshape(-1, D).double()
        self.x, self.e = x, x - x.relu()
        self.centred_e = (self.e - self.e.mean(0)).square().sum()
        self.variance = (x - x.mean(0)).square().sum()
        self.norm = self.e.square().sum(1)

    def values(self, x_train: torch.Tensor) -> dict[str, float]:
        x = torch.cat([x_train.double(), torch.ones(len(x_train), 1).double()], dim=1)
        e = x_train.double() - x_train.double().relu()
        b = torch.linalg.lstsq(x, e).solution
        a = torch.linalg.lstsq(x, e.square().sum(1, keepdim=True)).solution
        ones = torch.ones(len(self.x), 1).double()
        design = torch.cat([self.x, ones], dim=1)
        residual = (self.e - design @ b).square().sum()
        norm_residual = (self.norm - (design @ a)[:, 0]).square().sum()
        return {
            "fvu": float(self.e.square().sum() / self.variance),
            "fvu_nonlinear": float(residual / self.variance),
            "error_r2": float(1 - residual / self.centred_e),
            "error_norm_r2": float(1 - norm_residual / (self.norm - self.norm.mean()).square().sum()),
        }


@pytest.mark.slow
def test_intervals_cover_the_fitted_maps_performance_on_fresh_contexts():
    """Of 300 intervals over 200 test contexts, 92 to 98% hold the value on a million fresh rows."""
    generator = torch.Generator().manual_seed(20)
    fresh = Fresh(generator)
    sae = dm.SAE.from_functions(torch.relu, lambda codes: codes, d_in=D, d_sae=D)
    evaluators = {"reconstruction": {}, "error_decomposition": {"authors": False}}
    inside = dict.fromkeys(("fvu", "fvu_nonlinear", "error_r2", "error_norm_r2"), 0)
    for _ in range(REPETITIONS):
        x = contexts(CONTEXTS, generator)
        frame = dm.evaluate({"relu": sae}, activations=x, evaluators=evaluators, jobs=1).to_pandas()
        split = make_split(tensor_activations(x))
        truth = fresh.values(x[split.train(0, CONTEXTS)])
        for row in frame[frame.metric.isin(inside)].itertuples():
            inside[row.metric] += row.ci_low <= truth[row.metric] <= row.ci_high

    shares = {name: count / REPETITIONS for name, count in inside.items()}
    assert all(0.92 <= share <= 0.98 for share in shares.values()), shares
