"""``feature_editing`` on a tiny random model, against Hugging Face's own with plain torch hooks."""

from __future__ import annotations

import pytest
import torch

import darkmatter as dm
from darkmatter.errors import UsageError
from darkmatter.plugins import host
from darkmatter.runs.chosen import choose_evaluators
from darkmatter_plugins.datasets import ioi
from darkmatter_plugins.evaluators.feature_editing import pairs

HOOK, LAYER, D = "blocks.1.hook_resid_post", 1, 16
PAIRS, FEATURES, LARGEST = 24, 3, 8
NAMES = ("cat", "dog", "mat", "red", "big", "saw")


@pytest.fixture(autouse=True)
def words_of_the_model(monkeypatch, tmp_path):
    """Prompts in the sixteen words that the tiny model knows."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ioi, "NAMES", NAMES)
    monkeypatch.setattr(ioi, "ENOUGH", 3)
    monkeypatch.setattr(ioi, "PLACES", ("a", "the"))
    monkeypatch.setattr(ioi, "THINGS", ("it",))
    templates = (
        "then {first} and {second} sat on {place} . {giver} ran on {thing}",
        "{first} was {place} {second} and {giver} was {thing}",
    )
    monkeypatch.setattr(ioi, "TEMPLATES", templates)


@pytest.fixture
def edit(models, story, tmp_path):
    """A function from an SAE and options to its result."""

    def run(sae, hook=HOOK, *others, **options):
        path = dm.save_sae(sae, tmp_path / "sae", overwrite=True)
        fields = {
            "model": str(models("llama")),
            "text": {"path": str(story), "context_length": 16, "contexts": 12},
        }
        config = {"features": FEATURES, "largest": LARGEST, "right": "any", **options}
        config["dataset"] = {"name": "ioi", "pairs": PAIRS}
        evaluators = {"feature_editing": config}
        (found,) = dm.run(
            **fields,
            hooks=[hook, *others],
            saes={"s": str(path)},
            evaluators=evaluators,
            controls=False,
            seed=0,
        )
        return found

    return run


def values(result) -> dict[str, float | None]:
    assert result.status == "ok", result.reason
    return {metric.name: metric.value for metric in result.metrics}


def basis(seed=1) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(seed)))[0]


def rotated(k=D, hook=HOOK, **options) -> dm.SAE:
    """Codes in a rotated basis, the k largest: lossless where k is the dimension."""
    from darkmatter import api

    q = basis()
    return api.CanonicalSAE(W_enc=q, W_dec=q.T, activation=api.AbsTopK(k), hook_in=hook, **options)


def by_hand(models, sae, sizes):
    """KL and edit [pairs, sizes] and [pairs] norms, in Hugging Face's model in float64."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from darkmatter_plugins.datasets import PairsConfig

    folder = models("llama")
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval().double()
    words = AutoTokenizer.from_pretrained(folder)

    class Words:
        def encode(self, texts):
            return [words.convert_tokens_to_ids(text.split()) for text in texts]

        def decode(self, tokens):
            return words.convert_ids_to_tokens(tokens)

    made = ioi.make(PairsConfig(pairs=PAIRS), Words(), 0).after(0)
    rows, W, Q = [], sae.W_dec.double(), basis().double()

    def last(tokens, value=None):
        def replace(module, inputs, output):
            hidden = output[0] if isinstance(output, tuple) else output
            seen.append(hidden)
            if value is None:
                return output
            return (value, *output[1:]) if isinstance(output, tuple) else value

        seen = []
        handle = model.model.layers[LAYER].register_forward_hook(replace)
        logits = model(tokens).logits[0, -1]
        handle.remove()
        return logits.log_softmax(0), seen[0]

    def codes(x):
        raw = x[0] @ Q
        kept = raw.abs() >= raw.abs().topk(sae.activation.k, dim=1).values[:, -1:]
        return torch.where(kept, raw, 0.0)

    for clean, corrupted in zip(made.clean, made.corrupted, strict=True):
        with torch.no_grad():
            target, other = last(torch.tensor([corrupted]))
            _, x = last(torch.tensor([clean]))
        point = x.clone().requires_grad_()
        kl = (target.exp() * (target - last(torch.tensor([clean]), point)[0])).sum()
        (gradient,) = torch.autograd.grad(kl, point)
        change = codes(other) - codes(x)
        order = (change * (gradient[0] @ W.T)).sum(0)
        order = order.masked_fill(~(change.abs() > 1e-5).any(0), torch.inf).argsort()
        row = []
        for size in sizes:
            kept = torch.zeros(D)
            kept[order[:size]] = 1
            delta = (change * kept) @ W
            with torch.no_grad():
                q = last(torch.tensor([clean]), x + delta)[0]
            row.append([float((target.exp() * (target - q)).sum()), float(delta.norm(dim=1).mean())])
        apart = (other - x)[0]
        rows.append((row, float((apart - change @ W).norm(dim=1).mean()), float(apart.norm(dim=1).mean())))
    return (
        torch.tensor([row for row, _, _ in rows]).double(),
        torch.tensor([each[1:] for each in rows]).double(),
    )


