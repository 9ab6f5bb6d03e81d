"""Every option of ``error_decomposition`` against a float64 computation from the definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split

CONTEXTS, POSITIONS, D = 60, 40, 6


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    shared = torch.randn(CONTEXTS, 1, D, generator=generator)
    return shared + torch.randn(CONTEXTS, POSITIONS, D, generator=generator) ** 3 + torch.arange(D)


def expected(x: torch.Tensor, *, bias: bool, power: int, rows: str, centre: str) -> dict[str, float]:
    """fvu_nonlinear, error_r2 pooled and per dimension, error_norm_r2, from whole arrays."""
    split = make_split(tensor_activations(x))
    train = split.train(0, CONTEXTS).numpy()
    every = x.double().numpy()
    used = every.reshape(-1, D) if rows == "all" else every[~train]
    error = np.minimum(used, 0)

    def design(values):
        return np.hstack([values, np.ones((len(values), 1))]) if bias else values

    fit = np.minimum(every[train], 0)
    solve = lambda y: np.linalg.lstsq(design(every[train]), y, rcond=None)[0]
    nonlinear = error - design(used) @ solve(fit)
    norm = lambda v: (v**2).sum(1) ** (power / 2)
    missed = norm(error) - design(used) @ solve(norm(fit))
    centres = {"per_dim": used.mean(0), "scalar": used.mean(), "none": 0.0}
    spread = ((error - error.mean(0)) ** 2).sum(0)
    return {
        "fvu_nonlinear": (nonlinear**2).sum() / ((used - centres[centre]) ** 2).sum(),
        "pooled": 1 - (nonlinear**2).sum() / spread.sum(),
        "per_dim": np.mean(1 - (nonlinear**2).sum(0) / spread),
        "error_norm_r2": 1 - (missed**2).sum() / ((norm(error) - norm(error).mean()) ** 2).sum(),
    }


OPTIONS = list(
    itertools.product(
        [True, False], [2, 1], ["test", "all"], ["per_dim", "scalar", "none"], ["pooled", "per_dim"]
    )
)


@pytest.mark.parametrize(("bias", "power", "rows", "centre", "reduction"), OPTIONS[::5] + OPTIONS[-3:])
def test_every_convention_is_what_its_definition_says(x, bias, power, rows, centre, reduction):
    """Intercept, norm power, evaluated rows, FVU's centre and R²'s reduction, in combination."""
    options = {
        "bias": bias,
        "norm_power": power,
        "eval_rows": rows,
        "fvu_center": centre,
        "r2_reduction": reduction,
    }
    relu = dm.SAE.from_functions(torch.relu, lambda c: c, d_in=D, d_sae=D)
    frame = dm.evaluate(
        {"relu": relu}, activations=x, evaluators={"error_decomposition": options}
    ).to_pandas()
    frame = frame[~frame.metric.str.contains("feature_norm")]  # functions have no decoder matrix
    assert set(frame.status) == {"ok"}, frame[["metric", "reason"]]
    found = frame.set_index("metric")
    truth = expected(x, bias=bias, power=power, rows=rows, centre=centre)

    assert found.value["fvu_nonlinear"] == pytest.approx(truth["fvu_nonlinear"], rel=1e-6)
    assert found.value["error_r2"] == pytest.approx(truth[reduction], rel=1e-6)
    assert found.value["error_r2_per_dim"] == pytest.approx(truth["per_dim"], rel=1e-6)
    assert found.value["error_norm_r2"] == pytest.approx(truth["error_norm_r2"], rel=1e-6)
    assert found.ci_low.isna()["fvu_nonlinear"] == (rows == "all")


def test_activations_that_do_not_vary_leave_every_share_undefined():
    """Rounding noise around a constant is no variance: no variant may show 1e13 or 0.003 for it."""
    generator = torch.Generator().manual_seed(0)
    x = 3.3 + 3e-7 * torch.randn(60, 20, 8, generator=generator)
    zero = dm.SAE.from_functions(torch.zeros_like, lambda c: c, d_in=8, d_sae=8)
    frame = dm.evaluate({"zero": zero}, activations=x).to_pandas().set_index("metric")
    shares = [
        "fvu",
        "fvu_nonlinear",
        "error_r2",
        "fvu_scalar_centre",
        "saelens.explained_variance_legacy",
        "dictionary_learning.frac_variance_explained",
        "authors.error_r2",
        "authors.fvu_nonlinear",
    ]

    assert set(frame.status[shares]) == {"undefined"}


@pytest.mark.parametrize("units", [2, 8])
def test_intervals_stay_inside_the_metrics_range(units):
    """With few contexts t quantiles reach far; an FVU below 0 or a share above 1 is not shown."""
    x = torch.randn(5 * units // 2, 30, 6, generator=torch.Generator().manual_seed(1)) ** 3
    frame = dm.evaluate({"pca": "baseline:pca,k=2"}, activations=x).to_pandas().set_index("metric")

    assert frame.ci_low["fvu"] >= 0
    assert frame.ci_high["saelens.explained_variance"] <= 1


def test_dtype_applies_to_objects_as_to_files():
    """The arithmetic that a result records is the one that was used."""
    from darkmatter.sae.activation import TopK
    from darkmatter.sae.canonical import CanonicalSAE

    w = torch.randn(32, 8, generator=torch.Generator().manual_seed(2))
    sae = CanonicalSAE(W_enc=w.T.contiguous(), W_dec=w / 8, activation=TopK(4))
    x = torch.randn(50, 20, 8, generator=torch.Generator().manual_seed(3))

    def fvu(given, **options):
        frame = dm.evaluate({"s": given}, activations=x, evaluators=["reconstruction"], **options).to_pandas()
        return float(frame[frame.metric == "fvu"].value.iloc[0])

    assert fvu(sae, dtype="bfloat16") == fvu(sae.to(dtype=torch.bfloat16), dtype="bfloat16")
    assert fvu(sae, dtype="bfloat16") != fvu(sae)
