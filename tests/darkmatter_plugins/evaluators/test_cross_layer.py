"""Errors predicted from other SAEs: closed forms E1, E2, F1 to F5, whole-array fits, alignment, controls."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter import api
from darkmatter.plugins import host
from darkmatter.progress import Progress
from darkmatter.raw_activations import tensor_activations
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import choose_evaluators
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine
from darkmatter.sae.encode_only import EncodeOnlySAE
from darkmatter.split import make_split
from darkmatter.testing import check_evaluator
from darkmatter.testing.synthetic import AtHooks, SmallShards

CONTEXTS, POSITIONS, D = 200, 100, 8
RELU_R2 = 0.25 / (0.5 - 1 / (2 * math.pi))
LOW, HIGH = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"


def gaussian(seed: int = 0) -> torch.Tensor:
    return torch.randn(CONTEXTS, POSITIONS, D, generator=torch.Generator().manual_seed(seed))


def relu(hook: str | None = None) -> api.SAE:
    return api.CanonicalSAE(W_enc=torch.eye(D), W_dec=torch.eye(D), activation=api.Relu(), hook_in=hook)


def linear(weight: torch.Tensor, hook: str | None = None) -> api.SAE:
    """Reconstructs x @ weight."""
    return api.CanonicalSAE(W_enc=torch.eye(D), W_dec=weight, activation=api.AbsTopK(D), hook_in=hook)


def invertible(seed: int = 1) -> torch.Tensor:
    return torch.randn(D, D, generator=torch.Generator().manual_seed(seed))


def measured(saes, x, **options):
    """Metrics of the SAE called relu, from sources at its own hook point."""
    config = {"sources": list(saes), **options}
    found = dm.evaluate(saes, activations=x, evaluators={"cross_layer": config}, jobs=1)
    stored = next(each.result for each in found.stored if each.result.sae.name == "relu")
    frame = found.to_pandas()
    return frame[frame.sae == "relu"].set_index("metric"), stored


def test_e1_an_invertible_linear_map_of_x_knows_what_x_knows():
    """R² of e equals that from x, of L is 1, of N is 0; nothing is gained jointly with x."""
    found, _ = measured({"relu": relu(), "other": linear(invertible())}, gaussian())

    for source in ("other", "other:codes", "all", "other:random"):
        assert found.value[f"r2.error[{source}]"] == pytest.approx(RELU_R2, rel=1e-2)
        assert found.value[f"r2.linear[{source}]"] == pytest.approx(1, abs=1e-9)
        assert found.value[f"r2.nonlinear[{source}]"] == pytest.approx(0, abs=2e-3)
    after = 0.25 - 1 / (2 * math.pi)
    assert found.value["fvu_after[other]"] == pytest.approx(after, rel=1e-2)
    assert found.value["fvu_nonlinear_after[all]"] == pytest.approx(found.value["fvu_after[other]"], rel=1e-9)


def test_e2_a_relu_predicts_some_of_its_own_nonlinear_error():
    """S = relu(x) as its own source for N: R² = .267, from the reconstruction and from the codes."""
    found, _ = measured({"relu": relu(), "other": relu()}, gaussian())
    pi = 2 * math.pi
    expected = (1 / pi - 0.25) ** 2 / ((0.25 - 1 / pi) * (0.5 - 1 / pi))

    for source in ("itself", "itself:codes", "other", "other:codes"):
        assert found.value[f"r2.nonlinear[{source}]"] == pytest.approx(expected, rel=2e-2)
    # x and relu(x) together are the error.
    assert found.value["fvu_nonlinear_after[other]"] == pytest.approx(0, abs=1e-9)
    assert "fvu_nonlinear_after[itself]" not in found.index


def test_f2_regressors_of_low_rank_are_solved_without_blow_up():
    """A source of rank 3 of 8, and a random subspace of that rank, know 3/8 of what x knows."""
    flat = torch.diag(torch.tensor([1.0] * 3 + [0.0] * 5)) @ invertible()
    found, result = measured({"relu": relu(), "flat": linear(flat)}, gaussian())

    for source in ("flat", "flat:random"):
        assert found.value[f"r2.error[{source}]"] == pytest.approx(3 / 8 * RELU_R2, rel=3e-2)
        assert found.value[f"r2.linear[{source}]"] == pytest.approx(3 / 8, rel=3e-2)
    fits = {(each["source"], each["with_x"]): each for each in result.tables["fits"]}
    assert fits["flat", False]["rank"] == fits["flat:random", False]["rank"] == 3
    assert fits["flat", True]["rank"] == D
    assert found.value["fvu_nonlinear_after[flat]"] == pytest.approx(0.25 - 1 / (2 * math.pi), rel=2e-2)


def test_shuffled_rows_know_nothing():
    """The control: the same rows at other tokens predict neither the error nor a part of it."""
    found, _ = measured({"relu": relu(), "other": linear(invertible())}, gaussian())

    for key in ("error", "linear", "nonlinear"):
        assert found.value[f"r2.{key}[other:shuffled]"] == pytest.approx(0, abs=5e-3)
    assert found.value["fvu_after[other:shuffled]"] == pytest.approx(0.5 - 1 / (2 * math.pi), rel=2e-2)


def run(saes, store, **options):
    """Metrics by name of every SAE, over two hook points."""
    engine = make_engine(
        SmallShards(store, 30), Analysis(), choose_evaluators(host(), {"cross_layer": options}),
        host=host(), results=None, jobs=2, progress=Progress(),
    )  # fmt: skip
    items = [SAEItem(name, name, lambda sae=sae: sae) for name, sae in saes.items()]
    found = engine.run(items, [], ControlPolicy(automatic=False))
    return {each.sae.name: {m.name: m for m in each.metrics} for each in found}


class WholeArrays:
    """Least squares on whole float64 arrays: e of rows x [n, d] and target y, with the engine's split."""

    def __init__(self, store: AtHooks, x: np.ndarray, y: np.ndarray, e: np.ndarray) -> None:
        split = make_split(tensor_activations(store.read(HIGH, 0, CONTEXTS)))
        self.train = split.train(0, CONTEXTS).numpy().ravel()
        self.x, self.e = x, e
        self.variance = self.spread(y).sum()
        nonlinear = self.left(e, x)
        self.targets = {"error": e, "linear": e - nonlinear, "nonlinear": nonlinear}

    def left(self, target: np.ndarray, *regressors: np.ndarray) -> np.ndarray:
        """What a fit on the training rows leaves of all rows."""
        design = np.hstack([*regressors, np.ones((len(target), 1))])
        return target - design @ np.linalg.lstsq(design[self.train], target[self.train], rcond=None)[0]

    def spread(self, v: np.ndarray) -> np.ndarray:
        """Squared deviations of the held-out rows."""
        return (v[~self.train] - v[~self.train].mean(0)) ** 2

    def fvu(self, *regressors: np.ndarray) -> float:
        """The FVU that a prediction of e leaves."""
        return (self.left(self.e, *regressors)[~self.train] ** 2).sum() / self.variance

    def r2(self, key: str, *regressors: np.ndarray, per_dim: bool = False) -> float:
        """Held-out R² of the error or a part."""
        missed, total = (
            self.left(self.targets[key], *regressors)[~self.train] ** 2,
            self.spread(self.targets[key]),
        )
        return 1 - ((missed.sum(0) / total.sum(0)).mean() if per_dim else missed.sum() / total.sum())


