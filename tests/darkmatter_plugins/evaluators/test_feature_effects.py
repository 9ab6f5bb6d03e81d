"""``feature_effects`` on a linear model whose features, logits and edges are known by hand."""

from __future__ import annotations

import math

import pytest
import torch

import darkmatter as dm
from darkmatter import api
from darkmatter.plugins import Owned, host
from darkmatter.progress import Progress
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine
from darkmatter.runs.recorder import Chosen
from darkmatter.testing.synthetic import SmallShards
from darkmatter_plugins.evaluators.feature_effects.descriptor import FEATURE_EFFECTS
from darkmatter_plugins.evaluators.feature_effects.edges import depth

D, POSITIONS, VOCABULARY, CONTEXTS = 4, 6, 9, 40
UP, DOWN = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
ECHO = 0.5
"""How much of the token before stands in an activation."""


def uniform(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class LinearModel:
    """x_up[t] = E[token t] + E[token t - 1]/2, x_down = x_up A, logits = x_down U; nothing is negative."""

    n_positions, n_vocab = POSITIONS, VOCABULARY
    embedding, mixing, unembedding = uniform(VOCABULARY, D, seed=0) + 0.1, uniform(D, D, seed=1), None

    def __init__(self) -> None:
        self.unembedding = uniform(D, VOCABULARY, seed=2)

    def up(self, tokens):
        x = self.embedding[tokens]
        before = torch.zeros_like(x)
        before[:, 1:] = x[:, :-1]
        return x + ECHO * before

    def own(self, tokens, hook):
        return self.up(tokens) if hook == UP else self.up(tokens) @ self.mixing

    def forward(self, tokens, hooks):
        return dm_forward({hook: self.own(tokens, hook) for hook in hooks})

    def resume_at(self, tokens, hook):
        return LinearBatch(self, hook, self.own(tokens, hook))

    def logit_directions(self, vectors, hook):
        stream = vectors.double()
        return (stream @ self.mixing if hook == UP else stream) @ self.unembedding


def dm_forward(activations):
    from darkmatter.sources import Forward

    return Forward(activations, torch.zeros(1))


class LinearBatch:
    def __init__(self, model, hook, activations) -> None:
        self.model, self.hook, self.activations = model, hook, activations

    def at(self, hook, replacement=None):
        x = self.activations if replacement is None else replacement
        return x @ self.model.mixing if (self.hook, hook) == (UP, DOWN) else x

    def logits(self, replacement=None):
        return self.at(DOWN, replacement) @ self.model.unembedding

    def gradient(self, of, replacement=None, hook=None):
        x = self.activations.clone().requires_grad_()
        (found,) = torch.autograd.grad(of(self.at(hook, x)), x)
        return found


class Words:
    bos = eos = None
    special = frozenset()

    def decode(self, tokens):
        return [f"w{token}" for token in tokens]


class LinearStore:
    """Random text and what the model makes of it."""

    key, hooks = "linear", (UP, DOWN)
    n_contexts, n_positions = CONTEXTS, POSITIONS
    independent_rows, shuffled, has_model = False, True, True
    default_skip_first, default_skip_last = 1, 1

    def __init__(self) -> None:
        self.description = {"kind": "test"}
        self._model = LinearModel()
        generator = torch.Generator().manual_seed(3)
        self._tokens = torch.randint(VOCABULARY, (CONTEXTS, POSITIONS), generator=generator)

    def shards(self):
        return [api.Shard(0, 0, CONTEXTS)]

    def dim(self, hook):
        return D

    def read(self, hook, start, stop):
        return self._model.own(self._tokens[start:stop], hook).float()

    def tokens(self, start=0, stop=None):
        return self._tokens[start:stop]

    def loss(self, start=0, stop=None):
        return None

    labels = loss

    def mask(self):
        return None

    documents = mask

    def model(self):
        return self._model

    def tokenizer(self):
        return Words()


def relu(hook: str, decoder: torch.Tensor | None = None, **more) -> api.SAE:
    """A latent per coordinate, which fires wherever it is above 0: everywhere here."""
    W_dec = torch.eye(D) if decoder is None else decoder
    return api.CanonicalSAE(W_enc=torch.eye(D), W_dec=W_dec, activation=api.Relu(), hook_in=hook, **more)


def run(saes=None, *, store=None, **options):
    """The result on the SAE ``down``, beside others."""
    options = {"min_firings": 1, "effect_contexts": 99, "random_edges": 0, **options}
    chosen = [Chosen(Owned(FEATURE_EFFECTS, "test", "test", "1"), FEATURE_EFFECTS.config(**options))]
    engine = make_engine(
        SmallShards(store or LinearStore(), 17), Analysis(), chosen,
        host=host(), results=None, jobs=1, progress=Progress(),
    )  # fmt: skip
    saes = saes or {"down": relu(DOWN), "up": relu(UP)}
    items = [SAEItem(name, name, lambda sae=sae: sae) for name, sae in saes.items()]
    results = engine.run(items, [], ControlPolicy(automatic=False))
    (found,) = (each for each in results if each.sae.name == "down")
    assert found.status == "ok", found.reason
    held_out = engine.selection.test
    return found, held_out


def values(result) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in result.metrics}