def test_g5_a_lossless_basis_reaches_the_counterfactual(edit):
    """Nothing edited is the model itself; everything edited is the counterfactual, |Δcodes| away."""
    found = values(edit(rotated()))
    assert found["kl_left_at[0]"] == 1
    assert found["edit_at[0]"] == 0
    assert found["kl0"] > 0.1
    assert found["kl_all"] == pytest.approx(0, abs=1e-6)
    assert found["distance_all"] == pytest.approx(0, abs=1e-5)
    assert found["edit_all"] == pytest.approx(found["edit_exact"], rel=1e-5)
    assert found["kl_exact"] == pytest.approx(0, abs=1e-6)


def test_g5_the_curve_is_that_of_plain_torch_hooks(edit, models):
    """A lossy SAE: KL and edit at every size, and |ē - e| with all features, by autograd and hooks alone."""
    sae = rotated(k=5)
    result = edit(sae)
    found, curve = values(result), result.curves
    kl_edit, norms = by_hand(models, sae, [*curve["kl_left"]["x"], D])
    kl, size = kl_edit.mean(0).T
    assert found["kl0"] == pytest.approx(float(kl[0]), rel=1e-4)
    assert curve["kl_left"]["y"] == pytest.approx((kl / kl[0])[:-1].tolist(), rel=1e-4)
    assert curve["edit"]["y"] == pytest.approx(size[:-1].tolist(), rel=1e-4)
    assert found["kl_all"] == pytest.approx(float(kl[-1]), rel=1e-4)
    assert found["edit_all"] == pytest.approx(float(size[-1]), rel=1e-4)
    assert [found["distance_all"], found["edit_exact"]] == pytest.approx(norms.mean(0).tolist(), rel=1e-4)
    assert found["distance_all"] > 0.1
    assert found["kl_left"] == found[f"kl_left_at[{FEATURES}]"]


@pytest.mark.parametrize("hook", ["blocks.1.hook_mlp_out", "blocks.1.attn.hook_z"])
def test_a_lossless_basis_does_as_much_as_the_hook_point_can(edit, hook):
    """Elsewhere than in the residual stream the counterfactual's own activations leave some KL."""
    found = values(edit(rotated(hook=hook), hook=hook))
    assert found["kl_all"] == pytest.approx(found["kl_exact"], rel=1e-3)
    assert found["kl_exact"] > 1e-3
    assert found["distance_all"] == pytest.approx(0, abs=1e-5)


