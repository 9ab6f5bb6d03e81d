"""Known features looked for: closed forms, AUROC against pair counts, concepts planted in activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import darkmatter as dm
from darkmatter import api
from darkmatter.testing import check_evaluator
from darkmatter_plugins.evaluators.feature_recovery import auroc
from darkmatter_plugins.evaluators.feature_recovery.descriptor import FeatureRecoveryConfig
from darkmatter_plugins.evaluators.feature_recovery.directions import Group, contrast

D, CONTEXTS, POSITIONS = 8, 120, 20


def gaussian(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sae(rows, activation=None):
    return api.CanonicalSAE(W_enc=rows.T.contiguous(), W_dec=rows, activation=activation or api.Relu())


def evaluate(saes, x=None, tokens=None, **options):
    """Results by SAE: metrics by name, and the result."""
    x = gaussian(9, 20, 10, D) if x is None else x
    found = dm.evaluate(saes, activations=x, tokens=tokens, evaluators={"feature_recovery": options})
    return {each.result.sae.name: each.result for each in found.stored}


def metrics(result):
    return {each.name: each for each in result.metrics}


@pytest.fixture
def truth(tmp_path):
    """Writes true features and gives their file."""

    def write(rows, name="features"):
        save_file({name: rows.contiguous()}, tmp_path / "truth.safetensors")
        return str(tmp_path / "truth.safetensors")

    return write


def test_a_dictionary_with_the_features_recovers_all_and_its_negation_none(truth):
    """Permuted and rescaled 1; turned by 45 degrees 1/√2; negated 0; intervals over features."""
    turn = torch.block_diag(*[torch.tensor([[1.0, 1], [-1, 1]])] * (D // 2))
    saes = {"same": sae(3 * torch.eye(D).flip(0)), "turned": sae(turn), "negated": sae(-torch.eye(D))}
    found = evaluate(saes, truth=truth(torch.cat([torch.eye(D), torch.zeros(1, D)])))
    same, turned, negated = (metrics(found[name]) for name in saes)

    assert same["recovery"].value == pytest.approx(1)
    assert same["recovered"].value == 1
    assert "8 features" in same["recovery"].ci_method
    assert turned["recovery"].value == pytest.approx(0.5**0.5)
    assert turned["recovered"].value == 0
    assert negated["recovery"].value == pytest.approx(0, abs=1e-12)
    assert found["same"].tables["features"]["latent"] == list(range(D))[::-1]
    assert "no tokens" in same["auroc"].reason


def test_random_dictionaries_exceed_chance_by_nothing_signed_or_not(truth):
    """The excess of random latents is 0; where codes are signed a latent is two directions, in both."""
    rows = gaussian(0, 60, D)
    saes = {"one_sided": sae(rows), "signed": sae(rows, api.AbsTopK(60))}
    found = evaluate(saes, truth=truth(gaussian(1, 4000, D)))
    one, signed = (metrics(found[name]) for name in saes)

    assert one["recovery_excess"].value == pytest.approx(0, abs=0.02)
    assert signed["recovery_excess"].value == pytest.approx(0, abs=0.02)
    assert signed["recovery"].value > one["recovery"].value + 0.03


def test_the_truth_may_be_an_sae_of_the_run(truth):
    """Its decoder rows are the features; it is in the result's key; a name that is not there is an error."""
    saes = {"sae": sae(torch.eye(D)[:4]), "truth": sae(torch.eye(D))}
    found = evaluate(saes, truth_sae="truth")
    missing = evaluate(saes, truth_sae="absent")

    assert metrics(found["sae"])["recovery"].value == pytest.approx(0.5)
    assert metrics(found["truth"])["recovery"].value == pytest.approx(1)
    other = evaluate({**saes, "truth": sae(torch.eye(D)[:6])}, truth_sae="truth")
    assert other["sae"].key != found["sae"].key
    assert "no SAE 'absent'" in missing["sae"].reason


def test_files_of_another_size_or_without_features_say_so(truth):
    """A file without features is an error; features of another space are none of this SAE's."""
    saes = {"sae": sae(torch.eye(D))}

    assert "[5, 5]" in metrics(evaluate(saes, truth=truth(torch.eye(5)))["sae"])["recovery"].reason
    assert "features" in evaluate(saes, truth=truth(torch.eye(D), name="other"))["sae"].reason
    zeros = metrics(evaluate(saes, truth=truth(torch.zeros(2, D)))["sae"])
    assert "other than zero" in zeros["recovery"].reason


def test_an_sae_without_directions_is_undefined(truth):
    """Without a decoder row there is a reason, no number."""
    empty = metrics(evaluate({"sae": sae(torch.zeros(3, D))}, truth=truth(torch.eye(D)))["sae"])

    assert "other than zero" in empty["recovery"].reason