def rows(values: torch.Tensor) -> np.ndarray:
    """[n, d] float64."""
    return values.double().numpy().reshape(-1, values.shape[-1])


def test_f1_every_number_is_what_whole_arrays_give():
    """Reconstruction, activation and codes of a lower hook point, alone and jointly with x, in float64."""
    low = gaussian() + 0.3
    high = torch.tanh(low @ invertible()) + 0.5 * gaussian(2)
    store = AtHooks({LOW: low, HIGH: high})
    found = run({"relu": relu(HIGH), "below": relu(LOW)}, store, per_dim=True)["relu"]
    x, below = rows(high), rows(low)
    whole = WholeArrays(store, x, x, np.minimum(x, 0))
    sources = {
        "below": np.maximum(below, 0),
        "below:codes": np.maximum(below, 0),
        f"activation@{LOW}": below,
        "all": np.maximum(below, 0),
    }
    for source, known in sources.items():
        for key in whole.targets:
            value = found[f"r2.{key}[{source}]"].value
            assert value == pytest.approx(whole.r2(key, known), abs=1e-10), (key, source)
            per_dim = whole.r2(key, known, per_dim=True)
            assert found[f"r2_per_dim.{key}[{source}]"].value == pytest.approx(per_dim, abs=1e-10)
        after = found[f"fvu_after[{source}]"]
        assert after.value == pytest.approx(whole.fvu(known), rel=1e-10)
        assert found[f"fvu_nonlinear_after[{source}]"].value == pytest.approx(whole.fvu(x, known), rel=1e-10)
        assert after.ci_low < after.value < after.ci_high