def test_a_transcoder_is_edited_where_it_predicts(edit):
    """Codes come from the hook point read: an isometry carries their change to the one predicted."""
    reads, predicts = "blocks.0.hook_resid_post", HOOK
    found = values(edit(rotated(hook=reads, hook_out=predicts), reads, predicts))
    assert found["edit_all"] == pytest.approx(
        values(edit(rotated(hook=reads), hook=reads))["edit_exact"], rel=1e-4
    )
    assert found["edit_exact"] == pytest.approx(values(edit(rotated()))["edit_exact"], rel=1e-4)


def test_too_few_right_pairs_leave_nothing_but_their_share(edit):
    """The random model answers few pairs right: undefined, with the numbers in the reason."""
    result = edit(rotated(), right="both", least_pairs=PAIRS)
    metrics = {metric.name: metric for metric in result.metrics}
    assert 0 <= metrics["right"].value < 1
    assert metrics["kl_left"].value is metrics["features_for_half"].value is None
    assert f"both prompts right in 2 of {PAIRS} pairs" in metrics["kl_left"].reason
    assert "`pairs`, or set `right: clean`" in metrics["kl_left"].reason


def test_intervals_are_over_pairs(edit):
    """The unit that is resampled is the pair, and the interval holds the value."""
    metric = {each.name: each for each in edit(rotated()).metrics}["kl_left"]
    assert f"{PAIRS} pairs" in metric.ci_method
    assert metric.ci_low < metric.value < metric.ci_high


def test_one_order_for_all_pairs_is_never_better_than_all_features_and_reaches_them(edit):
    """The pooled order edits other features on the way, and the same ones at the end."""
    sae = rotated(k=5)
    own, pooled = (values(edit(sae, order=order, largest=D)) for order in ("pair", "pooled"))
    assert own["kl_left_at[2]"] != pooled["kl_left_at[2]"]
    assert own[f"kl_left_at[{D}]"] == pytest.approx(pooled[f"kl_left_at[{D}]"], rel=1e-6)


def test_greedy_records_the_sets_that_it_accepts(edit):
    """KL rises over that of all candidates by less than the threshold; the empty set's edit is 0."""
    thresholds = (-1e9, 1e-3, 0.1, 1e9)
    result = edit(rotated(), order="greedy", thresholds=thresholds, candidates=D)
    found, sets = values(result), result.tables["search"]
    assert [row["threshold"] for row in sets] == list(thresholds)
    assert all(row["kl"] < found["kl_all"] + max(row["threshold"], 1e-6) for row in sets)
    assert sets[1]["features"] > sets[2]["features"] > sets[3]["features"] == 0
    for row, end in ((sets[0], "_all"), (sets[3], "_at[0]")):
        assert row["edit"] == pytest.approx(found[f"edit{end}"], rel=1e-6)
    assert sets[0]["features"] == found["features_all"]
    assert sets[3]["kl"] == pytest.approx(found["kl0"], rel=1e-6)


def test_same_numbers_twice(edit):
    """The search draws from the seed alone."""
    options = {"order": "greedy", "thresholds": (0.01,), "candidates": 8}
    assert edit(rotated(k=5), **options).metrics == edit(rotated(k=5), **options).metrics


def test_a_model_that_answers_nothing_right_is_measured_as_that(edit, monkeypatch):
    """No pair at all counts: a share of 0, and no number beside it."""
    monkeypatch.setattr(pairs, "difference", lambda last, answers: torch.zeros(len(answers)))
    metrics = {metric.name: metric for metric in edit(rotated(), right="clean").metrics}
    assert metrics["right"].value == 0
    assert metrics["area"].reason.startswith(
        f"the model answers the clean prompt right in 0 of {PAIRS} pairs, 10 are needed"
    )
    assert "`pairs`, or set `right: any`" in metrics["area"].reason


def test_more_pairs_needed_than_asked_for_is_wrong_usage():
    """What can give no number is refused before the run, with defaults of the dataset counted."""
    for options in ({"dataset": "ioi,pairs=5"}, {"least_pairs": 101}):
        with pytest.raises(UsageError, match="so nothing could be measured"):
            choose_evaluators(host(), {"feature_editing": options})
