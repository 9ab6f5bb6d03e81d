"""The fitted map b* itself, as evaluators get it, where it is known on paper (checks A1, A7, A9, A11, F1)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter import api
from darkmatter.plugins import Owned, host
from darkmatter.progress import Progress
from darkmatter.raw_activations import tensor_activations
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import Chosen
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine
from darkmatter.split import make_split
from darkmatter.testing.synthetic import SmallShards

CONTEXTS, POSITIONS, D = 300, 60, 10


class Map:
    """Gives the entries of b*, as every evaluator gets it."""

    def __init__(self, config) -> None:
        self.config = config

    def collectors(self):
        return ()

    def run(self, ctx):
        out = ctx.output()
        out.tables["weight"] = ctx.error_map().weight.tolist()
        out.plain("rows", ctx.error_map().n_train, why_no_interval="a count")
        return out


MAP = api.Evaluator("map", "Gives b*.", Map, config=api.Config, metrics=(api.Metric("rows", "how many"),))


def error_map(reconstruct, x: torch.Tensor) -> torch.Tensor:
    """b* [D, D] of an SAE that reconstructs x [rows, D] as ``reconstruct(x)``."""
    sae = dm.SAE.from_functions(reconstruct, lambda codes: codes, d_in=D, d_sae=D)
    store = tensor_activations(x.float().reshape(CONTEXTS, POSITIONS, D))
    chosen = [Chosen(Owned(MAP, "test", "test", "1"), MAP.config())]
    engine = make_engine(
        SmallShards(store, 40), Analysis(), chosen,
        host=host(), results=None, jobs=2, progress=Progress(),
    )  # fmt: skip
    (found,) = engine.run([SAEItem("sae", "sae", lambda: sae)], [], ControlPolicy(automatic=False))
    assert found.status == "ok", found.reason
    return torch.tensor(found.tables["weight"], dtype=torch.float64)


def draw(kind=torch.randn, seed: int = 0) -> torch.Tensor:
    return kind(CONTEXTS * POSITIONS, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal() -> torch.Tensor:
    normal = torch.randn(D, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.linalg.qr(normal)[0]


def close(found: torch.Tensor, expected: torch.Tensor, atol: float) -> bool:
    return torch.allclose(found, expected, rtol=0, atol=atol)


def test_a1_of_the_zero_sae_is_the_identity():
    """All of x is missing, so b* = I to rounding, whatever mean and covariance are."""
    x = draw() * torch.linspace(0.2, 3, D) @ orthonormal() + 2

    assert close(error_map(torch.zeros_like, x), torch.eye(D).double(), atol=1e-9)


def test_a7_of_a_relu_is_half_the_identity():
    """S = relu(x) on x ~ N(0, I) misses half of x on average: b* = ½ I to sampling error."""
    assert close(error_map(torch.relu, draw()), torch.eye(D).double() / 2, atol=0.02)


def test_a9_of_thresholded_features_is_their_covariance_over_their_variance():
    """Orthonormal features of which S keeps w > θ: b* = cov(w, e) / var w, the same in all directions."""
    p, theta, q = 0.2, 0.4, orthonormal()
    w = (draw(torch.rand, 2) < p) * draw(torch.rand, 3)
    basis = q.float()
    sae = lambda z: torch.where(z @ basis.T > theta, z @ basis.T, 0.0) @ basis
    mean, second = p * theta**2 / 2, p * theta**3 / 3
    expected = (second - mean * p / 2) / (p / 3 - p**2 / 4)

    assert close(error_map(sae, w @ q), expected * torch.eye(D).double(), atol=0.02)


def test_a11_of_features_that_are_not_known_is_their_projector():
    """An SAE that knows 4 of 10 orthonormal features: b* projects on the other 6, its trace is 6."""
    q = orthonormal()
    known = q[:4].float()
    w = (draw(torch.rand, 4) < 0.3) * draw(torch.rand, 5)
    found = error_map(lambda z: (z @ known.T) @ known, w @ q)

    assert close(found, q[4:].T @ q[4:], atol=1e-6)
    assert float(found.trace()) == pytest.approx(D - 4, abs=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk_rows", [37, 100_000])
def test_f1_streamed_moments_give_the_numbers_of_whole_arrays(bias, chunk_rows):
    """FVU_nl, both R² and the norm's R² equal float64 least squares on all rows to 1e-10.

    Dimensions differ in size by a factor of 100 and have a mean 40 times theirs.
    """
    x = (draw() * torch.logspace(-1, 1, D) + 40 * torch.logspace(-1, 1, D)).float()
    x = x.reshape(CONTEXTS, POSITIONS, D)
    half = x.mean((0, 1))
    sae = dm.SAE.from_functions(lambda z: z - (z - half).clamp(max=0), lambda c: c, d_in=D, d_sae=D)
    asked = {"error_decomposition": {"bias": bias}}
    frame = dm.evaluate({"s": sae}, activations=x, evaluators=asked, chunk_rows=chunk_rows).to_pandas()
    found = frame.set_index("metric").value

    train = make_split(tensor_activations(x)).train(0, CONTEXTS).flatten().numpy()
    rows = x.reshape(-1, D)
    made = (rows - (rows - half).clamp(max=0)).double().numpy()
    rows = rows.double().numpy()
    error = rows - made
    design = np.hstack([rows, np.ones((len(rows), 1))]) if bias else rows

    def left(target):
        return (target - design @ np.linalg.lstsq(design[train], target[train], rcond=None)[0])[~train]

    spread = lambda v: (v[~train] - v[~train].mean(0)) ** 2
    missed, norm = left(error) ** 2, (error**2).sum(1)
    expected = {
        "fvu_nonlinear": missed.sum() / spread(rows).sum(),
        "error_r2": 1 - missed.sum() / spread(error).sum(),
        "error_r2_per_dim": (1 - missed.sum(0) / spread(error).sum(0)).mean(),
        "error_norm_r2": 1 - (left(norm) ** 2).sum() / spread(norm).sum(),
    }
    for name, value in expected.items():
        assert math.isfinite(value)
        assert found[name] == pytest.approx(value, rel=1e-10, abs=1e-10), name