def test_a_transcoder_is_measured_and_is_a_source():
    """Its error is y - Sae(x): what it knows itself beyond x counts; an SAE where it reads sees it beside."""
    low = gaussian() + 0.3
    high = torch.tanh(low @ invertible())[..., :5] + 0.5 * gaussian(2)[..., :5]
    W_dec = torch.randn(D, 5, generator=torch.Generator().manual_seed(3)) / D
    across = api.CanonicalSAE(
        W_enc=torch.eye(D), W_dec=W_dec, activation=api.Relu(), hook_in=LOW, hook_out=HIGH
    )
    store = AtHooks({LOW: low, HIGH: high})
    found = run({"below": relu(LOW), "across": across}, store)
    x, y = rows(low), rows(high)
    own, beside = rows(torch.relu(low) @ W_dec), np.maximum(x, 0)

    for name, error, target, knows in (("across", y - own, y, beside), ("below", np.minimum(x, 0), x, own)):
        whole, other = WholeArrays(store, x, target, error), {"across": "below", "below": "across"}[name]
        for key in whole.targets:
            assert found[name][f"r2.{key}[{other}]"].value == pytest.approx(whole.r2(key, knows), abs=1e-6)
        assert found[name][f"fvu_after[{other}]"].value == pytest.approx(whole.fvu(knows), rel=1e-6)
        jointly = found[name][f"fvu_nonlinear_after[{other}]"].value
        assert jointly == pytest.approx(whole.fvu(x, knows), rel=1e-6, abs=1e-9)
    whole = WholeArrays(store, x, y, y - own)
    for source, knows in (("itself", own), ("itself:codes", beside)):
        after = found["across"][f"fvu_nonlinear_after[{source}]"].value
        assert after == pytest.approx(whole.fvu(x, knows), rel=1e-6)
    assert f"activation@{LOW}" not in "".join(found["below"])


def test_a_source_with_codes_alone_is_known_by_its_codes():
    """It has no reconstruction, which is said; its codes and its hook point count all the same."""
    x = gaussian()
    alone = EncodeOnlySAE(W_enc=torch.eye(D), activation=api.Relu(), reason="An encoder.", hook=LOW)
    found = run({"relu": relu(HIGH), "alone": alone, "below": relu(LOW)}, AtHooks({LOW: x, HIGH: x}))["relu"]

    for name in ("r2.error", "r2.nonlinear", "fvu_after", "fvu_nonlinear_after"):
        assert found[f"{name}[alone:codes]"].value == pytest.approx(found[f"{name}[below]"].value, abs=1e-9)
        assert "no reconstruction" in found[f"{name}[alone]"].reason
        assert found[f"{name}[all]"].value == pytest.approx(found[f"{name}[below]"].value, abs=1e-9)
    assert found["r2.error[alone:codes:shuffled]"].value == pytest.approx(0, abs=5e-3)
    only = run({"relu": relu(HIGH), "alone": alone}, AtHooks({LOW: x, HIGH: x}))["relu"]
    assert "no source that reconstructs" in only["r2.error[all]"].reason


