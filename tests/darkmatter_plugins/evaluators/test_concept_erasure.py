"""``concept_erasure`` on raw activations, against closed forms and NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import darkmatter as dm
from darkmatter import api
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split
from darkmatter_plugins.evaluators.concept_erasure.descriptor import CONCEPT_ERASURE
from darkmatter_plugins.evaluators.concept_erasure.edits import ClassMoments, leace

CONTEXTS, POSITIONS, D = 90, 5, 6
RIDGE = 0.01


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def data():
    """Correlated rows [contexts, positions, d] whose means differ by label, far from 0."""
    labels = (draw(CONTEXTS, POSITIONS, seed=1) > 0.2).long()
    shift = labels[..., None] * torch.tensor([0.9, -0.6, 0.0, 0.3, 0.0, 0.0])
    return draw(CONTEXTS, POSITIONS, D, seed=2) @ draw(D, D, seed=3) + shift + 2.0, labels


def relu_sae(directions):
    """Latents that read and write the rows of ``directions``, active where x is above 0 along them."""
    return api.CanonicalSAE(W_enc=directions.T, W_dec=directions, activation=api.Relu())


@pytest.fixture(scope="module")
def sae():
    return relu_sae(torch.nn.functional.normalize(draw(9, D, seed=4), dim=1) * 1.7)


def evaluate(sae, data, **options):
    x, labels = data
    return dm.evaluate(
        {"mine": sae}, activations=x, labels=labels, evaluators={"concept_erasure": options}, seed=0
    )


def metrics_of(results):
    (entry,) = results
    return {metric.name: metric for metric in entry.metrics}


@pytest.fixture(scope="module")
def results(sae, data):
    return evaluate(sae, data)


def sides(data):
    """Rows, labels and contexts (float64 NumPy) of the training and the test side."""
    x, labels = data
    split = make_split(tensor_activations(x))
    context = torch.arange(CONTEXTS)[:, None].expand(-1, POSITIONS)
    return [
        tuple(part[side].double().numpy() for part in (x, labels, context))
        for side in (split.train(0, CONTEXTS), split.test(0, CONTEXTS))
    ]


def moments(y, z):
    return y.mean(0), y[z == 1].mean(0) - y[z == 0].mean(0), np.cov(y.T, bias=True)


def unit(v):
    return v / np.linalg.norm(v)


def edits(sae, data):
    """Edited rows by method, from the definitions."""
    y, z, _ = sides(data)[0]
    mean, delta, sigma = moments(y, z)
    rows = sae.W_dec.double().numpy()
    cosines = rows @ delta / np.linalg.norm(rows, axis=1) / np.linalg.norm(delta)
    best = np.argsort(-np.abs(cosines))
    f, u, w = rows[best[0]], unit(delta), np.linalg.solve(sigma, delta)
    span, _ = np.linalg.qr(rows[best[:3]].T)
    return {
        "none": lambda v: v,
        "latent": lambda v: v - np.outer((v - mean) @ unit(f), unit(f)),
        "latents": lambda v: v - (v - mean) @ span @ span.T,
        "latent_subtracted": lambda v: v - np.outer(np.maximum(v @ f, 0), f),
        "mean_difference": lambda v: v - np.outer((v - mean) @ u, u),
        "leace": lambda v: v - np.outer((v - mean) @ w / (w @ delta), delta),
    }


def lda(y, z):
    _, delta, _ = moments(y, z)
    within = np.concatenate([y[z == k] - y[z == k].mean(0) for k in (0, 1)])
    sigma = within.T @ within / len(within)
    return np.linalg.solve(sigma + RIDGE * np.trace(sigma) / D * np.eye(D), delta)


METHODS = ("none", "latent", "latents", "latent_subtracted", "mean_difference", "leace")


@pytest.mark.parametrize("method", METHODS)
def test_every_measure_is_what_its_definition_says(sae, data, method):
    """Probe on held-out rows, fresh probe by folds, and both sizes of the edit, from whole arrays."""
    found = metrics_of(evaluate(sae, data, latents=3))
    edit = edits(sae, data)[method]
    (y, z, _), (y_test, z_test, context) = sides(data)
    changed = edit(y_test)
    _, number = np.unique(context, return_inverse=True)
    squared = ((changed - y_test) ** 2).sum(1)
    wins = pairs = 0.0
    for fold in range(4):
        inside = number % 4 == fold
        scores = changed[inside] @ lda(changed[~inside], z_test[~inside])
        n = (z_test[inside] == 1).sum() * (z_test[inside] == 0).sum()
        wins, pairs = wins + n * roc_auc_score(z_test[inside], scores), pairs + n

    if method not in ("mean_difference", "leace"):
        area = roc_auc_score(z_test, changed @ lda(edit(y), z))
        assert found[f"probe_auroc.{method}"].value == pytest.approx(area, abs=1e-4)
    assert found[f"probe_auroc_fresh.{method}"].value == pytest.approx(wins / pairs, abs=1e-4)
    assert found[f"edit.{method}"].value == pytest.approx(np.sqrt(squared).mean(), rel=1e-5, abs=1e-12)
    frobenius = np.sqrt(np.bincount(number, squared)).mean()
    assert found[f"edit_frobenius.{method}"].value == pytest.approx(frobenius, rel=1e-5, abs=1e-12)


def test_g6_class_means_coincide_after_projection_and_leace(results, data):
    """G6: no gap after the mean difference is projected out; no covariance with the label after LEACE."""
    (entry,) = results
    fit = entry.tables["fit"]
    y, z, _ = sides(data)[0]
    _, delta, _ = moments(y, z)

    assert fit["none"]["gap"] == pytest.approx(np.linalg.norm(delta), rel=1e-5)
    assert fit["mean_difference"]["gap"] < 1e-10
    assert fit["leace"]["label_covariance"] < 1e-10
    assert 0 < fit["leace"]["squared_edit"] < fit["mean_difference"]["squared_edit"]


def test_g6_a_projected_latent_leaves_the_rest_of_the_gap(results):
    """G6: projecting out f leaves |Δ| sqrt(1 - cos²) between the class means, f the chosen latent."""
    (entry,) = results
    fit, chosen = entry.tables["fit"], entry.tables["latents"][0]
    left = fit["none"]["gap"] * np.sqrt(1 - chosen["cosine"] ** 2)

    assert fit["latent"]["gap"] == pytest.approx(left, rel=1e-6)
    assert fit["latents"]["gap"] <= fit["latent"]["gap"]


def test_the_guarded_probe_is_a_tie_and_the_fresh_one_is_not(results):
    """Where no probe can learn from the edit's own rows AUROC is 1/2 exactly, not rounding's sign."""
    found = metrics_of(results)
    for method in ("mean_difference", "leace"):
        same, fresh = found[f"probe_auroc.{method}"], found[f"probe_auroc_fresh.{method}"]
        assert (same.value, same.ci_low, same.ci_high) == (0.5, 0.5, 0.5)
        assert fresh.value != 0.5
        assert fresh.ci_low < fresh.ci_high
        assert "1/2 by construction" in CONCEPT_ERASURE.metric(f"probe_auroc.{method}").meaning
    assert "by construction" not in CONCEPT_ERASURE.metric("probe_auroc.latent").meaning
    (entry,) = results
    assert "1/2 by construction" in entry.notes[-1]
    assert found["probe_auroc.none"].value > 0.6


def test_the_sign_of_a_latent_does_not_matter(data):
    """A latent along -Δ is chosen before a weaker one along Δ; one that hardly fires never is."""
    y, z, _ = sides(data)[0]
    _, delta, _ = moments(y, z)
    d = torch.from_numpy(unit(delta)).float()
    other = torch.nn.functional.normalize(d + 1.5 * draw(D, seed=9), dim=0)
    bias = torch.tensor([50.0, 50.0, -1e6])
    sae = api.CanonicalSAE(
        W_enc=torch.stack([other, -d, d], 1), W_dec=torch.stack([other, -d, d]), b_enc=bias,
        activation=api.Relu(),
    )  # fmt: skip
    (entry,) = evaluate(sae, data)

    assert [each["latent"] for each in entry.tables["latents"]] == [1, 0]
    assert entry.tables["latents"][0]["cosine"] == pytest.approx(-1)
    assert metrics_of([entry])["probe_auroc.latent"].value == pytest.approx(0.5, abs=0.03)


def test_latents_can_be_chosen_by_the_probe(sae, data):
    """With ``choose: probe`` the first latent is the one without which training accuracy is lowest."""
    (entry,) = evaluate(sae, data, choose="probe", candidates=9)
    y, z, _ = sides(data)[0]
    mean = y.mean(0)
    rows = sae.W_dec.double().numpy()

    def right(f):
        edited = y - np.outer((y - mean) @ unit(f), unit(f))
        scores = edited @ lda(edited, z)
        return ((scores > (scores[z == 1].mean() + scores[z == 0].mean()) / 2) == (z == 1)).mean()

    accuracies = [right(f) for f in rows]
    first = entry.tables["latents"][0]
    assert first["accuracy"] == pytest.approx(min(accuracies), abs=1e-6)
    assert accuracies[first["latent"]] == pytest.approx(min(accuracies))


def test_without_a_model_task_and_side_effect_are_undefined(results):
    """Probe-only: what needs a model says so, the rest has values."""
    found = metrics_of(results)
    missing = {name: metric.reason for name, metric in found.items() if metric.value is None}

    assert set(missing) == {name for name in found if name.startswith(("task.", "kl."))}
    assert set(missing.values()) == {"raw activations come without a model"}


def test_a_dead_sae_leaves_the_methods_without_one(data):
    """Without an active latent its methods are undefined, the others are the same as for any SAE."""
    dead = api.CanonicalSAE(
        W_enc=torch.eye(D), W_dec=torch.eye(D), b_enc=torch.full((D,), -1e6), activation=api.Relu()
    )
    found, alive = metrics_of(evaluate(dead, data)), metrics_of(evaluate(relu_sae(torch.eye(D)), data))

    assert "no latent is active" in found["probe_auroc.latent"].reason
    for name in ("probe_auroc_fresh.leace", "edit.random", "probe_auroc.none"):
        assert found[name] == alive[name]


def test_labels_are_needed_and_binary(sae, data):
    """Without labels the evaluator is skipped; labels that are not 0 and 1 are an error that says so."""
    x, labels = data
    (none,) = dm.evaluate({"mine": sae}, activations=x, evaluators=["concept_erasure"])
    (three,) = evaluate(sae, (x, labels + (draw(CONTEXTS, POSITIONS, seed=8) > 1)))

    assert (none.status, none.reason) == ("skipped", "needs labels or a language model")
    assert three.status == "failed"
    assert "[0, 1, 2]" in three.reason


def test_leace_is_that_of_its_authors(data):
    """Our closed form for two classes is the map of the library ``concept-erasure``."""
    library = pytest.importorskip("concept_erasure")
    y, z, _ = (torch.from_numpy(part) for part in sides(data)[0])
    theirs = library.LeaceFitter.fit(y, z.long(), shrinkage=False, svd_tol=1e-12).eraser
    ours = leace(ClassMoments.of(y, z))

    assert torch.allclose(ours(y, None), theirs(y), atol=1e-9)
