"""The map that predicts |Sae(x)|² names each feature's size (closed form B1)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter import api
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split

CONTEXTS, POSITIONS, D = 120, 50, 12
SIZES = torch.linspace(0.5, 3, D, dtype=torch.float64)


def features(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal directions [D, D], and rows that hold some of them, each of its own constant size."""
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64))
    on = torch.rand(CONTEXTS * POSITIONS, D, generator=generator, dtype=torch.float64) < 0.2
    on[:, 0] = False  # a dead feature
    return q, (on * SIZES) @ q


def sae_of(q: torch.Tensor, norms: torch.Tensor, bias: torch.Tensor, **more) -> api.SAE:
    """Finds the features exactly; decoder row i has length ``norms[i]``, codes are smaller by it."""
    return api.CanonicalSAE(
        W_enc=(q.T / norms).float(), W_dec=(norms[:, None] * q).float(), b_dec=bias.float(),
        subtract=bias.float(), activation=api.JumpRelu(torch.full((D,), 0.01)), **more,
    )  # fmt: skip


def measured(sae, x, **options):
    x = x.float().reshape(CONTEXTS, POSITIONS, D)
    found = dm.evaluate({"sae": sae}, activations=x, evaluators={"error_decomposition": options}, jobs=1)
    return found.to_pandas().set_index("metric"), found.stored[0].result


@pytest.mark.parametrize("scaled", [False, True])
def test_b1_orthonormal_on_off_features_are_named_by_their_size(scaled):
    """a*·feature is the feature's constant, whatever decoder norms, bias and code scale are."""
    q, x = features()
    bias = torch.linspace(-2, 2, D, dtype=torch.float64)
    more = {"code_scale": torch.linspace(0.5, 2, D)} if scaled else {}
    found, result = measured(sae_of(q, torch.linspace(0.3, 4, D).double(), bias, **more), x + bias)

    for prefix in ("", "authors."):
        assert found.value[f"{prefix}feature_norm.correlation"] == pytest.approx(1, abs=1e-6)
        assert found.value[f"{prefix}feature_norm.slope"] == pytest.approx(1, rel=1e-4)
    assert found.value["feature_norm.latents"] == D - 1
    assert math.isnan(found.ci_low["feature_norm.slope"])
    curve = result.curves["feature_norm"]
    assert curve["x"] == pytest.approx(SIZES[1:].tolist(), rel=1e-4)
    assert curve["y"] == pytest.approx(SIZES[1:].tolist(), rel=1e-4)
    mean = float(SIZES[1:].mean())
    assert result.curves["feature_norm_running_mean"]["y"] == pytest.approx([mean] * (D - 1), rel=1e-4)


def test_the_authors_fit_without_intercept():
    """Amplitudes that vary tell the two conventions apart; each is what least squares gives."""
    q, x = features()
    generator = torch.Generator().manual_seed(1)
    x = (x @ q.T * torch.rand(x.shape, generator=generator, dtype=torch.float64).add(0.5)) @ q
    found, _ = measured(sae_of(q, torch.ones(D).double(), torch.zeros(D).double()), x)
    switched, _ = measured(sae_of(q, torch.ones(D).double(), torch.zeros(D).double()), x, bias=False)

    # Independent features: a_i = cov(v², v) / var v with m1, m2, m3 = 1, 13/12, 5/4 and p = 0.2.
    p = 0.2
    slope = (p * 5 / 4 - p**2 * 13 / 12) / (p * 13 / 12 - p**2)
    assert found.value["feature_norm.slope"] == pytest.approx(slope, rel=3e-2)
    assert switched.value["feature_norm.slope"] == found.value["authors.feature_norm.slope"]
    train = make_split(tensor_activations(x.reshape(CONTEXTS, POSITIONS, D))).train(0, CONTEXTS).flatten()
    v = (x @ q.T)[:, 1:].numpy()
    a = np.linalg.lstsq(v[train], (v[train] ** 2).sum(1), rcond=None)[0]
    actual = v[~train].sum(0) / (v[~train] > 0.01).sum(0)
    assert found.value["authors.feature_norm.slope"] == pytest.approx(np.polyfit(actual, a, 1)[0], rel=1e-4)


def test_functions_and_dead_dictionaries_have_no_features_to_compare():
    """Without a decoder matrix or live latents the numbers are undefined, and say why."""
    _, x = features()
    opaque = dm.SAE.from_functions(torch.relu, lambda c: c, d_in=D, d_sae=D)
    eye = torch.eye(D)
    dead = api.CanonicalSAE(W_enc=eye, W_dec=eye, b_enc=torch.full((D,), -99.0), activation=api.Relu())

    assert "decoder" in measured(opaque, x)[0].reason["feature_norm.slope"]
    assert "fewer than 3" in measured(dead, x)[0].reason["feature_norm.slope"]


def test_norm_of_reconstruction_plus_nonlinear_error():
    """|Sae(x) + N|² = |x - b*x|²: for a ReLU b* is ½ x, so the vector is x/2, of which x knows nothing."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(CONTEXTS * POSITIONS, D, generator=generator)
    zero = dm.SAE.from_functions(torch.relu, lambda c: c, d_in=D, d_sae=D)
    found, _ = measured(zero, x)
    # Without intercept: the prediction is of mean zero, so 1 - E|v|⁴ / Var|v|² = -E[y]² / Var y = -D/2.
    assert found.value["authors.norm_r2.sae_plus_nonlinear"] == pytest.approx(-D / 2, rel=0.1)
