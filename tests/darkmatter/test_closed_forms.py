"""Metrics whose exact values are known on paper, measured through the public ``dm.evaluate``.

Letters are those of the derivations: A decomposition, B norm test, F conventions, G densities; where C, D
and E stand, tests/closed_forms.md says.
x is [contexts, positions, d] float32 with n = 60,000 rows, d = 24, unless a case says otherwise.
"""

from __future__ import annotations

import math

import pytest
import torch

import darkmatter as dm

CONTEXTS, POSITIONS, D = 600, 100, 24
N = CONTEXTS * POSITIONS


def rows(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaped(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.float32).reshape(CONTEXTS, POSITIONS, -1)


def gaussian(mean: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(N, D, generator=rows(seed), dtype=torch.float64) + mean


def functions(reconstruct, d: int = D) -> dm.SAE:
    """An SAE whose code is its reconstruction."""
    return dm.SAE.from_functions(reconstruct, lambda codes: codes, d_in=d, d_sae=d)


def measured(sae, x: torch.Tensor, **options) -> dict[str, float]:
    """Every metric of the three evaluators; NaN where undefined."""
    config = {"reconstruction": {}, "error_decomposition": options, "density": {}}
    frame = dm.evaluate({"sae": sae}, activations=x, evaluators=config).to_pandas()
    assert set(frame.status) <= {"ok", "undefined"}, frame[["metric", "status", "reason"]]
    return dict(zip(frame.metric, frame.value, strict=True))


def reason(sae, x: torch.Tensor, metric: str) -> str:
    frame = dm.evaluate({"sae": sae}, activations=x).to_pandas()
    return str(frame[frame.metric == metric].reason.iloc[0])


def orthonormal(d: int = D, seed: int = 1) -> torch.Tensor:
    q, _ = torch.linalg.qr(torch.randn(d, d, generator=rows(seed), dtype=torch.float64))
    return q


def bernoulli(p: float, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return (torch.rand(shape, generator=rows(seed), dtype=torch.float64) < p).double()


SPECTRUM = torch.arange(D, 0, -1, dtype=torch.float64)


def correlated(mean: float) -> torch.Tensor:
    """Rows of covariance Q' diag(SPECTRUM) Q and of the same mean in every dimension."""
    return gaussian() * SPECTRUM.sqrt() @ orthonormal() + mean


def test_a1_zero_sae_has_a_wholly_linear_error_and_fvu_one_plus_mean():
    """Predicting zero leaves e = x: R² is 1, nothing nonlinear remains, FVU = 1 + |μ|²/tr Σ."""
    test = measured(functions(torch.zeros_like), shaped(correlated(mean=2)))
    square = D * 4 / float(SPECTRUM.sum())

    assert test["error_r2"] == pytest.approx(1, abs=1e-9)
    assert test["fvu_nonlinear"] == pytest.approx(0, abs=1e-9)
    assert test["fvu"] == pytest.approx(1 + square, rel=2e-2)
    assert test["fvu_bias"] == pytest.approx(square, rel=2e-2)


def test_a2_mean_sae_has_fvu_one_and_needs_the_intercept():
    """Predicting the mean: FVU 1 and R² 1; without intercept FVU_nl = |μ|²/((1 + μ'Σ⁻¹μ) tr Σ)."""
    x = correlated(mean=2)
    mean = torch.full((D,), 2.0)
    sae = functions(lambda z: mean.expand_as(z))

    with_bias, without = measured(sae, shaped(x)), measured(sae, shaped(x), bias=False)

    assert with_bias["fvu"] == pytest.approx(1, rel=1e-2)
    assert with_bias["error_r2"] == pytest.approx(1, abs=1e-9)
    along = orthonormal() @ mean.double()
    distance = float((along.square() / SPECTRUM).sum())
    expected = D * 4 / ((1 + distance) * float(SPECTRUM.sum()))
    assert without["fvu_nonlinear"] == pytest.approx(expected, rel=2e-2)


def test_a3_identity_sae_has_zero_fvu_and_undefined_r2():
    """Without an error there is nothing to predict: R² is null with a reason, never 0 or 1."""
    x = shaped(gaussian())
    test = measured(functions(lambda z: z), x)

    assert test["fvu"] == test["fvu_nonlinear"] == 0
    assert math.isnan(test["error_r2"])
    assert math.isnan(test["error_r2_per_dim"])
    assert math.isnan(test["error_norm_r2"])
    assert "no error" in reason(functions(lambda z: z), x, "error_r2")


def test_a4_affine_pca_has_a_linear_error_and_the_tail_share_as_fvu():
    """Rank-k PCA misses exactly the tail eigenvalues, all of it linear in x."""
    test = measured("baseline:pca,k=8", shaped(correlated(mean=3)))

    assert test["error_r2"] == pytest.approx(1, abs=1e-6)
    assert test["fvu_nonlinear"] == pytest.approx(0, abs=1e-6)
    assert test["fvu"] == pytest.approx(float(SPECTRUM[8:].sum() / SPECTRUM.sum()), rel=2e-2)


def test_a5_pure_noise_is_unpredictable():
    """S = x + σ·noise: R² is about -(d+1)/n_train, FVU = dσ²/tr Σ, FVU_nl/FVU = 1, norm R² 0."""
    noise = 0.3 * gaussian(seed=5)
    x = gaussian()
    stack = torch.cat([x, noise], dim=1)
    sae = dm.SAE.from_functions(lambda z: z[:, :D] + z[:, D:], lambda c: c, d_in=2 * D, d_sae=D, d_out=D)
    frame = dm.evaluate({"sae": sae}, activations=shaped(stack), y=shaped(x)).to_pandas()
    test = dict(zip(frame.metric, frame.value, strict=True))

    assert test["fvu"] == pytest.approx(0.09, rel=2e-2)
    # Regressed on the noise itself too, the error is wholly linear: the harness regresses on x_in.
    assert test["error_r2"] == pytest.approx(1, abs=1e-6)


def test_a5_noise_that_x_does_not_hold_is_nonlinear_error():
    """Added noise that is a function of nothing linear in x gives R² ≈ -(d+1)/n_train and norm R² ≈ 0."""
    test = measured("baseline:noise,scale=0.3", shaped(gaussian()))

    assert test["fvu"] == pytest.approx(0.09, rel=2e-2)
    assert test["error_r2"] == pytest.approx(-(D + 1) / (0.6 * N), abs=1.5e-3)
    assert test["fvu_nonlinear"] / test["fvu"] == pytest.approx(1, abs=2e-3)
    assert test["error_norm_r2"] == pytest.approx(0, abs=5e-3)


def test_a5_small_sample_shows_that_rows_are_held_out():
    """With n = 300, d = 24 the held-out R² of noise is -0.17; training rows would give +0.13."""
    n, train = 300, 180
    m = n - train
    expected = 1 - (1 + 1 / train) * (train - 2) / (train - D - 2) * m / (m - 1)
    values = []
    for seed in range(40):
        x = torch.randn(n, D, generator=rows(seed))
        frame = dm.evaluate(
            {"noise": "baseline:noise,scale=0.5"},
            activations=x,
            evaluators={"error_decomposition": {"authors": False}},
            seed=seed,
        ).to_pandas()
        values.append(float(frame[frame.metric == "error_r2"].value.iloc[0]))

    assert expected == pytest.approx(-0.17, abs=0.005)
    assert sum(values) / len(values) == pytest.approx(expected, abs=0.02)


def test_a6_shrinkage_is_wholly_linear():
    """S = (1 - s)x on centred x: FVU = s², R² = 1, nothing nonlinear."""
    test = measured(functions(lambda z: 0.8 * z), shaped(gaussian()))

    assert test["fvu"] == pytest.approx(0.04, rel=1e-3)
    assert test["error_r2"] == pytest.approx(1, abs=1e-9)
    assert test["fvu_nonlinear"] == pytest.approx(0, abs=1e-9)


def test_a7_relu_of_a_gaussian():
    """S = relu(x): b* = ½, R² = ¼/(½ - 1/2π), FVU_nl = ¼ - 1/2π, norm R² = (2/π)/(5/4)."""
    test = measured(functions(torch.relu), shaped(gaussian()))

    assert test["fvu"] == pytest.approx(0.5, rel=1e-2)
    assert test["error_r2"] == pytest.approx(0.25 / (0.5 - 1 / (2 * math.pi)), rel=1e-2)
    assert test["fvu_nonlinear"] == pytest.approx(0.25 - 1 / (2 * math.pi), rel=1e-2)
    assert test["error_norm_r2"] == pytest.approx((2 / math.pi) / 1.25, rel=2e-2)
    assert test["norm_r2.sae"] == pytest.approx((2 / math.pi) / 1.25, rel=2e-2)
    assert test["norm_r2.x"] == pytest.approx(0, abs=5e-3)


def test_a7_relu_without_intercept():
    """Without intercept FVU_nl = ¼ and R² = 1 - ¼/(½ - 1/2π): the authors' convention, by both doors."""
    x = shaped(gaussian())
    test = measured(functions(torch.relu), x, bias=False)
    default = measured(functions(torch.relu), x)
    r2 = 1 - 0.25 / (0.5 - 1 / (2 * math.pi))

    assert test["fvu_nonlinear"] == pytest.approx(0.25, rel=1e-2)
    assert test["error_r2"] == pytest.approx(r2, rel=2e-2)
    assert default["authors.fvu_nonlinear"] == pytest.approx(0.25, rel=1e-2)
    assert default["authors.error_r2"] == pytest.approx(r2, rel=2e-2)


def test_a8_scaling_the_sae_scales_the_nonlinear_error():
    """S → cS gives FVU_nl · c²; S → S + Wx leaves FVU_nl as it is, for any W."""
    x = shaped(gaussian())
    w = orthonormal().float()
    plain = measured(functions(torch.relu), x)["fvu_nonlinear"]
    scaled = measured(functions(lambda z: 3 * z.relu()), x)["fvu_nonlinear"]
    shifted = measured(functions(lambda z: z.relu() + z @ w), x)["fvu_nonlinear"]

    assert scaled == pytest.approx(9 * plain, rel=1e-6)
    assert shifted == pytest.approx(plain, rel=1e-5)


def test_a9_thresholded_orthonormal_features():
    """Codes w = Bernoulli(p)·U(0,1), S keeps w > θ: FVU, R² and FVU_nl from three moments."""
    p, theta = 0.2, 0.4
    q = orthonormal()
    w = bernoulli(p, (N, D), 2) * torch.rand(N, D, generator=rows(3), dtype=torch.float64)
    q32 = q.float()
    sae = functions(lambda z: torch.where(z @ q32.T > theta, z @ q32.T, 0.0) @ q32)
    test = measured(sae, shaped(w @ q))
    mean, second = p * theta**2 / 2, p * theta**3 / 3
    var_w, var_e = p / 3 - p**2 / 4, second - mean**2
    cov = second - mean * p / 2

    assert test["fvu"] == pytest.approx(second / var_w, rel=2e-2)
    assert test["error_r2"] == pytest.approx(cov**2 / (var_w * var_e), rel=2e-2)
    assert test["fvu_nonlinear"] == pytest.approx((var_e - cov**2 / var_w) / var_w, rel=2e-2)


@pytest.mark.parametrize("bias", [True, False])
def test_a10_superposed_features_follow_from_second_moments(bias):
    """Unlearned features, dense part and introduced noise: everything from C_xx, C_ex, C_ee."""
    m, known, sigma_d, sigma_r = 40, 25, 0.2, 0.3
    features = torch.randn(m, D, generator=rows(7), dtype=torch.float64)
    features /= features.norm(dim=1, keepdim=True)
    p = torch.linspace(0.05, 0.3, m, dtype=torch.float64)
    on = (torch.rand(N, m, generator=rows(8), dtype=torch.float64) < p).double()
    w = on * (0.5 + torch.rand(N, m, generator=rows(9), dtype=torch.float64))
    dense = sigma_d * gaussian(seed=10)
    introduced = sigma_r * gaussian(seed=11)
    x = w @ features + dense
    reconstruction = w[:, :known] @ features[:known] + introduced
    # The reconstruction is no function that could be written down, so the SAE looks rows up.
    sae = LookUp(shaped(x), reconstruction.float())
    test = measured(sae, shaped(x), bias=bias)

    e1, e2 = p, p * (1 + 1 / 12)
    var_centred = e2 - e1**2

    def moment(weights: torch.Tensor) -> torch.Tensor:
        return (features * weights[:, None]).T @ features

    unlearned = torch.cat([torch.zeros(known), torch.ones(m - known)]).double()
    eye = torch.eye(D, dtype=torch.float64)
    mean_x, mean_e = e1 @ features, (e1 * unlearned) @ features
    shift = 0.0 if bias else 1.0
    base = moment(var_centred) + sigma_d**2 * eye
    base_e = moment(var_centred * unlearned) + sigma_d**2 * eye
    c_xx = base + shift * torch.outer(mean_x, mean_x)
    c_ex = base_e + shift * torch.outer(mean_e, mean_x)
    c_ee = base_e + sigma_r**2 * eye + shift * torch.outer(mean_e, mean_e)
    explained = torch.trace(c_ex @ torch.linalg.solve(c_xx, c_ex.T))
    total, var_e = torch.trace(base), torch.trace(base_e + sigma_r**2 * eye)
    fvu_nl = (torch.trace(c_ee) - explained) / total

    assert test["fvu"] == pytest.approx(float((var_e + mean_e @ mean_e) / total), rel=1e-2)
    assert test["fvu_nonlinear"] == pytest.approx(float(fvu_nl), rel=1e-2)
    assert test["error_r2"] == pytest.approx(float(1 - fvu_nl * total / var_e), rel=2e-2)


class LookUp(dm.SAE):
    """Gives each row a reconstruction of its own, told apart by the row's exact values."""

    def __init__(self, x: torch.Tensor, table: torch.Tensor) -> None:
        self.d_in = self.d_out = self.d_sae = table.shape[1]
        self.hook_in = self.hook_out = None
        self.metadata = dm.sae.base.SAEMetadata()
        self.assumptions = ()
        self.fingerprint = None
        self.table = table
        self.index = {row.numpy().tobytes(): i for i, row in enumerate(x.reshape(-1, self.d_in))}

    def reconstruct(self, x):
        return self.table[[self.index[row.numpy().tobytes()] for row in x]]

    def encode(self, x):
        from darkmatter.sae.codes import Codes

        return Codes.from_dense(self.reconstruct(x))

    def decode(self, codes):
        return codes.to_dense()


def test_a11_unlearned_orthonormal_features_are_a_linear_error():
    """An SAE that knows m of d orthonormal features exactly has R² = 1."""
    q = orthonormal()
    w = bernoulli(0.3, (N, D), 12) * torch.rand(N, D, generator=rows(13), dtype=torch.float64)
    known = q[:10].float()
    test = measured(functions(lambda z: (z @ known.T) @ known), shaped(w @ q))

    assert test["error_r2"] == pytest.approx(1, abs=1e-6)
    assert test["fvu_nonlinear"] == pytest.approx(0, abs=1e-6)


AMPLITUDES = {
    "constant": (lambda u, g: torch.ones_like(u), 1.0),
    "uniform": (lambda u, g: u, 0.935),
    "half-normal": (lambda u, g: g.abs(), 0.846),
    "exponential": (lambda u, g: -torch.log1p(-u), 0.750),
    "signed gaussian": (lambda u, g: g, 0.0),
}


@pytest.mark.parametrize("kind", AMPLITUDES)
def test_b1_norm_test_of_sparse_features(kind):
    """R² of |x|² from x is (e3 - e1e2)²/((e2 - e1²)(e4 - e2²)) for features with amplitude moments e."""
    amplitude, expected = AMPLITUDES[kind]
    u = torch.rand(N, D, generator=rows(14), dtype=torch.float64)
    g = torch.randn(N, D, generator=rows(15), dtype=torch.float64)
    w = bernoulli(0.1, (N, D), 16) * amplitude(u, g)
    test = measured(functions(torch.zeros_like), shaped(w @ orthonormal()))

    assert test["norm_r2.x"] == pytest.approx(expected, abs=1.5e-2)


def test_f3_per_dimension_mean_and_pooled_r2_differ():
    """Half of the dimensions predictable, and those × 100: pooled R² sees it, the plain mean does not."""
    x = gaussian()
    scale = torch.cat([torch.full((D // 2,), 100.0), torch.ones(D // 2)])

    def reconstruct(z):
        # The error of the first half is x itself (predictable); of the second it is |x| (not).
        error = torch.cat([z[:, : D // 2], z[:, D // 2 :].abs()], dim=1)
        return z - error

    test = measured(functions(reconstruct), shaped(x * scale))

    assert test["error_r2_per_dim"] == pytest.approx(0.5, abs=2e-3)
    assert test["error_r2"] == pytest.approx(1, abs=1e-3)


def test_f4_one_scalar_mean_inflates_the_fit():
    """One dimension with mean 50: FVU about one scalar mean is ½d/(d + 2500(1 - 1/d)) instead of ½."""
    x = gaussian()
    x[:, 0] += 50
    offset = torch.zeros(D)
    offset[0] = 50
    test = measured(functions(lambda z: (z - offset).relu() + offset), shaped(x))

    assert test["fvu"] == pytest.approx(0.5, rel=2e-2)
    assert test["fvu_scalar_centre"] == pytest.approx(0.5 * D / (D + 2500 * (1 - 1 / D)), rel=2e-2)


def test_f5_normalised_mse_of_shrinkage_is_its_square():
    """|e|²/|x|² of (1 - s)x is s² whatever the mean, token by token."""
    test = measured(functions(lambda z: 0.8 * z), shaped(gaussian(mean=4)))

    assert test["openai.normalized_mse"] == pytest.approx(0.04, rel=1e-5)


def test_g2_identity_relu_and_topk_baselines():
    """identity-ReLU on N(0, I): FVU ½ and L0 d/2; top-k by size misses the small order statistics."""
    x = shaped(gaussian())
    relu = measured("baseline:identity_relu", x)
    topk = measured("baseline:pca_topk,k=8", x)
    squares = torch.randn(200_000, D, generator=rows(20), dtype=torch.float64).square()
    kept = squares.sort(dim=1, descending=True).values[:, :8].sum(dim=1).mean()

    assert relu["fvu"] == pytest.approx(0.5, rel=1e-2)
    assert relu["l0"] == pytest.approx(D / 2, rel=1e-2)
    assert topk["l0"] == 8
    assert topk["fvu"] == pytest.approx(float(1 - kept / D), rel=2e-2)


def test_non_negative_pca_is_pca_in_codes_without_signs():
    """±v with a relu: the FVU of PCA of that rank, one of each component's two latents active."""
    spread = shaped(gaussian(mean=2) * SPECTRUM.sqrt())
    both, signed = measured("baseline:pca_nonneg,k=5", spread), measured("baseline:pca,k=5", spread)

    assert both["fvu"] == pytest.approx(signed["fvu"], rel=1e-5)
    assert both["l0"] == signed["l0"] == 5


def test_g4_moments_of_a_bernoulli_code():
    """A constant × Bernoulli(p): kurtosis 1/(p(1-p)²), skew 1/(√p (1-p)^1.5) with the variance below."""
    p = 0.2
    x = bernoulli(p, (N, D), 21) * 1.7
    test = measured(functions(lambda z: z), shaped(x))

    assert test["median_kurtosis_var"] == pytest.approx(1 / (p * (1 - p) ** 2), rel=3e-2)
    assert test["median_skew_var"] == pytest.approx(1 / (math.sqrt(p) * (1 - p) ** 1.5), rel=3e-2)
    assert test["median_kurtosis"] == pytest.approx(1 / p, rel=3e-2)
    assert test["median_mean"] == pytest.approx(1.7 * p, rel=3e-2)
    assert test["median_variance"] == pytest.approx(1.7**2 * p * (1 - p), rel=3e-2)
    assert test["median_skew_central"] == pytest.approx((1 - 2 * p) / math.sqrt(p * (1 - p)), rel=3e-2)
    assert test["median_kurtosis_central"] == pytest.approx(1 / (p * (1 - p)) - 3, rel=3e-2)


def test_g7_active_latents_are_counted_by_firings():
    """Latents with more than ten firings among the held-out rows: Σ P(Binomial > 10)."""
    rates = torch.logspace(-5, -1, D, dtype=torch.float64)
    fires = (torch.rand(N, D, generator=rows(22), dtype=torch.float64) < rates).double()
    test = measured(functions(lambda z: z), shaped(fires))
    n_test = 0.4 * N
    below = sum(
        math.exp(-n_test * r + k * math.log(n_test * r) - math.lgamma(k + 1))
        for r in rates.tolist()
        for k in range(11)
    )

    assert test["active"] == pytest.approx(D - below, abs=2.0)
    assert test["active_share"] == pytest.approx(test["active"] / D)
    assert test["active_by_rate"] == test["alive"] / D  # one firing in 24,000 rows is above 5e-6
    assert test["alive"] + test["dead"] == D