def test_one_source_of_features_at_a_time(truth):
    """None and two are mistakes, said before a run; the file's content is part of the options."""
    path = truth(torch.eye(D))

    with pytest.raises(ValueError, match=r"set one of concepts .* truth .* and truth_sae"):
        FeatureRecoveryConfig()
    with pytest.raises(ValueError, match="expected one of"):
        FeatureRecoveryConfig(truth=path, truth_sae="a")
    assert FeatureRecoveryConfig(truth=path).truth_hash
    assert FeatureRecoveryConfig(truth_sae="a").looks_at() == ("a",)


def pair_counts(scores, positive):
    """AUROC from the definition, pair by pair."""
    above = scores[positive][:, None] - scores[~positive][None]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def test_auroc_of_all_latents_is_that_of_pairs():
    """Sparse signed codes with ties and zeros, several concepts: every latent as counted pair by pair."""
    dense = (2 * gaussian(0, 50, 12)).round() * (gaussian(1, 50, 12) > 0)
    dense[:, 3] = 0
    concept = torch.arange(50) % 3
    found = auroc.of_latents(api.Codes.from_dense(dense), concept, 3)

    for latent in range(12):
        for each in range(3):
            expected = pair_counts(dense[:, latent].numpy(), (concept == each).numpy())
            assert float(found[latent, each]) == pytest.approx(expected, abs=1e-12)


def test_contributions_of_units_are_the_derivative_of_the_cosine():
    """A concept's held-out cosine moves with one unit's weight as its contribution says."""
    x, local, unit = gaussian(0, 90, D), torch.arange(90) % 3, torch.arange(90) // 10
    group = Group("g", 0, torch.arange(3), gaussian(1, 3, D).double(), torch.arange(90), local, x, unit, 9)
    latents = gaussian(2, 3, D)
    value, contributions = group.cosines(latents)

    def cosine(weights):
        sums = torch.zeros(3, D).double().index_add_(0, local, x.double() * weights[:, None])
        counts = torch.zeros(3).double().index_add_(0, local, weights)
        return torch.nn.functional.cosine_similarity(contrast(sums / counts[:, None]), latents.double())

    step = 1e-5 * (unit == 4).double()
    moved = (cosine(1 + step) - cosine(1 - step)) / 2e-5
    assert torch.from_numpy(value).allclose(cosine(torch.ones(90).double()))
    assert torch.from_numpy(contributions[4]).allclose(moved, atol=1e-8)
    assert contributions.sum(axis=0) == pytest.approx(0, abs=1e-12)


def test_the_contrast_is_to_the_mean_of_the_other_concepts():
    """μ_c - 1/(C-1) Σ of the others' means; of two concepts each is the other's negation."""
    means = gaussian(0, 4, D)

    assert contrast(means)[1].allclose(means[1] - means[[0, 2, 3]].mean(dim=0), atol=1e-6)
    assert contrast(means[:2])[0].allclose(-contrast(means[:2])[1])


GROUPS = {
    "letter": {"a": (1,), "b": (2,), "c": (3, 4)},
    "side": {"left": (1, 2), "right": (3, 4)},
    "rare": {"x": (7,), "y": (1,)},
}


@pytest.fixture(scope="module")
def planted():
    """Tokens 0 to 5, and x with 3 e_t (token 4 as 3) in noise of a tenth."""
    tokens = torch.randint(0, 6, (CONTEXTS, POSITIONS), generator=torch.Generator().manual_seed(3))
    x = 3 * torch.eye(D)[tokens.clamp(max=3) + (tokens == 5)] + 0.1 * gaussian(4, CONTEXTS, POSITIONS, D)
    return x, tokens


@pytest.fixture
def concepts(monkeypatch):
    """Results where the dataset gives GROUPS."""
    from darkmatter.runs.context import Context

    monkeypatch.setattr(Context, "dataset", lambda self, choice: api.Concepts(GROUPS))

    def run(saes, planted, **options):
        x, tokens = planted
        return evaluate(saes, x, tokens, concepts="world_concepts", **options)

    return run


def test_planted_concepts_are_found(concepts, planted):
    """Latents on the tokens' own directions have cosine √⅔ with three-way contrasts, and AUROC 1."""
    found = concepts({"basis": sae(torch.eye(D))}, planted)["basis"]
    each = metrics(found)
    table = {(row["group"], row["concept"]): row for row in found.tables["concepts"]}

    # The contrast of e_1 to the mean of e_2 and e_3 is (1, -½, -½), of length √1.5.
    assert each["recovery[letter]"].value == pytest.approx(1 / 1.5**0.5, abs=0.01)
    assert each["auroc[letter]"].value == pytest.approx(1)
    assert [table["letter", name]["best"] for name in "abc"] == [1, 2, 3]
    assert table["letter", "c"]["nearest"] == 3
    assert each["auroc_direction[letter]"].value == pytest.approx(1)
    assert each["agreement[letter]"].value == pytest.approx(1, abs=1e-3)
    # A single latent knows left only at half of its tokens.
    assert each["auroc[side]"].value == pytest.approx(7 / 8, abs=0.05)
    assert "rare" in found.notes[0]
    assert "recovery[rare]" not in each
    assert "contexts" in each["auroc"].ci_method
    assert "5 concepts" in each["recovery"].ci_method


