"""`synthetic_noise` where the answer is known on paper, through ``dm.evaluate``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter import api

CONTEXTS, POSITIONS, D = 300, 80, 6
GRID = (0.0, 1.0, 2.0, 3.0, 4.0)


def gaussian(std: float = 2.0, contexts: int = CONTEXTS) -> torch.Tensor:
    return std * torch.randn(contexts, POSITIONS, D, generator=torch.Generator().manual_seed(1))


def exact() -> api.SAE:
    """S = x, as every coordinate and its negative have a latent."""
    eye = torch.cat([torch.eye(D), -torch.eye(D)])
    return api.CanonicalSAE(W_enc=eye.T, W_dec=eye, activation=api.Relu())


def result(sae, x, y=None, **config):
    return next(iter(dm.evaluate({"sae": sae}, activations=x, y=y, evaluators={"synthetic_noise": config})))


def values(found) -> dict[str, float]:
    return {metric.name: metric.value for metric in found.metrics}


def by_hand(s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both parts over the grid [a, r] from the closed form, and their correlations with the levels."""
    a, r = np.meshgrid(GRID, GRID, indexing="ij")
    total = s**2 + a**2
    linear = (a**2 / total) ** 2 + 0 * r
    nonlinear = (r**2 + a**2 * s**2 / total) / total
    corr = np.corrcoef(np.stack([a.ravel(), r.ravel(), linear.ravel(), nonlinear.ravel()]))[:2, 2:]
    return linear, nonlinear, corr


def matrix(found: dict[str, float], prefix: str) -> np.ndarray:
    noises, parts = ("activation_noise", "reconstruction_noise"), ("linear", "nonlinear")
    return np.array([[found[f"{prefix}.{noise}.{part}"] for part in parts] for noise in noises])


def test_a12_isotropic_signal_of_variance_four():
    """Absolute levels 0 to 4 on N(0, 4): every point of the grid, and [[.983, -.384], [0, .780]]."""
    found = result(exact(), gaussian(), relative=False)
    linear, nonlinear, corr = by_hand(2.0)

    assert corr.round(3).tolist() == [[0.983, -0.384], [0, 0.780]]
    assert np.allclose(matrix(values(found), "expected"), corr, atol=5e-3)  # s is that of the sample
    assert np.allclose(matrix(values(found), "corr"), corr, atol=0.01)
    assert np.allclose(found.tables["linear"], linear, atol=0.02)
    assert np.allclose(found.tables["nonlinear"], nonlinear, rtol=0.03, atol=1e-3)
    assert np.allclose(found.tables["expected_linear"], linear, atol=5e-3)
    assert values(found)["signal_std"] == pytest.approx(2, rel=0.01)
    assert values(found)["own_output_fvu"] == 0


def test_levels_are_in_units_of_the_signal():
    """Relative levels give the same figures whatever the scale of the activations."""
    small, large = (result(exact(), gaussian(std, 40), levels=(0, 1, 2)) for std in (2.0, 200.0))
    absolute = result(exact(), gaussian(2.0, 40), levels=(0, 1, 2), relative=False)

    for name in ("corr", "expected"):
        assert np.allclose(matrix(values(small), name), matrix(values(large), name), atol=1e-9)
    assert large.tables["levels"]["absolute"][1] == pytest.approx(values(large)["signal_std"])
    assert absolute.tables["levels"]["relative"][1] == pytest.approx(1 / values(absolute)["signal_std"])
    assert not np.allclose(matrix(values(small), "corr"), matrix(values(absolute), "corr"), atol=1e-3)


def test_a_level_is_a_standard_deviation():
    """Noise of level 1 in units of the signal makes up half of the variance: linear part (1/2)²."""
    found = result(exact(), gaussian(5.0), levels=(0, 1))

    assert found.tables["linear"][1][0] == pytest.approx(0.25, abs=0.01)
    assert found.tables["nonlinear"][0][1] == pytest.approx(1.0, rel=0.02)


def test_the_encoder_sees_the_signal_and_not_the_noise():
    """A saturating encoder that read x' would undo part of the noise; on x0 the closed form holds."""
    seen = []

    def encode(rows):
        seen.append(rows)
        return rows

    sae = dm.SAE.from_functions(encode, lambda codes: codes, d_in=D, d_sae=D)
    x = gaussian(contexts=40)
    result(sae, x, levels=(0, 4))
    known = {tuple(row) for row in x.reshape(-1, D).tolist()}

    assert len(seen) > 2
    assert all(tuple(row) in known for rows in seen for row in rows.tolist())