def of(result, table, latent):
    return [row for row in result.tables[table] if row["latent"] == latent]


def test_edges_of_a_linear_model_are_those_by_hand():
    """An edge is the mean over contexts of the L2 over held-out positions of A[u, f] x_u; so is the share."""
    result, held_out = run()
    model, tokens = LinearStore()._model, LinearStore()._tokens
    there = held_out.any(dim=1)
    x, rows = model.up(tokens)[there], held_out[there]
    for latent in range(D):
        table = {row["cause"]: row for row in of(result, "edges", latent)}
        assert sorted(table) == list(range(D))
        own = torch.where(rows, (x @ model.mixing)[..., latent], 0).norm(dim=1).mean()
        for cause, row in table.items():
            moved = torch.where(rows, x[..., cause] * model.mixing[cause, latent], 0)
            assert row["edge"] == pytest.approx(float(moved.norm(dim=1).mean()), rel=1e-5)
            assert row["estimate"] == pytest.approx(float(moved.sum(dim=1).mean()), rel=1e-5)
            assert row["relative"] == pytest.approx(row["edge"] / float(own), rel=1e-5)
    largest = [max(row["relative"] for row in of(result, "edges", latent)) for latent in range(D)]
    assert values(result)["causal_edge"] == pytest.approx(sum(largest) / D, rel=1e-6)
    assert values(result)["edge_correlation"] > 0.9


def test_a_cause_that_never_fires_is_no_edge():
    """Upstream latents that are silent are not taken out, and the mixing's zeros give edges of 0."""
    store = LinearStore()
    store._model.mixing = torch.eye(D, dtype=torch.float64)
    silent = relu(UP, b_enc=torch.tensor([-99.0, 0, 0, 0]))
    result, _ = run({"down": relu(DOWN), "up": silent}, store=store)
    assert {row["cause"] for row in result.tables["edges"]} == {1, 2, 3}
    for row in result.tables["edges"]:
        assert (row["edge"] > 0) is (row["cause"] == row["latent"])


def test_the_direct_logit_effect_is_the_product_with_the_unembedding():
    """The effect is f W_U about its mean, per unit of activation, in the units of the activation."""
    decoder = torch.rand(D, D, generator=torch.Generator().manual_seed(5))
    scaled = relu(DOWN, decoder, normalisation=api.Normalisation("scale", factor=4.0))
    result, _ = run({"down": scaled}, vocabulary="all", effect_tokens=VOCABULARY)
    expected = decoder.double() / 4 @ LinearModel().unembedding
    expected -= expected.mean(dim=1, keepdim=True)
    for latent in range(D):
        (row,) = of(result, "logits", latent)
        found = torch.tensor([each["effect"] for each in sorted(row["promoted"], key=lambda e: e["token"])])
        assert torch.allclose(found.double(), expected[latent], atol=1e-6)
        effects = [each["effect"] for each in row["promoted"]]
        assert effects == sorted(effects, reverse=True)
        assert row["suppressed"][0]["token"] == int(expected[latent].argmin())
    assert values(result)["logit_concentration"] == pytest.approx(1.0)


