"""``autointerp`` through the public API: closed forms, whole-array checks, failures, what is undefined."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import darkmatter as dm
import darkmatter_plugins
from darkmatter import api
from darkmatter.errors import ResultWarning
from darkmatter.plugins import host
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split

CONTEXTS, POSITIONS, SIZE = 60, 24, 8
EVERYTHING = {"train_fragments": 1000, "test_fragments": 1000, "fragment": SIZE, "min_firings": 1}
"""Draws so large that they hold every fragment: scores of random ones are then those of whole arrays."""
APART = {"test_fragments": 20}
"""Fewer held-out fragments than there are, so that the top ones are a set of their own."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coordinates(d: int) -> api.CanonicalSAE:
    """Its codes are the positive coordinates."""
    return api.CanonicalSAE(W_enc=torch.eye(d), W_dec=torch.eye(d), activation=api.Relu())


def result(x, tokens, sae=None, *, seed=0, **options):
    found = dm.evaluate(
        {"sae": coordinates(x.shape[-1]) if sae is None else sae},
        activations=x,
        tokens=tokens,
        evaluators={"autointerp": {**EVERYTHING, **options}},
        seed=seed,
    )
    (only,) = list(found)
    assert only.status == "ok", only.reason
    return only


def values(found) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in found.metrics}


def by_token(n_tokens: int = 12, d: int = 4, contexts: int = CONTEXTS) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, and latents whose activations are functions of the token, 0 for half of them."""
    tokens = torch.randint(n_tokens, (contexts, POSITIONS), generator=seeded())
    table = torch.rand(n_tokens, d, generator=seeded(1)) + 0.5
    table *= torch.rand(n_tokens, d, generator=seeded(2)).argsort(dim=0) < n_tokens // 2
    return table[tokens], tokens


def held_out_fragments(x, tokens) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training rows' mask [contexts], and all held-out fragments of tokens [F, T] and x [F, T, d]."""
    train = make_split(tensor_activations(x)).train(0, len(x))[:, 0]
    return train, tokens[~train].view(-1, SIZE), x[~train].reshape(-1, SIZE, x.shape[-1])


# -- simulators of tests ----------------------------------------------------------------------------


@dataclass
class Said:
    """A simulation by a function of tokens."""

    predict: object
    explanation: str = "said"

    def __call__(self, tokens):
        return self.predict(tokens)


class Maker:
    """A simulator whose ``fit`` is a function of the training fragments."""

    def __init__(self, fit, concurrency=1, usage=None):
        self.fit, self.concurrency, self._usage = fit, concurrency, usage or api.Usage()

    def expect(self, latents, fragments, length):
        return api.Usage(requests=latents * fragments)

    def usage(self):
        return self._usage


class NoConfig(api.Config):
    """No options."""


@pytest.fixture
def simulator(monkeypatch):
    """``simulator(maker)`` installs a maker as the plugin `tested`."""

    def install(maker):
        described = api.Simulator("tested", "for tests", lambda *_: maker, config=NoConfig)
        monkeypatch.setattr(darkmatter_plugins, "SIMULATORS", (described,))
        host.cache_clear()
        return "tested"

    yield install
    monkeypatch.undo()
    host.cache_clear()


def lookup(fragments: api.Fragments) -> dict[int, float]:
    """Activation by token, for activations that are functions of it."""
    return dict(
        zip(fragments.tokens.flatten().tolist(), fragments.activations.flatten().tolist(), strict=True)
    )


def looked_up(fragments: api.Fragments, scale: float = 1.0, offset: float = 0.0):
    """A simulation that is affine in the truth."""
    known = lookup(fragments)
    return lambda tokens: torch.tensor(
        [[scale * known[token] + offset for token in row] for row in tokens.tolist()]
    )


# -- closed forms and whole arrays ------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "expected"), [(3.0, 1.0), (-0.5, -1.0)])
def test_g3_a_simulation_affine_in_the_truth_scores_one(simulator, scale, expected):
    """Whatever its unit and offset, and minus one where it says the opposite."""
    x, tokens = by_token()
    name = simulator(Maker(lambda seen: Said(looked_up(seen, scale, 2.0))))
    found = values(result(x, tokens, simulator=name, **APART))

    for part in ("top", "random", "both"):
        assert found[f"score.{part}"] == pytest.approx(expected, abs=1e-6)
        assert found[f"authors.score.{part}"] == pytest.approx(expected, abs=1e-6)
    assert (found["n_latents"], found["n_failed"], found["n_nan.both"], found["unsaid"]) == (4, 0, 0, 0)


