"""Errors predicted from other SAEs: closed forms E1, E2, F2, whole-array fits, alignment, controls."""

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
from darkmatter.runs.choosing import choose_evaluators
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine
from darkmatter.split import make_split
from darkmatter.testing import check_evaluator
from darkmatter.testing.synthetic import SmallShards

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


class TwoHooks:
    """Activations at two hook points; ``late`` shifts the tokens at the lower one."""

    key, hooks = "two hooks", (LOW, HIGH)
    n_contexts, n_positions = CONTEXTS, POSITIONS
    independent_rows, shuffled, has_model = False, False, False
    default_skip_first = default_skip_last = 0

    def __init__(self, low: torch.Tensor, high: torch.Tensor, late: int = 0) -> None:
        self.description = {"kind": "test"}
        self.rows = {LOW: low.roll(late, dims=1), HIGH: high}

    def shards(self):
        return [api.Shard(0, 0, CONTEXTS)]

    def dim(self, hook):
        return self.rows[hook].shape[2]

    def read(self, hook, start, stop):
        return self.rows[hook][start:stop]

    def tokens(self, start=0, stop=None):
        return torch.arange(CONTEXTS * POSITIONS).view(CONTEXTS, POSITIONS)[start:stop]

    def nothing(self, start=0, stop=None):
        return None

    loss = labels = nothing

    def mask(self):
        return None

    documents = model = mask


def run(saes, store, **options):
    """Metrics by name of every SAE, over two hook points."""
    engine = make_engine(
        SmallShards(store, 30), Analysis(), choose_evaluators(host(), {"cross_layer": options}),
        host=host(), results=None, jobs=2, progress=Progress(),
    )  # fmt: skip
    items = [SAEItem(name, name, lambda sae=sae: sae) for name, sae in saes.items()]
    found = engine.run(items, [], ControlPolicy(automatic=False))
    return {each.sae.name: {m.name: m for m in each.metrics} for each in found}


def test_every_number_is_what_whole_arrays_give():
    """Reconstruction, activation and codes of a lower hook point, alone and jointly with x, in float64."""
    low = gaussian() + 0.3
    high = torch.tanh(low @ invertible()) + 0.5 * gaussian(2)
    store = TwoHooks(low, high)
    found = run({"relu": relu(HIGH), "below": relu(LOW)}, store, per_dim=True)["relu"]
    split = make_split(tensor_activations(high)).train(0, CONTEXTS).numpy().ravel()
    x, below = (rows.double().numpy().reshape(-1, D) for rows in (high, low))
    e = np.minimum(x, 0)

    def left(target, *regressors):
        design = np.hstack([*regressors, np.ones((len(x), 1))])
        return target - design @ np.linalg.lstsq(design[split], target[split], rcond=None)[0]

    nonlinear = left(e, x)
    targets = {"error": e, "linear": e - nonlinear, "nonlinear": nonlinear}
    spread = lambda v: (v[~split] - v[~split].mean(0)) ** 2
    sources = {
        "below": np.maximum(below, 0),
        "below:codes": np.maximum(below, 0),
        f"activation@{LOW}": below,
        "all": np.maximum(below, 0),
    }
    for source, rows in sources.items():
        for key, target in targets.items():
            missed, total = left(target, rows)[~split] ** 2, spread(target)
            value = found[f"r2.{key}[{source}]"].value
            assert value == pytest.approx(1 - missed.sum() / total.sum(), abs=1e-6), (key, source)
            per_dim = 1 - (missed.sum(0) / total.sum(0)).mean()
            assert found[f"r2_per_dim.{key}[{source}]"].value == pytest.approx(per_dim, abs=1e-6)
        variance = spread(x).sum()
        after = (left(e, rows)[~split] ** 2).sum() / variance
        jointly = (left(e, x, rows)[~split] ** 2).sum() / variance
        assert found[f"fvu_after[{source}]"].value == pytest.approx(after, rel=1e-6)
        assert found[f"fvu_nonlinear_after[{source}]"].value == pytest.approx(jointly, rel=1e-6)
        assert found[f"fvu_after[{source}]"].ci_low < after < found[f"fvu_after[{source}]"].ci_high


def test_a_source_that_is_one_token_late_knows_nothing():
    """Alignment is what makes the number: shifted by one token, an exact copy predicts nothing."""
    x = gaussian()
    aligned = run({"relu": relu(HIGH), "below": linear(invertible(), LOW)}, TwoHooks(2 * x, x))
    late = run({"relu": relu(HIGH), "below": linear(invertible(), LOW)}, TwoHooks(2 * x, x, late=1))

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
        {"relu": relu(HIGH), "first": first, "second": second}, TwoHooks(x @ half, x),
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
    found = run(saes, TwoHooks(x, x), max_code_width=D - 1, max_joint_width=2 * D)["relu"]

    assert "max_code_width 7" in found["r2.error[below:codes]"].reason
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
    assert check_evaluator("cross_layer", config={"sources": ["topk", "no_latents"]}) == ()