def test_evaluation_is_on_held_out_rows():
    """Noise alone at n = 5 d: held out, the linear part of reconstruction noise is below zero.

    On the rows it was fitted to it would be + d/n, as it is in the authors' numbers.
    """
    x = gaussian(2.0, 2)[:, :40]
    found = result(exact(), x, levels=(0, 1))

    assert found.tables["linear"][0][1] < -0.05


def test_authors_conventions_are_reported_under_their_name():
    """No intercept, all rows, one scalar mean: from whole arrays with the same noise."""
    x = gaussian(1.0, 30) + torch.arange(D)
    found = values(result(exact(), x, levels=(0, 1)))
    rows = x.reshape(-1, D).double().numpy()
    rng = np.random.default_rng(0)
    kept = slice(30 * POSITIONS // 16, None)
    parts, levels = [], []
    for a in GRID:
        for r in GRID:
            noisy = rows[kept] + a * rng.standard_normal(rows[kept].shape)
            made = rows[kept] + r * rng.standard_normal(rows[kept].shape)
            error = noisy - made
            predicted = noisy @ np.linalg.lstsq(noisy, error, rcond=None)[0]
            spread = ((noisy - noisy.mean()) ** 2).sum()
            nonlinear = ((error - predicted) ** 2).sum() / spread
            parts.append(((error**2).sum() / spread - nonlinear, nonlinear))
            levels.append((a, r))
    corr = np.corrcoef(np.hstack([levels, parts]).T)[:2, 2:]

    assert np.allclose(matrix(found, "authors.corr"), corr, atol=0.02)
    assert not np.allclose(matrix(found, "authors.corr"), matrix(found, "corr"), atol=0.05)


def test_ablated_latents_are_missing_features():
    """Latents of smallest mean activation go first; what they explained becomes linear error."""
    scale = torch.arange(1, D + 1).float()
    x = gaussian(1.0) * scale
    found = result(exact(), x, ablated=(0.0, 1 / D, 0.5), pairs=((0.0, 0.0),), levels=(0, 1))
    curve = found.curves["linear[0,0]"]
    share = scale.square() / scale.square().sum()

    assert curve["x"] == pytest.approx([0, 100 / D, 50])
    # Of 2 d latents the first two are those of the smallest coordinate: an error linear in x.
    assert curve["y"][0] == pytest.approx(0, abs=1e-9)
    assert curve["y"][1] == pytest.approx(float(share[0]), rel=0.05)
    assert curve["y"][2] == pytest.approx(float(share[: D // 2].sum()), rel=0.05)
    assert found.curves["nonlinear[0,0]"]["y"][2] == pytest.approx(0, abs=1e-9)


def test_no_interval_is_claimed():
    """Points of a grid are no sample: every figure says why it has no interval."""
    found = result(exact(), gaussian(contexts=40))

    assert all(metric.ci_low is None and metric.ci_method.startswith("none") for metric in found.metrics)


def test_what_has_no_signal_is_undefined():
    """A transcoder, and an SAE that always gives the same, have reasons instead of numbers."""
    x = gaussian(contexts=40)
    constant = dm.SAE.from_functions(torch.zeros_like, lambda codes: codes + 3.3, d_in=D, d_sae=D)
    narrow = dm.SAE.from_functions(lambda rows: rows, lambda c: c[:, :2], d_in=D, d_sae=D, d_out=2)
    other = result(exact(), x, y=x.flip(-1))

    for found, word in ((result(constant, x), "vary"), (result(narrow, x, y=x[..., :2]), "transcoder")):
        assert {metric.status for metric in found.metrics} == {"undefined"}
        assert word in found.metrics[0].reason
    assert "transcoder" in other.metrics[0].reason


def test_few_training_rows_are_warned_of():
    """Fewer than 20 rows per dimension inflate the nonlinear part, also where max_rows makes them few."""
    enough, few = (result(exact(), gaussian(), max_rows=rows) for rows in (None, 40))

    assert enough.notes == ()
    (note,) = few.notes
    assert note.startswith(f"warning: {few.tables['rows']['train']} training rows are fewer than")


def test_noise_is_drawn_per_row_and_seed():
    """A budget of rows keeps their noise; another seed draws other noise."""
    x = gaussian(contexts=40)
    some = result(exact(), x, levels=(0, 1), max_rows=500)
    again = result(exact(), x, levels=(0, 1), max_rows=500)
    frame = dm.evaluate(
        {"sae": exact()}, activations=x, evaluators={"synthetic_noise": {"levels": (0, 1)}}, seed=1
    ).to_pandas()

    assert some.metrics == again.metrics
    assert 350 < some.tables["rows"]["test"] < 650
    assert some.metrics[0].n == some.tables["rows"]["test"]
    assert float(frame.value.iloc[0]) != some.metrics[0].value