def test_taking_a_latent_out_changes_the_prediction_as_by_hand():
    """KL, loss and log-probabilities are those of x - c_f f at the rows where it fires."""
    result, held_out = run(effect_tokens=VOCABULARY, vocabulary="all")
    model, tokens = LinearStore()._model, LinearStore()._tokens
    x = model.own(tokens, DOWN)
    seen = held_out.clone()
    seen[:, -1] = False
    following = tokens.roll(-1, 1)[seen]
    for latent in range(D):
        without = x.clone()
        without[..., latent] = 0
        p, q = (torch.log_softmax(z[seen] @ model.unembedding, dim=1) for z in (x, without))
        (row,) = of(result, "next_token", latent)
        assert row["rows"] == int(seen.sum())
        assert row["kl"] == pytest.approx(float((p.exp() * (p - q)).sum(1).mean()), rel=1e-4)
        change = (p - q).mean(dim=0)
        assert row["loss"] == pytest.approx(float((p - q).gather(1, following[:, None]).mean()), abs=1e-6)
        assert row["promoted"][0]["token"] == int(change.argmax())
        assert row["promoted"][0]["effect"] == pytest.approx(float(change.max()), abs=1e-6)
    assert values(result)["logit_agreement"] == pytest.approx(1.0, abs=1e-6)


def test_removing_a_token_does_what_the_echo_says():
    """Only the token just before is in the activation: removing an earlier one changes nothing."""
    result, _ = run(context_positions=2, top_fragments=2)
    model = LinearStore()._model
    assert len(result.tables["context"]) == 2 * D
    for row in result.tables["context"]:
        tokens = LinearStore()._tokens[row["context"]]
        at = row["position"]
        for each in row["removed"]:
            change = 0.0
            if each["position"] == at - 1:
                earlier = model.embedding[tokens[at - 2]] if at > 1 else 0
                change = float(
                    (ECHO * (earlier - model.embedding[tokens[at - 1]]) @ model.mixing)[row["latent"]]
                )
            assert each["change"] == pytest.approx(change, abs=1e-5)
    found = values(result)
    assert found["context_effect"] == found["context_effect_previous"] > 0


def test_the_upstream_sae_is_the_nearest_earlier_one_or_the_named_one():
    """An SAE at a later or unknown hook point is no cause; names decide; what is missing says why."""
    assert depth("hook_embed") < depth("blocks.0.attn.hook_z") < depth("blocks.0.hook_mlp_out")
    assert depth("blocks.0.hook_mlp_out") < depth("blocks.0.hook_resid_post") < depth("blocks.1.hook_in")
    assert depth("blocks.0.elsewhere") is None
    named, _ = run({"down": relu(DOWN), "a": relu(UP), "b": relu(UP)}, upstream="b")
    assert {row["upstream"] for row in named.tables["edges"]} == {"b"}
    alone, _ = run({"down": relu(DOWN)})
    (metric,) = (each for each in alone.metrics if each.name == "causal_edge")
    assert (metric.value, "no SAE of this run" in metric.reason) == (None, True)


def tokens_and_activations():
    """Latent 0 tells token 3, latent 1 fires on tokens 4 and 5 alike, latent 2 never fires."""
    tokens = torch.randint(8, (60, 10), generator=torch.Generator().manual_seed(7))
    x = torch.zeros(60, 10, 3)
    x[..., 0] = (tokens == 3).float() * (1 + torch.arange(10) / 10)
    x[..., 1] = ((tokens == 4) | (tokens == 5)).float()
    return tokens, x


