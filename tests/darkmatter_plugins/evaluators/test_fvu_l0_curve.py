"""FVU over L0 beside baselines, on activations and dictionaries of which everything is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split
from darkmatter_plugins.evaluators.fvu_l0_curve.curve import Area, matched, reading, u

CONTEXTS, POSITIONS, D = 160, 50, 12
SPECTRUM = torch.linspace(3, 0.5, D, dtype=torch.float64)


def activations(*, white: bool = False) -> torch.Tensor:
    """Gaussian rows about a mean; those that are white are N(0, I)."""
    z = torch.randn(CONTEXTS, POSITIONS, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (z if white else z * SPECTRUM @ rotation() + 2).float()


def rotation() -> torch.Tensor:
    drawn = torch.randn(D, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.linalg.qr(drawn)[0]


def sides(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and held-out rows in float64."""
    split = make_split(tensor_activations(x))
    train, test = (mask(0, CONTEXTS) for mask in (split.train, split.test))
    return x[train].double(), x[test].double()


def keeping(k: int, factor: float = 0.9, *, every: int = 0) -> dm.SAE:
    """``factor`` times the k largest coordinates; one code more where the first exceeds ``every``."""

    def encode(x: torch.Tensor) -> torch.Tensor:
        codes = x * (x.abs() >= x.abs().topk(k, dim=1).values[:, -1:])
        extra = (x[:, :1] > every) * torch.ones_like(x[:, :1]) if every else torch.zeros_like(x[:, :1])
        return torch.cat([factor * codes, 1e-9 * extra], dim=1)

    return dm.SAE.from_functions(encode, lambda codes: codes[:, :D], d_in=D, d_sae=D + 1)


def curves(saes, x: torch.Tensor, **options):
    """The family's metrics by name, its result, and FVU and L0 of everything by name."""
    evaluators = {"reconstruction": {}, "fvu_l0_curve": options}
    results = dm.evaluate(saes, activations=x, evaluators=evaluators)
    frame = results.to_pandas()
    assert set(frame.status) <= {"ok", "undefined"}, frame.reason
    alone = frame[frame.evaluator == "reconstruction"].pivot(index="sae", columns="metric", values="value")
    (family,) = [r for r in results if r.evaluator.name == "fvu_l0_curve"]
    return frame[frame.evaluator == "fvu_l0_curve"].set_index("metric"), family, alone


def test_g2_static_pca_misses_the_tail_share():
    """The curve of centred PCA is what held-out rows have outside the training rows' leading components."""
    x = activations()
    frame, result, _ = curves({"s": keeping(5), "t": keeping(3)}, x)
    train, test = sides(x)
    vectors = torch.linalg.eigh((train - train.mean(0)).T @ (train - train.mean(0))).eigenvectors.flip(1)
    scores = ((test - train.mean(0)) @ vectors).square().sum(dim=0)
    variance = (test - test.mean(0)).square().sum()

    curve = result.curves["pca"]
    assert curve["x"] == list(range(1, D + 1))
    for k, fvu in zip(curve["x"], curve["y"], strict=True):
        assert fvu == pytest.approx(float(scores[int(k) :].sum() / variance), rel=1e-9, abs=1e-12)
    tail = float((SPECTRUM[5:] ** 2).sum() / (SPECTRUM**2).sum())
    assert frame.value["fvu.pca[s]"] == pytest.approx(tail, rel=3e-2)
    assert frame.ci_low["fvu.pca[s]"] < tail < frame.ci_high["fvu.pca[s]"]


@pytest.mark.parametrize("name", ["pca_topk", "identity"])
def test_g2_topk_by_size_misses_the_small_order_statistics(name):
    """In an orthonormal basis of N(0, I) the k largest codes leave 1 - Σ E|z|²_(i) / d."""
    frame, _, _ = curves({"s": keeping(5)}, activations(white=True), baselines=[name])
    z = torch.randn(200_000, D, generator=torch.Generator().manual_seed(5), dtype=torch.float64).square()
    kept = float(z.sort(dim=1, descending=True).values[:, :5].sum(dim=1).mean())

    assert frame.value[f"fvu.{name}[s]"] == pytest.approx(1 - kept / D, rel=2e-2)