def test_a_dictionary_that_knows_nothing_is_at_chance(concepts, planted):
    """Latents that fire on noise alone have a held-out AUROC of ½, though the best of many was chosen."""
    x, tokens = planted
    noise = torch.cat([x, gaussian(5, CONTEXTS, POSITIONS, D)], dim=2)
    rows = torch.cat([torch.zeros(200, D), gaussian(6, 200, D)], dim=1)
    each = metrics(concepts({"deaf": sae(rows)}, (noise, tokens))["deaf"])

    assert each["auroc"].ci_low - 0.02 < 0.5 < each["auroc"].ci_high + 0.02
    assert each["recovery[letter]"].value < 0.2


def test_chance_is_that_of_noisy_directions(concepts):
    """Where concepts are mostly noise, random latents exceed chance by nothing on held-out rows."""
    tokens = torch.randint(0, 6, (CONTEXTS, POSITIONS), generator=torch.Generator().manual_seed(3))
    x = gaussian(4, CONTEXTS, POSITIONS, D)
    x[..., 0] += 0.1 * (tokens == 1)
    saes = {f"random{seed}": sae(gaussian(seed, 60, D)) for seed in range(40)}
    found = [metrics(each) for each in concepts(saes, (x, tokens)).values()]
    excess = np.mean([each["recovery_excess[letter]"].value for each in found])

    assert found[0]["agreement[letter]"].value < 0.8
    assert excess == pytest.approx(0, abs=0.03)


def test_groups_without_a_truth_are_in_no_mean(concepts, planted):
    """A group whose directions are noise stands by itself, and a note counts it; all others are averaged."""
    _, tokens = planted
    x = gaussian(7, CONTEXTS, POSITIONS, D)
    # Tokens of either side cancel out; those of letters do not.
    for token, place, sign in ((1, 0, 1), (2, 0, -1), (3, 1, 1), (4, 1, -1)):
        x[..., place] += sign * (tokens == token)
    result = concepts({"basis": sae(torch.eye(D))}, (x, tokens))["basis"]
    each = metrics(result)
    concerned = [row for row in result.tables["concepts"] if row["group"] == "letter"]

    assert each["agreement[side]"].ci_low <= 0 < each["agreement[letter]"].ci_low
    assert each["recovery"].value == pytest.approx(np.mean([row["cosine"] for row in concerned]))
    assert each["auroc"].value == pytest.approx(each["auroc[letter]"].value)
    assert each["recovery_excess[side]"].value is not None
    assert any("1 of 2 groups (concepts of side: 2)" in note for note in result.notes)


def test_groups_are_in_the_headline_and_all_noise_has_no_mean(concepts, planted):
    """Tables show each group's excess; where no group has a truth the means say why they are undefined."""
    _, tokens = planted
    noise = metrics(concepts({"basis": sae(torch.eye(D))}, (gaussian(7, *tokens.shape, D), tokens))["basis"])

    assert noise["recovery_excess[letter]"].primary
    assert not noise["agreement[letter]"].primary
    for name in ("recovery", "recovery_excess", "recovered", "auroc", "auroc_direction"):
        assert noise[name].value is None
        assert "reaches 0" in noise[name].reason


def test_signed_latents_may_tell_a_concept_by_their_negation(concepts, planted):
    """A negated basis with signed codes is as good as the basis."""
    saes = {"signed": sae(-torch.eye(D), api.AbsTopK(D)), "basis": sae(torch.eye(D), api.AbsTopK(D))}
    found = {name: metrics(each) for name, each in concepts(saes, planted).items()}

    for name in ("recovery", "recovery_excess", "auroc", "auroc[letter]"):
        assert found["signed"][name].value == pytest.approx(found["basis"][name].value, abs=1e-9)


def test_few_rows_are_drawn_and_concepts_below_the_least_are_left_out(concepts, planted):
    """max_rows keeps about so many rows of each side; min_rows is over all of them."""
    cut = concepts({"basis": sae(torch.eye(D))}, planted, max_rows=200)["basis"]
    none = concepts({"basis": sae(torch.eye(D))}, planted, min_rows=10_000)["basis"]

    assert 140 < metrics(cut)["auroc"].n < 260
    assert "no group" in metrics(none)["auroc"].reason


def test_concepts_need_tokens(concepts, planted):
    """Without token ids an error says what is missing."""
    found = concepts({"basis": sae(torch.eye(D))}, (planted[0], None))["basis"]

    assert found.status == "failed"
    assert "without" in found.reason


def test_it_conforms_with_a_truth(truth):
    """With true features it keeps the rules of darkmatter.testing; the sizes are those of its SAEs."""
    from darkmatter.testing.synthetic import synthetic_activations

    d = synthetic_activations()["x"].shape[-1]
    check_evaluator("feature_recovery", config={"truth": truth(gaussian(0, 5, d))})
