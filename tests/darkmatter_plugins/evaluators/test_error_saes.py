"""``error_saes`` through the public API: closed cases, held-out rows, seeds, what is undefined."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import stdtrit
from torch.nn.functional import normalize

import darkmatter as dm
from darkmatter import api, shards
from darkmatter.output import EvalOutput
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split
from darkmatter.stats.resample import Resampler
from darkmatter_plugins.cosines import random_max_cosine
from darkmatter_plugins.evaluators.error_saes.descriptor import ERROR_SAES
from darkmatter_plugins.evaluators.error_saes.report import Report
from darkmatter_plugins.training import topk

CONTEXTS, POSITIONS, D = 60, 24, 6
SMALL = {
    "k": 2,
    "width": 16,
    "steps": 30,
    "batch": 64,
    "seeds": 1,
    "latents": 6,
    "fragment": 6,
    "train_fragments": 30,
    "test_fragments": 20,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def activations() -> torch.Tensor:
    return torch.randn(CONTEXTS, POSITIONS, D, generator=seeded()) + 1


def relu() -> api.CanonicalSAE:
    return api.CanonicalSAE(W_enc=torch.eye(D), W_dec=torch.eye(D), activation=api.Relu())


def result(sae=None, x=None, *, tokens=None, seed=0, jobs=1, **options):
    found = dm.evaluate(
        {"sae": relu() if sae is None else sae},
        activations=activations() if x is None else x,
        tokens=tokens,
        evaluators={"error_saes": {**SMALL, **options}},
        seed=seed,
        jobs=jobs,
    )
    (only,) = list(found)
    assert only.status == "ok", only.reason
    return only


def metrics(found) -> dict:
    return {metric.name: metric for metric in found.metrics}


def parts_by_hand(x: torch.Tensor) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """e, L, N of the ReLU SAE on the held-out rows from whole arrays, and those rows of x; float64."""
    train = make_split(tensor_activations(x)).train(0, CONTEXTS).numpy()
    every = x.double().numpy()

    def design(rows):
        return np.hstack([rows, np.ones((len(rows), 1))])

    fit = np.linalg.lstsq(design(every[train]), np.minimum(every[train], 0), rcond=None)[0]
    held_out = every[~train]
    error, linear = np.minimum(held_out, 0), design(held_out) @ fit
    return {"error": error, "linear": linear, "nonlinear": error - linear}, held_out


@pytest.fixture
def kept(monkeypatch) -> list[topk.Trained]:
    """Every SAE that is trained, in order: of each seed error, linear, nonlinear."""
    found: list[topk.Trained] = []
    train = topk.train_topk

    def keep(*args, **kwargs):
        found.extend(train(*args, **kwargs))
        return found[-3:]

    monkeypatch.setattr("darkmatter_plugins.evaluators.error_saes.run.train_topk", keep)
    return found


def test_fvu_is_that_of_the_trained_saes_on_held_out_rows(kept):
    """fvu, fvu_of_x, dead and similarity against float64 from whole arrays and the trained weights."""
    x = activations()
    found = metrics(result(x=x))
    parts, held_out = parts_by_hand(x)

    for trained, (part, rows) in zip(kept, parts.items(), strict=True):
        codes, decoded = trained.sae.reference(torch.from_numpy(rows).float())
        missed = ((rows - decoded.numpy()) ** 2).sum()
        own, of_x = (((v - v.mean(0)) ** 2).sum() for v in (rows, held_out))
        fires = (codes != 0).any(dim=0)
        cosines = normalize(trained.sae.W_dec[fires]) @ torch.eye(D)
        assert found[f"fvu.{part}"].value == pytest.approx(missed / own, rel=1e-5)
        assert found[f"fvu_of_x.{part}"].value == pytest.approx(missed / of_x, rel=1e-5)
        assert found[f"dead.{part}"].value == pytest.approx(float((~fires).double().mean()))
        similarity = float(cosines.amax(dim=1).mean())
        assert found[f"similarity.{part}"].value == pytest.approx(similarity, rel=1e-5)
        excess = similarity - random_max_cosine(D, D)
        assert found[f"similarity_excess.{part}"].value == pytest.approx(excess, abs=1e-5)


def test_norm_gap_is_that_of_error_decomposition():
    """norm_r2_gap is the difference of the two figures there, with an interval around it."""
    x = activations()
    frame = dm.evaluate(
        {"sae": relu()}, activations=x, evaluators={"error_saes": SMALL, "error_decomposition": {}}
    )
    value = frame.to_pandas().set_index("metric").value
    gap = metrics(next(each for each in frame if each.evaluator.name == "error_saes"))["norm_r2_gap"]

    assert gap.value == pytest.approx(value["norm_r2.linear"] - value["norm_r2.nonlinear"], abs=1e-12)
    assert gap.ci_low < gap.value < gap.ci_high
    assert "jackknife" in gap.ci_method


def test_fvu_gap_is_paired(kept):
    """Its interval leaves the same context out of both FVUs: the jackknife of their difference."""
    x = activations()
    found = metrics(result(x=x))
    gap, (parts, held_out) = found["fvu_gap"], parts_by_hand(x)
    sums = {}
    for trained, (part, rows) in zip(kept, parts.items(), strict=True):
        missed = rows - trained.sae.reference(torch.from_numpy(rows).float())[1].numpy()
        spread = rows - rows.mean(0)
        # Rows of the held-out contexts stand one context after another, as many in each.
        sums[part] = [
            (v**2).sum(axis=1).reshape(len(held_out) // POSITIONS, -1).sum(axis=1) for v in (missed, spread)
        ]
    n = len(sums["linear"][0])
    without = {part: (m.sum() - m) / (v.sum() - v) for part, (m, v) in sums.items()}
    differences = without["nonlinear"] - without["linear"]
    error = np.sqrt((n - 1) / n * ((differences - differences.mean()) ** 2).sum())
    half = error * float(stdtrit(n - 1, 0.975))

    assert gap.value == pytest.approx(found["fvu.nonlinear"].value - found["fvu.linear"].value, abs=1e-12)
    assert f"jackknife over {n} contexts" in gap.ci_method
    assert gap.ci_low == pytest.approx(gap.value - half, rel=1e-4)
    assert gap.ci_high == pytest.approx(gap.value + half, rel=1e-4)


def sparse_error(n_features: int = 6) -> tuple[api.SAE, torch.Tensor]:
    """Orthonormal features, one active a token; the SAE knows the first half, so e is 1-sparse."""
    which = torch.randint(n_features, (CONTEXTS, POSITIONS), generator=seeded(2))
    amplitude = 1 + torch.rand(CONTEXTS, POSITIONS, 1, generator=seeded(3))
    known = torch.eye(D)[: D // 2]
    sae = api.CanonicalSAE(W_enc=known.T, W_dec=known, activation=api.Relu())
    return sae, torch.eye(D)[which] * amplitude


def test_an_error_of_unlearned_features_is_learned_wholly():
    """One of three missing features a token, one code a token: FVU nearly 0, e is all linear, N nothing."""
    sae, x = sparse_error()
    missing = {"k": 1, "width": 12, "steps": 400, "lr": 2e-2}
    found = metrics(result(sae, x, **missing))

    assert found["fvu.error"].value < 0.05
    assert found["fvu.linear"].value < 0.05
    assert found["fvu.nonlinear"].value is None
    assert "does not vary" in found["fvu.nonlinear"].reason
    assert found["fvu_gap"].value is None


def test_held_out_rows_shape_no_weight(kept):
    """Other values on every held-out row: the trained SAEs stay the same to the byte."""
    x = activations()
    result(x=x)
    train = make_split(tensor_activations(x)).train(0, CONTEXTS)
    result(x=torch.where(train[..., None], x, 3 * x.flip(0) - 2))
    before, after = kept[:3], kept[3:]

    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.sae.W_enc, other.sae.W_enc)
        assert torch.equal(one.sae.b_dec, other.sae.b_dec)
        assert one.fvu == other.fvu


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_bytes_twice_and_with_any_number_of_workers(jobs, monkeypatch):
    """Training draws from its seeds alone, also where there are several shards."""
    monkeypatch.setattr(shards, "SHARD_TOKENS", 300)
    tokens = torch.randint(5, (CONTEXTS, POSITIONS), generator=seeded(1))
    shown = [
        json.dumps(
            result(tokens=tokens, jobs=n, seeds=2).model_dump(exclude={"timings", "provenance"}, mode="json")
        )
        for n in (1, jobs)
    ]

    assert shown[0] == shown[1]


def test_seeds_are_spread_and_named():
    """Mean, standard deviation and range over training seeds; their interval says what was resampled."""
    found = result(seeds=3)
    named, fvus = metrics(found), [row["fvu"] for row in found.tables["saes"] if row["part"] == "linear"]

    assert len(set(fvus)) == 3
    assert named["fvu.linear"].value == pytest.approx(fvus[0])
    assert named["fvu_mean.linear"].value == pytest.approx(np.mean(fvus))
    assert named["fvu_std.linear"].value == pytest.approx(np.std(fvus, ddof=1))
    assert named["fvu_range.linear"].value == pytest.approx(max(fvus) - min(fvus))
    assert "3 training seeds" in named["fvu_mean.linear"].ci_method
    assert named["fvu_mean.linear"].n == 3
    others = [row["fvu"] for row in found.tables["saes"] if row["part"] == "nonlinear"]
    gaps = np.array(others) - np.array(fvus)
    assert named["fvu_gap_mean"].value == pytest.approx(gaps.mean())
    half = 4.302653 * gaps.std(ddof=1) / np.sqrt(3)
    assert named["fvu_gap_mean"].ci_low == pytest.approx(gaps.mean() - half, rel=1e-4)
    assert any(f"above 0 for {(gaps > 0).sum()} of 3 training seeds" in note for note in found.notes)
    one = metrics(result(seeds=1))
    assert one["fvu_std.linear"].value is None
    assert "2 or more training seeds" in one["fvu_gap_mean"].ci_method
    assert "no spread" in one["fvu_std.linear"].reason


def test_the_curves_end_at_the_budget():
    """One training curve per part and seed, over the steps asked for."""
    found = result(seeds=2, steps=7)

    assert set(found.curves) == {
        f"training_fvu.{part}.{seed}" for part in ("error", "linear", "nonlinear") for seed in (0, 1)
    }
    assert all(curve["x"] == [*range(1, 8)] for curve in found.curves.values())
    assert {row["rows"] for row in found.tables["saes"]} == {7 * 64}


def test_latents_of_tokens_are_interpretable_and_simulators_see_no_held_out_fragment():
    """Features that are tokens score near 1; where no token comes twice nothing can be known: 0, counted."""
    sae, x = sparse_error()
    options = {"k": 1, "width": 8, "steps": 300, "lr": 2e-2, "latents": 8}
    told = metrics(result(sae, x, tokens=x.abs().argmax(dim=-1), **options))
    once = torch.arange(CONTEXTS * POSITIONS).view(CONTEXTS, POSITIONS)
    untold = metrics(result(sae, x, tokens=once, **options))

    assert told["score_token.linear"].value > 0.9
    assert told["score_undefined.linear"].value == 0
    assert "latents" in told["score.linear"].ci_method
    for name in ("score.linear", "score_token.linear"):
        assert untold[name].value == 0
    assert untold["score_undefined.linear"].value == untold["score.linear"].n


@pytest.mark.parametrize(
    ("options", "reason"),
    [({}, "without tokens"), ({"latents": 0}, "latents = 0"), ({"fragment": 25}, "25 neighbouring rows")],
)
def test_without_tokens_or_fragments_there_is_no_score(options, reason):
    """What cannot be scored is undefined with its reason."""
    tokens = None if not options else torch.zeros(CONTEXTS, POSITIONS, dtype=torch.int64)
    found = metrics(result(tokens=tokens, **options))["score.linear"]

    assert found.value is None
    assert reason in found.reason


def test_an_sae_without_error_trains_nothing():
    """Without an error every figure is undefined, for that reason."""
    sae = dm.SAE.from_functions(lambda z: z, lambda c: c, d_in=D, d_sae=D)
    found = result(sae)

    assert {metric.value for metric in found.metrics} == {None}
    assert found.tables["saes"] == []
    assert "does not vary" in metrics(found)["fvu.error"].reason


def test_without_a_decoder_there_is_no_similarity():
    """Functions have no directions to compare with."""
    sae = dm.SAE.from_functions(torch.relu, lambda c: c, d_in=D, d_sae=D)

    assert "no decoder" in metrics(result(sae))["similarity.error"].reason


def test_the_answers_are_notes():
    """Which part is easier to learn, and which looks more like features, in words with the figures."""
    notes = " ".join(result().notes)

    assert "fvu_gap" in notes
    assert "norm_r2_gap" in notes


def test_a_difference_on_which_training_seeds_disagree_is_none():
    """An interval over contexts says nothing of training: seeds of either sign are no answer."""
    out = EvalOutput(ERROR_SAES, Resampler(10, seed=0), n_rows=100)
    ones = np.arange(1.0, 11)
    out.add_columns({"above": ones, "rows": ones})
    out.ratio("fvu_gap", "above", "rows")
    report = Report(out, ["linear", "nonlinear"], None, 2)

    report._answer_by_learning(np.array([0.1, 0.2]))
    report._answer_by_learning(np.array([0.1, -0.2]))

    assert out.notes[0].startswith("the linear error is easier to learn")
    assert out.notes[1].startswith("no difference shown")
    assert "above 0 for 1 of 2 training seeds" in out.notes[1]


def test_more_codes_than_latents_are_said_to_be_none():
    """Where k exceeds the width, every latent is taken, and a note says that k was not what was asked."""
    assert any("k is 3 instead of 4" in note for note in result(k=4, width=3).notes)
    assert not any("instead" in note for note in result(k=3, width=3).notes)


def test_evaluators_that_train_run_only_where_they_are_named():
    """By default nothing is trained: minutes an SAE are spent where someone asked for them."""
    found = dm.evaluate({"sae": relu()}, activations=activations())

    assert "error_saes" not in {each.evaluator.name for each in found}
    assert "reconstruction" in {each.evaluator.name for each in found}
