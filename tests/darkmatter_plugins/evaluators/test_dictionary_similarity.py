"""Dictionaries compared: closed forms G1 through the evaluator, matching, zero and dead latents, tokens."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment

import darkmatter as dm
from darkmatter import api
from darkmatter_plugins.evaluators.dictionary_similarity import vocabulary

D = 8


def gaussian(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sae(rows, dead=()):
    """An SAE with these decoder rows; latents in ``dead`` never fire."""
    encoder = rows.T.contiguous()
    bias = torch.zeros(len(rows))
    bias[list(dead)] = -1e6
    return api.CanonicalSAE(W_enc=encoder, W_dec=rows, b_enc=bias, activation=api.Relu())


def measured(this, beside, d=D, **options):
    """Metrics of the SAE called this_one, and its result."""
    saes = {"this_one": this, **beside}
    found = dm.evaluate(
        saes, activations=gaussian(9, 20, 10, d), evaluators={"dictionary_similarity": options}
    )
    stored = next(each.result for each in found.stored if each.result.sae.name == "this_one")
    return {each.name: each for each in stored.metrics}, stored


def both(metrics, name, other="other"):
    """A metric from the other to this, and from this to the other."""
    return metrics[f"{name}[{other}→this]"].value, metrics[f"{name}[this→{other}]"].value


def test_g1_permuted_and_rescaled_dictionaries_are_the_same():
    """All similarities are 1, whatever the order and the positive scales of latents."""
    rows = gaussian(0, 30, D)
    scaled = (rows * torch.linspace(0.1, 9, 30)[:, None])[torch.randperm(30)]
    found, _ = measured(sae(rows), {"other": sae(scaled)})

    assert both(found, "mmcs") == pytest.approx((1, 1), abs=1e-9)
    assert found["matched_share[other]"].value == 1
    assert found["matched_cosine[other]"].value == pytest.approx(1, abs=1e-9)
    assert found["mmcs[other→this]"].ci_method == "none: a function of weights"


def test_g1_a_subset_is_all_in_the_superset_but_not_the_reverse():
    """mmcs[small→large] = 1 and mmcs[large→small] = 5/8 for orthonormal directions."""
    large, small = torch.eye(D), torch.eye(D)[:5]
    found, _ = measured(sae(small), {"large": sae(large)})
    back, _ = measured(sae(large), {"small": sae(small)})

    assert found["mmcs[this→large]"].value == pytest.approx(1)
    assert found["mmcs[large→this]"].value == pytest.approx(5 / 8)
    assert back["mmcs[small→this]"].value == pytest.approx(1)
    assert back["mmcs[this→small]"].value == pytest.approx(5 / 8)
    assert found["matched_share[large]"].value == back["matched_share[small]"].value == 1


def test_g1_turned_and_negated_bases():
    """Turned by 45 degrees in pairs: 1/√2, none above .9; negated: 0, cosines are signed."""
    turn = torch.block_diag(*[torch.tensor([[1.0, 1], [-1, 1]])] * (D // 2))
    found, _ = measured(sae(torch.eye(D)), {"turned": sae(turn), "negated": sae(-torch.eye(D))})

    assert both(found, "mmcs", "turned") == pytest.approx((math.sqrt(0.5),) * 2)
    assert found["matched_share[turned]"].value == 0
    assert both(found, "mmcs", "negated") == pytest.approx((0, 0), abs=1e-12)
    for way in ("others→this", "this→others"):
        assert found[f"mmcs[{way}]"].value == pytest.approx(math.sqrt(0.5) / 2)


def test_g1_random_dictionaries_exceed_chance_by_nothing():
    """400 to 400 random directions in R^64: .362, of which nothing is beyond chance."""
    found, _ = measured(sae(gaussian(0, 400, 64)), {"other": sae(gaussian(1, 400, 64))}, d=64)

    assert both(found, "mmcs") == pytest.approx((0.362, 0.362), abs=5e-3)
    assert both(found, "mmcs_excess") == pytest.approx((0, 0), abs=5e-3)


def test_the_matching_is_one_to_one_and_the_best_there_is():
    """Against the whole matrix; three copies of one direction cannot all be matched with it."""
    one, other = gaussian(0, 6, D), gaussian(1, 11, D)
    whole = torch.nn.functional.cosine_similarity(one[:, None].double(), other[None].double(), dim=2)
    rows, columns = linear_sum_assignment(whole.numpy(), maximize=True)
    found, _ = measured(sae(one), {"other": sae(other)})
    copies, _ = measured(sae(torch.eye(D)[[0, 0, 0]]), {"other": sae(torch.eye(D))})

    assert found["matched_cosine[other]"].value == pytest.approx(float(whole[rows, columns].mean()))
    assert copies["mmcs[this→other]"].value == pytest.approx(1)
    assert copies["matched_share[other]"].value == pytest.approx(1 / 3)


@pytest.mark.parametrize("limit", [{"max_matching": 5}, {"max_cosines": 6 * 11 - 1}])
def test_beyond_its_limits_nothing_is_matched_and_the_reason_says_so(limit):
    """The cosines stay; the matching is undefined, with the sizes and the limits."""
    found, _ = measured(sae(gaussian(0, 6, D)), {"other": sae(gaussian(1, 11, D))}, **limit)

    assert found["mmcs[this→other]"].value is not None
    for name in ("matched_share[other]", "matched_cosine[other]", "matched_share[others]"):
        assert found[name].value is None
        assert "6 and 11 latents are more than are matched" in found[name].reason


def test_means_of_matchings_are_over_all_others_or_undefined():
    """Where one partner is too wide there is no mean over the rest, which would differ from row to row."""
    others = {"near": sae(torch.eye(D)[:4]), "wide": sae(gaussian(1, 11, D))}
    cut, _ = measured(sae(torch.eye(D)[:6]), others, max_matching=5)
    whole, _ = measured(sae(torch.eye(D)[:6]), others)

    for name in ("matched_share", "matched_cosine"):
        assert cut[f"{name}[near]"].value == pytest.approx(1)
        assert cut[f"{name}[others]"].value is None
        assert cut[f"{name}[others]"].reason.startswith("1 of 2 other SAEs are not matched")
        each = [whole[f"{name}[{other}]"].value for other in others]
        assert whole[f"{name}[others]"].value == pytest.approx(sum(each) / 2)
    assert cut["mmcs[this→others]"].value == whole["mmcs[this→others]"].value


def test_rows_of_zeros_have_no_direction_and_dead_ones_count_where_they_are_asked_for():
    """A zero row changes nothing; a dead one only under latents: all. Both are counted."""
    rows = torch.cat([torch.eye(D)[:4], torch.zeros(2, D)])
    other = torch.eye(D)[:5]
    everyone, stored = measured(sae(rows, dead=[3]), {"other": sae(other, dead=[0])})
    alive, _ = measured(sae(rows, dead=[3]), {"other": sae(other, dead=[0])}, latents="alive")

    assert both(everyone, "mmcs") == pytest.approx((4 / 5, 1))
    assert both(alive, "mmcs") == pytest.approx((2 / 4, 2 / 3))
    this, others = stored.tables["dictionaries"]
    assert this == {"name": "this", "width": 6, "counted": 4, "zero": 2, "dead": 3}
    assert others["dead"] == 1


def test_what_cannot_be_compared_says_why():
    """An SAE without a decoder matrix, without a direction, or that is not there; the means leave it out."""
    functions = dm.SAE.from_functions(torch.relu, lambda c: c, d_in=D, d_sae=D)
    others = {"functions": functions, "nothing": sae(torch.zeros(3, D)), "same": sae(torch.eye(D))}
    found, stored = measured(sae(torch.eye(D)), others, others=(*others, "absent"))

    assert found["mmcs[functions→this]"].reason == "it has no decoder matrix"
    assert "3 have a decoder row of zeros" in found["mmcs[this→nothing]"].reason
    assert "no SAE of this name" in found["mmcs[absent→this]"].reason
    assert found["mmcs[others→this]"].value == pytest.approx(1)
    assert "functions, nothing, absent" in stored.notes[0]


def test_an_sae_without_a_decoder_or_without_others_is_skipped():
    """There is nothing to compare: a row that says what is needed, not a failure."""
    functions = dm.SAE.from_functions(torch.relu, lambda c: c, d_in=D, d_sae=D)
    _, alone = measured(sae(torch.eye(D)), {})
    _, without = measured(functions, {"other": sae(torch.eye(D))})

    assert (alone.status, without.status) == ("skipped", "skipped")
    assert "two or more SAEs" in alone.reason
    assert "decoder matrix" in without.reason


def test_names_of_saes_do_not_hide_the_words_in_brackets():
    """An SAE called others is not taken for the mean over the others."""
    found, _ = measured(sae(torch.eye(D)), {"others": sae(-torch.eye(D)), "same": sae(torch.eye(D))})

    assert found["mmcs[sae:others→this]"].value == pytest.approx(0)
    assert found["mmcs[others→this]"].value == pytest.approx(0.5)


def test_tokens_are_compared_where_their_directions_are_known(monkeypatch):
    """Embeddings and unembeddings are dictionaries outside the means, or a reason stands there."""
    tokens = torch.cat([torch.eye(D), torch.zeros(1, D)])
    monkeypatch.setitem(dict_run().TOKENS, "embedding", lambda ctx: tokens)
    monkeypatch.setitem(dict_run().TOKENS, "unembedding", lambda ctx: "another space")
    found, _ = measured(sae(torch.eye(D)[:2]), {"other": sae(-torch.eye(D))}, vocabulary=True)

    assert found["mmcs[this→embedding]"].value == pytest.approx(1)
    assert found["mmcs[embedding→this]"].value == pytest.approx(2 / 8)
    assert found["mmcs[this→unembedding]"].reason == "another space"
    assert found["mmcs[this→others]"].value == pytest.approx(0)


def dict_run():
    from darkmatter_plugins.evaluators.dictionary_similarity import run

    return run


class ATinyModel:
    """Three tokens, whose embedding is twice a basis vector and whose logit reads its negation."""

    n_vocab = 3

    def hook_names(self):
        return ["hook_embed"]

    def forward(self, tokens, hooks):
        rows = 2 * torch.eye(4)[tokens]
        return type("Forward", (), {"activations": {hooks[0]: rows}})

    def logit_directions(self, vectors, hook):
        if "attn" in hook:
            raise api.ItemError("no straight way")
        return -vectors @ torch.eye(4)[:3].T


def test_directions_of_tokens_are_those_of_the_model():
    """The embedding is what hook_embed has, the unembedding what the logits read; elsewhere a reason."""
    info = type("Info", (), {"d_out": 4})
    at = lambda hook: type("Context", (), {"model": ATinyModel(), "hook_out": hook, "info": info})

    assert torch.equal(vocabulary.embeddings(at("blocks.0.hook_resid_post")), 2 * torch.eye(4)[:3])
    assert torch.equal(vocabulary.unembeddings(at("blocks.0.hook_resid_post")), -torch.eye(4)[:3])
    assert "another space" in vocabulary.embeddings(at("blocks.0.attn.hook_z"))
    assert vocabulary.unembeddings(at("blocks.0.attn.hook_z")) == "no straight way"