def test_g2_identity_relu_ends_at_half_the_variance_and_half_the_coordinates():
    """identity-ReLU on N(0, I): FVU ½ at L0 d/2, which is where its curve ends."""
    frame, result, _ = curves({"s": keeping(4)}, activations(white=True), baselines=["identity_relu"])

    assert result.curves["identity_relu"]["x"][-1] == pytest.approx(D / 2, rel=1e-2)
    assert result.curves["identity_relu"]["y"][-1] == pytest.approx(0.5, rel=1e-2)
    assert frame.value["fvu.identity_relu[s]"] > 0.5


def test_a_curve_at_a_whole_l0_is_the_fvu_of_the_control_of_that_k():
    """The baselines beside an SAE are those of the tables: same fit, same rows, same number."""
    names = {"pca": 1e-6, "pca_topk": 1e-6, "random": 1e-6, "ica": 1e-5}
    saes = {"s": keeping(4), **{name: f"baseline:{name},k=4" for name in names}}
    frame, _, alone = curves(saes, activations(), baselines=list(names))

    for name, tolerance in names.items():
        assert frame.value[f"fvu.{name}[s]"] == pytest.approx(alone.fvu[name], rel=tolerance)
        ratio = alone.fvu["s"] / alone.fvu[name]
        assert frame.value[f"ratio.{name}[s]"] == pytest.approx(ratio, rel=tolerance)
    assert frame.value["fvu[s]"] == pytest.approx(alone.fvu["s"], rel=1e-9)


def test_a_fractional_l0_is_read_between_its_neighbours_straight_in_log_l0():
    """An SAE of L0 4.3 stands beside log-interpolated PCA of rank 4 and 5."""
    frame, result, alone = curves({"s": keeping(4, every=2)}, activations(), baselines=["pca"])
    l0, curve = alone.l0["s"], dict(zip(result.curves["pca"]["x"], result.curves["pca"]["y"], strict=True))
    share = math.log(l0 / 4) / math.log(5 / 4)

    assert 4.2 < l0 < 4.8
    assert frame.value["fvu.pca[s]"] == pytest.approx((1 - share) * curve[4] + share * curve[5], rel=1e-9)


def test_the_l0_at_which_pca_reaches_an_sae_is_found_back():
    """A static PCA of rank 4 given as an SAE is matched by PCA at L0 4."""
    x = activations()
    train, _ = sides(x)
    mean = train.mean(0)
    basis = torch.linalg.eigh((train - mean).T @ (train - mean)).eigenvectors.flip(1)[:, :4]
    own = dm.SAE.from_functions(
        lambda v: ((v.double() - mean) @ basis).float(),
        lambda c: (c.double() @ basis.T + mean).float(),
        d_in=D,
        d_sae=4,
    )
    frame, _, _ = curves({"s": own, "worse": keeping(1, -5.0)}, x, baselines=["pca", "pca_topk"])

    assert frame.value["l0.pca[s]"] == pytest.approx(4, abs=1e-4)
    # Paired: what both share in a resample goes, although either FVU alone is uncertain.
    ratio = (frame.ci_low["ratio.pca[s]"], frame.ci_high["ratio.pca[s]"])
    assert ratio == pytest.approx((1, 1), abs=1e-5)
    assert frame.ci_high["fvu[s]"] - frame.ci_low["fvu[s]"] > 1e-3
    assert frame.value["l0.pca_topk[s]"] < 4
    assert frame.reason["l0.pca[worse]"] == "the SAE is no better than the mean"


def test_the_area_is_the_mean_gap_over_log_l0():
    """Two SAEs and the curve between them: the trapezoids are those of an independent sum."""
    x = activations()
    frame, result, alone = curves({"s": keeping(3), "t": keeping(8), "bad": keeping(5, -1.0)}, x)
    axis = np.linspace(math.log(3), math.log(8), 200_001)
    curve = result.curves["pca"]
    baseline = np.interp(axis, np.log(curve["x"]), curve["y"])
    # The SAE of L0 5 is worse than that of L0 3, which therefore stands in for it.
    knots = [(3, "s"), (5, "s"), (8, "t")]
    frontier = np.interp(axis, [math.log(l0) for l0, _ in knots], [alone.fvu[name] for _, name in knots])

    assert alone.fvu["bad"] > alone.fvu["s"]
    assert frame.value["area.pca"] == pytest.approx(float((baseline - frontier).mean()), abs=1e-6)
    assert frame.ci_low["area.pca"] < frame.value["area.pca"] < frame.ci_high["area.pca"]