def on_off(p: float = 0.1, d: int = 3, contexts: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of Bernoulli(p)·U(0,1); the token says which of them fire, and nothing more."""
    shape = (contexts, POSITIONS, d)
    fires = torch.rand(shape, generator=seeded()) < p
    return fires * torch.rand(shape, generator=seeded(1)), (fires * 2 ** torch.arange(d)).sum(dim=2)


def test_g3_an_on_off_simulation_of_uniform_amplitudes_scores_what_theory_says():
    """(p/2 - p²/2)/√((p/3 - p²/4)(p - p²)) = .854 for p = .1, by token lookup over all held-out text."""
    p = 0.1
    expected = (p / 2 - p**2 / 2) / math.sqrt((p / 3 - p**2 / 4) * (p - p**2))
    found = values(result(*on_off(p), simulator="token"))

    assert expected == pytest.approx(0.854, abs=5e-4)
    assert found["score.random"] == pytest.approx(expected, abs=0.01)
    assert found["score.unrelated"] == pytest.approx(0, abs=0.02)


def test_g3_an_unrelated_simulation_scores_nothing():
    """Tokens that know nothing of the latents: correlation 0, detection one half."""
    x, _ = on_off(0.03)
    tokens = torch.randint(7, x.shape[:2], generator=seeded(5))
    found = values(result(x, tokens))

    assert found["score.random"] == pytest.approx(0, abs=0.03)
    assert found["detection.auroc"] == pytest.approx(0.5, abs=0.05)
    assert found["detection.auprc"] == pytest.approx(found["detection.base_rate"], abs=0.05)


def test_scores_are_those_of_whole_arrays():
    """Token means of the training rows against the held-out rows, by numpy and scikit-learn."""
    metrics = pytest.importorskip("sklearn.metrics")
    x, tokens = by_token()
    x = x * (torch.rand(x.shape, generator=seeded(7)) < 0.2) * torch.rand(x.shape, generator=seeded(8))
    train, test_tokens, test_x = held_out_fragments(x, tokens)
    expected = {"score.random": [], "detection.auroc": [], "detection.auprc": [], "detection.base_rate": []}
    for latent in range(x.shape[-1]):
        truth = x[..., latent].double().numpy()
        means = np.array([truth[train][tokens[train] == token].mean() for token in range(12)])
        predicted, wanted = means[test_tokens.numpy()], test_x[..., latent].double().numpy()
        fires, highest = (wanted > 0).any(axis=1), predicted.max(axis=1)
        expected["score.random"].append(np.corrcoef(predicted.ravel(), wanted.ravel())[0, 1])
        expected["detection.auroc"].append(metrics.roc_auc_score(fires, highest))
        expected["detection.auprc"].append(metrics.average_precision_score(fires, highest))
        expected["detection.base_rate"].append(fires.mean())
    found = result(x, tokens, simulator="token")

    for name, each in expected.items():
        assert values(found)[name] == pytest.approx(np.mean(each), abs=1e-9)
    (metric,) = [each for each in found.metrics if each.name == "score.random"]
    assert metric.ci_low < metric.value < metric.ci_high
    assert "latents" in metric.ci_method
    assert metric.n == 4


def test_top_and_random_fragments_are_told_apart():
    """score.top: fragments of highest activation; score.both: them and the random ones, each once."""
    x, tokens = by_token(d=1)
    x = x * (torch.rand(x.shape, generator=seeded(7)) < 0.2) * torch.rand(x.shape, generator=seeded(8))
    train, test_tokens, test_x = held_out_fragments(x, tokens)
    truth = x[..., 0].double().numpy()
    means = np.array([truth[train][tokens[train] == token].mean() for token in range(12)])
    wanted = test_x[..., 0].double().numpy()
    top = np.argsort(-wanted.max(axis=1), kind="stable")[:10]
    expected = np.corrcoef(means[test_tokens.numpy()][top].ravel(), wanted[top].ravel())[0, 1]
    few = values(result(x, tokens, simulator="token", train_fragments=1000, test_fragments=10))

    assert few["score.top"] == pytest.approx(expected, abs=1e-9)
    assert few["score.both"] != pytest.approx(few["score.random"], abs=1e-3)


def test_simulators_see_training_text_and_are_scored_on_held_out_text(simulator):
    """Tokens that name their context: what is fitted on and what is asked for do not overlap."""
    tokens = torch.arange(CONTEXTS)[:, None].expand(-1, POSITIONS).contiguous()
    x = torch.rand(CONTEXTS, POSITIONS, 2, generator=seeded())
    seen, asked = set(), set()

    def fit(fragments):
        seen.update(fragments.tokens.flatten().tolist())

        def predict(wanted):
            asked.update(wanted.flatten().tolist())
            return wanted.double()

        return Said(predict)

    result(x, tokens, simulator=simulator(Maker(fit)))
    train = make_split(tensor_activations(x)).train(0, CONTEXTS)[:, 0]

    assert seen == set(torch.arange(CONTEXTS)[train].tolist())
    assert asked == set(torch.arange(CONTEXTS)[~train].tolist())


def test_the_control_scores_a_simulation_against_another_latent():
    """Latents that are all the same: another one's simulation is as good; of different ones it is not."""
    x, tokens = by_token()
    same = values(result(x[..., :1].expand(-1, -1, 4).contiguous(), tokens, simulator="token"))
    different = result(x, tokens, simulator="token")
    pairs = [(row["latent"], row["unrelated_latent"]) for row in different.tables["latents"]]

    assert same["score.unrelated"] == pytest.approx(1, abs=1e-6)
    assert values(different)["score.unrelated"] < 0.5
    assert sorted(b for _, b in pairs) == [0, 1, 2, 3]
    assert all(a != b for a, b in pairs)
    off = values(result(x, tokens, simulator="token", unrelated=False))
    assert off["score.unrelated"] is None
    assert values(result(x[..., :1], tokens))["score.unrelated"] is None


# -- what fails, and what is undefined --------------------------------------------------------------


def test_a_latent_that_the_simulator_fails_on_is_counted_and_costs_no_other(simulator):
    """An error, no number at all, or numbers of the wrong shape: failed, with the reason in the table."""
    x, tokens = by_token(d=4)

    def fit(seen):
        mine = next(i for i in range(4) if set(lookup(seen).items()) == expected[i])
        if mine == 0:
            message = "the server is down"
            raise api.ItemError(message)
        if mine == 1:
            return Said(lambda asked: torch.full(asked.shape, torch.nan))
        if mine == 2:
            return Said(lambda asked: torch.zeros(len(asked)))
        return Said(looked_up(seen))

    train, *_ = held_out_fragments(x, tokens)
    expected = [
        set(zip(tokens[train].flatten().tolist(), x[train][..., i].flatten().tolist(), strict=True))
        for i in range(4)
    ]
    with pytest.warns(ResultWarning, match="failed on 3 of 4 latents"):
        found = result(x, tokens, simulator=simulator(Maker(fit)), **APART)
    rows = found.tables["latents"]

    assert values(found)["score.both"] == pytest.approx(1, abs=1e-6)
    assert (values(found)["n_failed"], values(found)["n_nan.both"]) == (3, 0)
    assert rows[0]["reason"] == "the server is down"
    assert "no number" in rows[1]["reason"]
    assert "for (" in rows[2]["reason"]
    assert [row["both"] for row in rows[:3]] == [None] * 3


def test_a_simulator_that_always_fails_leaves_a_result_without_scores(simulator):
    """A dead server gives failed latents and undefined scores that say why, not a failed run."""

    def fit(_seen):
        message = "the server is down"
        raise api.ItemError(message)

    with pytest.warns(ResultWarning, match="failed on 4 of 4 latents"):
        found = result(*by_token(), simulator=simulator(Maker(fit)))
    (score,) = [metric for metric in found.metrics if metric.name == "score.both"]

    assert score.value is None
    assert "the server is down" in score.reason
    assert values(found)["n_failed"] == 4


def test_what_has_no_correlation_is_counted_and_not_taken_as_zero(simulator):
    """A constant prediction is no 0 in the mean; the authors' convention is a metric of its own."""
    x, tokens = by_token(d=4)
    turns = iter(range(4))

    def fit(seen):
        return Said(looked_up(seen, scale=float(next(turns) < 3)))

    found = result(x, tokens, simulator=simulator(Maker(fit)), **APART)

    assert values(found)["score.both"] == pytest.approx(1, abs=1e-6)
    assert values(found)["authors.score.both"] == pytest.approx(0.75, abs=1e-6)
    assert (values(found)["n_nan.both"], values(found)["n_failed"]) == (1, 0)
    assert "the prediction is the same everywhere" in found.tables["latents"][3]["reason"]


def test_tokens_without_a_number_are_left_out_and_reported(simulator):
    """NaN for some tokens: scored on the others, and their share is a metric."""
    x, tokens = by_token()
    _, test_tokens, _ = held_out_fragments(x, tokens)

    def fit(seen):
        return Said(lambda asked: torch.where(asked == 0, torch.nan, looked_up(seen)(asked)))

    found = values(result(x, tokens, simulator=simulator(Maker(fit))))

    assert found["score.random"] == pytest.approx(1, abs=1e-6)
    assert found["unsaid"] == pytest.approx(float((test_tokens == 0).double().mean()), abs=1e-12)


def test_dense_signed_codes_have_scores_and_no_detection():
    """The identity's codes have both signs: a latent fires above 0, and here so on every fragment."""
    tokens = torch.randint(12, (CONTEXTS, POSITIONS), generator=seeded())
    table = torch.arange(12.0)[:, None] - torch.tensor([[5.5, 2.5]])
    dense = api.CanonicalSAE(W_enc=torch.eye(2), W_dec=torch.eye(2), activation=api.AbsTopK(2))
    found = values(result(table[tokens] * torch.tensor([1.0, -1.0]), tokens, dense, simulator="token"))

    assert found["score.random"] == pytest.approx(1, abs=1e-6)
    always = values(result(table[tokens] + 6, tokens, dense, simulator="token"))
    assert (always["n_one_class"], always["detection.auroc"]) == (2, None)
    assert always["score.random"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("x", [torch.rand(CONTEXTS * 4, 3), torch.rand(CONTEXTS, SIZE - 1, 3)])
def test_text_without_fragments_has_no_scores(x):
    """Rows on their own and contexts shorter than a fragment: undefined, with the reason."""
    found = result(x, torch.zeros(x.shape[:-1], dtype=torch.int64))
    (score,) = [metric for metric in found.metrics if metric.name == "score.both"]

    assert score.value is None
    assert "neighbouring rows" in score.reason


# -- which latents ----------------------------------------------------------------------------------


def latents_of(found) -> list[int]:
    return [row["latent"] for row in found.tables["latents"]]


def test_latents_are_drawn_by_the_seed_among_those_that_fire_enough():
    """Count, minimum and seed are kept to; firings are those of training rows."""
    x, tokens = by_token(d=20)
    x[..., 3] = 0
    x[..., 5] = 0
    x[:, 0, 5] = 1
    train, *_ = held_out_fragments(x, tokens)
    found = result(x, tokens, latents=8)

    assert len(latents_of(found)) == 8
    assert latents_of(found) == latents_of(result(x, tokens, latents=8))
    assert latents_of(found) != latents_of(result(x, tokens, latents=8, seed=1))
    every = result(x, tokens, latents=100)
    assert latents_of(every) == [i for i in range(20) if i != 3]
    counts = {row["latent"]: row["firings"] for row in every.tables["latents"]}
    assert counts[5] == int(train.sum())
    assert 5 not in latents_of(result(x, tokens, latents=100, min_firings=int(train.sum()) + 1))


def test_the_first_latents_are_the_authors_choice():
    """The first so many, less those that fire too rarely: they are not made up for by later ones."""
    x, tokens = by_token(d=20)
    x[..., 3] = 0

    assert latents_of(result(x, tokens, latents=6, choose="first")) == [0, 1, 2, 4, 5]


def test_no_latent_that_fires_has_no_scores():
    """A dictionary that never fires: undefined, with the reason."""
    x, tokens = by_token()
    found = result(-x, tokens)
    (score,) = [metric for metric in found.metrics if metric.name == "score.both"]

    assert score.value is None
    assert "no latent fires" in score.reason


# -- how simulators are used ------------------------------------------------------------------------


def test_as_many_latents_at_a_time_as_the_simulator_allows(simulator):
    """Threads up to its concurrency, and the order of results is that of latents whichever comes first."""
    x, tokens = by_token(d=8)
    lock, busy, most = threading.Lock(), 0, 0

    def fit(seen):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02 * float(seen.activations[0, 0] > 0) + 0.02)
        with lock:
            busy -= 1
        return Said(looked_up(seen), explanation=str(sorted(lookup(seen).values())))

    one = result(x, tokens, simulator=simulator(Maker(fit)))
    assert most == 1
    several = result(x, tokens, simulator=simulator(Maker(fit, concurrency=3)))
    assert 1 < most <= 3
    assert one.tables == several.tables
    assert values(one) == values(several)


def test_usage_is_kept_where_simulating_cost_something(simulator):
    """What the simulator says it used stands in the result; nothing stands there for what is free."""
    x, tokens = by_token()
    usage = api.Usage(requests=8, cost=0.5, details={"answers": 8, "cost": 0.5})
    paid = result(x, tokens, simulator=simulator(Maker(lambda seen: Said(looked_up(seen)), usage=usage)))

    assert paid.tables["usage"] == {"answers": 8, "cost": 0.5}
    free = result(x, tokens, simulator=simulator(Maker(lambda seen: Said(looked_up(seen)))))
    assert "usage" not in free.tables


def test_active_random_fragments_are_the_lenient_ones():
    """The authors' draw holds no silent fragment, so there is nothing to detect."""
    x, tokens = on_off(0.03, contexts=CONTEXTS)
    found = values(result(x, tokens, draw="active"))

    assert found["n_one_class"] == found["n_latents"] == 3
    assert values(result(x, tokens))["n_one_class"] == 0