def evaluated(**options):
    tokens, x = tokens_and_activations()
    sae = api.CanonicalSAE(W_enc=torch.eye(3), W_dec=torch.eye(3), activation=api.Relu())
    options = {"min_firings": 1, **options}
    results = dm.evaluate(sae, activations=x, tokens=tokens, evaluators={"feature_effects": options})
    (result,) = results
    return result


def test_a_latent_that_tells_one_token_has_purity_one_and_no_entropy():
    """Purity 1 and 0 bits on one token; two about equally common tokens give 1/2 and their entropy."""
    result = evaluated()
    pure, mixed = result.tables["latents"]
    assert (pure["latent"], pure["token"], pure["token_purity"], pure["token_entropy"]) == (0, 3, 1.0, 0.0)
    assert mixed["token_purity"] == mixed["token_purity_firings"] == pytest.approx(0.5, abs=0.1)
    p = mixed["token_purity"]
    assert mixed["token_entropy"] == pytest.approx(-p * math.log2(p) - (1 - p) * math.log2(1 - p))
    again = evaluated(indices=[1]).tables["latents"][0]
    assert again["token_purity"] == mixed["token_purity"]
    mean = (pure["token_purity"] + mixed["token_purity"]) / 2
    assert values(result)["token_purity"] == pytest.approx(mean)
    assert result.metrics[0].n == 2


def test_bins_divide_the_activations_evenly_and_hold_every_firing():
    """Edges run from the smallest to the largest activation; counts and pooled tokens add up."""
    result = evaluated(bins=4, bin_tokens=1)
    bins = of(result, "bins", 0)
    row = result.tables["latents"][0]
    assert (bins[0]["low"], bins[-1]["high"]) == (row["min"], row["max"])
    assert sum(each["count"] for each in bins) == row["firings"]
    widths = [each["high"] - each["low"] for each in bins]
    assert widths == pytest.approx([widths[0]] * 4)
    (one,) = of(result, "bins", 1)
    assert one["tokens"][0]["count"] + one["rest"] == one["count"]
    assert one["rest"] > 0


def test_top_fragments_are_the_contexts_of_largest_activation():
    """Largest first, each context once, with the activation where it is said to be."""
    result = evaluated(top_fragments=5, fragment=4)
    fragments = [each for each in of(result, "fragments", 0) if each["kind"] == "top"]
    peaks = [each["activations"][each["position"] - each["start"]] for each in fragments]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] == pytest.approx(result.tables["latents"][0]["max"])
    assert len({each["context"] for each in fragments}) == len(fragments) == 5
    for each in fragments:
        assert each["tokens"][each["position"] - each["start"]] == 3


def test_a_dead_latent_names_those_that_fire_and_a_wrong_index_the_range():
    """Named latents are looked at even where they are silent; one that is not there fails with the range."""
    result = evaluated(indices=[2])
    (row,) = result.tables["latents"]
    assert (row["firings"], row["nearest_that_fire"]) == (0, [1, 0])
    assert values(result)["token_purity"] is None
    with pytest.warns(UserWarning, match="0 to 2"):
        assert evaluated(indices=[3]).status == "failed"


def test_drawn_firings_keep_means_near_those_of_all():
    """With a budget of firings the sums stay exact and the shares are those of a sample."""
    full, few = evaluated(), evaluated(max_firings=20)
    assert few.tables["latents"][1]["mean"] == full.tables["latents"][1]["mean"]
    assert sum(each["count"] for each in of(few, "bins", 1)) == 20
    assert math.isclose(few.tables["latents"][0]["token_purity"], 1.0)


def test_without_a_model_what_needs_one_is_undefined_with_the_reason():
    """Tokens are counted; effects say that there is no model."""
    for metric in evaluated().metrics:
        if metric.name.startswith("token"):
            assert metric.value is not None
        else:
            assert (metric.value, "without a language model" in metric.reason) == (None, True)