def test_one_sae_and_saes_of_one_l0_have_no_area():
    """A point makes no curve: undefined with the reason, never 0."""
    frame, _, _ = curves({"s": keeping(4)}, activations(), baselines=["pca"])
    assert frame.reason["area.pca"] == "one SAE makes no curve"
    frame, _, _ = curves({"s": keeping(4), "t": keeping(4, 0.5)}, activations(), baselines=["pca"])
    assert "share no range of L0" in frame.reason["area.pca"]


def test_without_an_area_a_note_says_where_the_ratios_are():
    """One SAE says nothing by areas, but is there beside every baseline at its own L0; two have areas."""
    _, one, _ = curves({"s": keeping(4)}, activations(), baselines=["pca"])
    _, two, _ = curves({"s": keeping(4), "t": keeping(8)}, activations(), baselines=["pca"])

    assert any("--metrics 'fvu_l0_curve.ratio.*'" in note for note in one.notes)
    assert not any("ratio" in note for note in two.notes)


def test_what_baselines_cannot_say_is_undefined():
    """Constant activations, a full basis as the denominator, and an L0 beyond the curve."""
    frame, _, _ = curves({"s": keeping(D)}, activations(), baselines=["pca", "identity_relu"])
    assert frame.reason["ratio.pca[s]"].startswith("the baseline misses nothing at that L0")
    assert frame.reason["ratio.identity_relu[s]"].startswith("its curve ends at L0")
    frame, _, _ = curves({"s": keeping(4)}, torch.ones(80, 20, D), baselines=["pca"])
    assert set(frame.reason.dropna()) == {"the activations do not vary on the held-out rows"}
    assert set(frame.status) == {"undefined"}


def test_transcoders_have_an_fvu_and_no_baselines():
    """PCA of the input gives the input back, which is not what a transcoder is asked for."""
    x = activations()
    results = dm.evaluate({"s": keeping(4)}, activations=x, y=-x, evaluators={"fvu_l0_curve": {}})
    frame = results.to_pandas().set_index("metric")

    assert frame.status["fvu[s]"] == "ok"
    assert frame.reason["ratio.pca[s]"].startswith("the baselines give back what they read")


def test_the_axis_is_straight_below_one_and_logarithmic_above():
    """Curves start at L0 0 without a pole, and join at 1."""
    assert u(np.array([0.0, 0.5, 1.0, math.e])).tolist() == pytest.approx([-1.0, -0.5, 0.0, 1.0])
    curve = np.array([0.0, 1.0, 2.0, 4.0])
    weights = reading(curve, np.array([0.25, 2.0, math.sqrt(8), 5.0]))
    assert weights[:3] == pytest.approx(np.array([[0.75, 0.25, 0, 0], [0, 0, 1, 0], [0, 0, 0.5, 0.5]]))
    assert np.isnan(weights[3]).all()


def test_matched_and_area_on_numbers_done_by_hand():
    """A curve 1, 0.5, 0 at L0 0, 1, e: 0.25 is reached at √e, and its mean over [1, e] is 0.25."""
    l0s, fvus = np.array([0.0, 1.0, math.e]), np.array([[1.0, 0.5, 0.0]])
    assert matched(l0s, fvus, np.array([0.25]))[0] == pytest.approx(math.sqrt(math.e))
    assert np.isnan(matched(l0s, fvus, np.array([1.5]))[0])
    area = Area.between(np.array([math.e, 1.0]), l0s)
    assert isinstance(area, Area)
    assert area.of(np.array([[0.1, 0.1]]), fvus)[0] == pytest.approx(0.25 - 0.1)