def test_the_fvu_never_rises_on_training_rows_and_may_on_others():
    """A fit leaves at most all of Σ|e|² where it was made, less with x beside; elsewhere it may add."""
    x = gaussian()[:12, :20]
    saes = {
        "relu": api.CanonicalSAE(W_enc=torch.eye(D), W_dec=torch.eye(D), activation=api.AbsTopK(D // 2)),
        "other": relu(),
    }
    found = dm.evaluate(
        saes, activations=x, evaluators={"cross_layer": {"sources": ["other"]}, "reconstruction": {}}
    )
    values = {m.name: m.value for r in found if r.sae.name == "relu" for m in r.metrics}
    stored = next(r for r in found if r.sae.name == "relu" and r.evaluator.name == "cross_layer")
    left = {(fit["source"], fit["with_x"]): fit["left_train"] for fit in stored.tables["fits"]}

    assert len(left) > 10
    assert all(0 <= share < 1 for share in left.values())
    assert all(share < left[source, False] for (source, with_x), share in left.items() if with_x)
    assert values["fvu_after[other:shuffled]"] > values["fvu"]


@pytest.mark.parametrize("bias", [True, False])
def test_what_is_left_on_training_rows_is_what_whole_arrays_leave(bias):
    """``left_train`` is Σ|e - ê|² / Σ|e|² of the training rows, with and without intercept."""
    x = gaussian()
    _, stored = measured({"relu": relu(), "other": linear(invertible())}, x, bias=bias)
    train = make_split(tensor_activations(x)).train(0, CONTEXTS).numpy().ravel()
    known = rows(x @ invertible())[train]
    design = np.hstack([known, np.ones((len(known), int(bias)))])
    e = np.minimum(rows(x)[train], 0)
    left = e - design @ np.linalg.lstsq(design, e, rcond=None)[0]
    found = {(fit["source"], fit["with_x"]): fit["left_train"] for fit in stored.tables["fits"]}

    assert found["other", False] == pytest.approx((left**2).sum() / (e**2).sum(), rel=1e-6)


def test_f3_half_of_the_dimensions_known():
    """The mean over dimensions is ½ whatever their scale; the pooled R² goes by variance."""
    zero, copy, half = linear(torch.zeros(D, D), HIGH), linear(torch.eye(D), LOW), torch.arange(D) < D // 2
    x = gaussian()
    known = torch.where(half, x, gaussian(1))
    for scale in (1.0, 100.0):
        by = torch.where(half, scale, 1.0)
        found = run({"zero": zero, "copy": copy}, AtHooks({LOW: known, HIGH: x * by}), per_dim=True)["zero"]
        assert found["r2_per_dim.error[copy]"].value == pytest.approx(0.5, abs=1e-2)
        assert found["r2.error[copy]"].value == pytest.approx(scale**2 / (scale**2 + 1), abs=1e-2)


FAR = 50.0 * (torch.arange(D) == 0)


def test_f4_a_mean_far_from_zero_does_not_flatter():
    """A source that knows half of the variance leaves half, though one dimension has mean 50."""
    x = gaussian()
    saes = {"zero": linear(torch.zeros(D, D), HIGH), "copy": linear(torch.eye(D), LOW)}
    found = run(saes, AtHooks({LOW: x + gaussian(1), HIGH: x + FAR}))["zero"]
    assert found["fvu_after[copy]"].value == pytest.approx(0.5, abs=1e-2)
    assert found["r2.error[copy]"].value == pytest.approx(0.5, abs=1e-2)


def test_f5_a_shrunk_reconstruction_misses_its_square_whatever_the_mean():
    """Of (1 - s)x a source that knows nothing leaves s², since the intercept takes the mean."""
    x = gaussian()
    saes = {"shrunk": linear(0.7 * torch.eye(D), HIGH), "copy": linear(torch.eye(D), LOW)}
    found = run(saes, AtHooks({LOW: x, HIGH: x + FAR}))["shrunk"]
    assert found["fvu_after[copy:shuffled]"].value == pytest.approx(0.09, rel=1e-2)


def test_a_source_that_is_one_token_late_knows_nothing():
    """Alignment is what makes the number: shifted by one token, an exact copy predicts nothing."""
    x = gaussian()
    aligned = run({"relu": relu(HIGH), "below": linear(invertible(), LOW)}, AtHooks({LOW: 2 * x, HIGH: x}))
    late = run(
        {"relu": relu(HIGH), "below": linear(invertible(), LOW)},
        AtHooks({LOW: 2 * x.roll(1, dims=1), HIGH: x}),
    )

    assert aligned["relu"]["r2.error[below]"].value == pytest.approx(RELU_R2, rel=2e-2)
    assert late["relu"]["r2.error[below]"].value == pytest.approx(0, abs=5e-3)


def test_several_sources_together_know_what_each_knows_of_its_half():
    """Two sources that each hold half of x: together they know all, with rows of other widths."""
    x = gaussian()
    half = torch.eye(D)[:, : D // 2]
    first = api.CanonicalSAE(
        W_enc=torch.eye(D // 2), W_dec=torch.eye(D // 2), activation=api.AbsTopK(D // 2), hook_in=LOW
    )
    second = linear(torch.diag((torch.arange(D) >= D // 2).float()), HIGH)
    found = run(
        {"relu": relu(HIGH), "first": first, "second": second}, AtHooks({LOW: x @ half, HIGH: x}),
        sources=["first", "second", "gone"],
    )["relu"]  # fmt: skip

    assert found["r2.error[first]"].value == pytest.approx(RELU_R2 / 2, rel=3e-2)
    assert found["r2.error[second]"].value == pytest.approx(RELU_R2 / 2, rel=3e-2)
    assert found["r2.error[all]"].value == pytest.approx(RELU_R2, rel=2e-2)
    assert "no SAE of this name" in found["r2.error[gone]"].reason


def test_what_is_too_wide_is_undefined_with_its_reason():
    """Codes and joint fits beyond their limits say so, the rest is there."""
    x = gaussian()
    saes = {"relu": relu(HIGH), "below": relu(LOW), "lower": linear(invertible(), LOW)}
    found = run(saes, AtHooks({LOW: x, HIGH: x}), max_code_width=D - 1, max_joint_width=2 * D)["relu"]

    assert "max_code_width 7" in found["r2.error[below:codes]"].reason
    few = run(saes, AtHooks({LOW: x, HIGH: x}), rows_per_regressor=1000, kinds=["codes"])["relu"]
    assert "need 16000 rows (rows_per_regressor 1000), there are 12000" in few["r2.error[below:codes]"].reason
    assert few["fvu_nonlinear_after[below:codes]"].value is None
    assert "max_joint_width 16" in found["fvu_nonlinear_after[all]"].reason
    assert found["fvu_nonlinear_after[below]"].value is not None


def test_one_hook_point_alone_is_skipped_unless_sources_are_named():
    """Without SAEs elsewhere there is nothing to compare, and the result says what is needed."""
    saes = {"relu": relu(), "other": linear(invertible())}
    frame = dm.evaluate(saes, activations=gaussian(), evaluators=["cross_layer"], jobs=1).to_pandas()

    assert set(frame.status) == {"skipped"}
    assert "other hook points" in frame.reason.iloc[0]


def test_it_conforms_with_named_sources():
    """Declared, bounded, repeatable whatever the workers and chunks, on SAEs of every kind."""
    assert check_evaluator("cross_layer", config={"sources": ["topk", "no_latents", "codes_alone"]}) == ()
