"""``ce_attribution`` on models whose cross-entropy is a known function of the activation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from darkmatter import api
from darkmatter.plugins import Owned, host
from darkmatter.progress import Progress
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.context import Context
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine
from darkmatter.runs.recorder import Chosen
from darkmatter.testing.synthetic import SmallShards
from darkmatter_plugins.evaluators.ce_attribution import clean
from darkmatter_plugins.evaluators.ce_attribution.descriptor import CE_ATTRIBUTION

D, POSITIONS, VOCABULARY, DISTINCT = 5, 9, 40, 24
CONTEXTS = 5 * DISTINCT + 1
HOOK, HOOK_OUT = "blocks.0.hook_resid_post", "blocks.0.hook_mlp_out"
NATS = 5.0


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class KnownModel:
    """A language model whose losses [B, P] are ``loss(activations, its own activations)``.

    The target has probability exp(-loss) and one other token the rest.
    """

    n_positions, n_vocab = POSITIONS, VOCABULARY

    def __init__(self, loss, table) -> None:
        self.loss, self.table = loss, table
        self.prefixes = self.continuations = 0

    def resume_at(self, tokens, hook):
        self.prefixes += 1
        return KnownBatch(self, tokens, self.own(tokens, hook))

    def own(self, tokens, hook):
        x = self.table[tokens, torch.arange(POSITIONS)].double()
        return x if hook == HOOK else -x[..., :3]

    def losses(self, activations, own):
        return self.loss(activations, own).double().expand(own.shape[:2])


class KnownBatch:
    def __init__(self, model, tokens, activations) -> None:
        self.model, self.tokens, self.activations = model, tokens, activations

    def logits(self, replacement=None):
        self.model.continuations += replacement is not None
        loss = self.model.losses(self.activations if replacement is None else replacement, self.activations)
        target = self.tokens.roll(-1, 1)
        logits = torch.full((*self.tokens.shape, VOCABULARY), -1e9, dtype=torch.float64)
        logits.scatter_(2, ((target + 1) % VOCABULARY)[..., None], loss.expm1().log()[..., None])
        return logits.scatter(2, target[..., None], 0.0)


class KnownStore:
    """Activations of a ``KnownModel``; the training contexts are the test contexts, three times for two."""

    key, hooks = "known", (HOOK, HOOK_OUT)
    n_contexts, n_positions = CONTEXTS, POSITIONS
    independent_rows, shuffled, has_model = False, True, True
    default_skip_first, default_skip_last = 2, 1

    def __init__(self, loss, *, cached_loss=True) -> None:
        self.description = {"kind": "test"}
        self._model = KnownModel(loss, draw(VOCABULARY, POSITIONS, D, seed=0) + 0.3)
        some = torch.randint(VOCABULARY, (DISTINCT, POSITIONS), generator=torch.Generator().manual_seed(1))
        self._tokens = torch.cat([some, some, some, some[:1], some, some])
        self._cached_loss = cached_loss

    def shards(self):
        return [api.Shard(0, 0, CONTEXTS)]

    def dim(self, hook):
        return D if hook == HOOK else 3

    def read(self, hook, start, stop):
        return self._model.own(self._tokens[start:stop], hook).float()

    def tokens(self, start=0, stop=None):
        return self._tokens[start:stop]

    def loss(self, start=0, stop=None):
        if not self._cached_loss:
            return None
        own = self._model.own(self._tokens[start:stop], HOOK)
        return self._model.losses(own, own).float()

    def labels(self, start=0, stop=None):
        return None

    def mask(self):
        return None

    documents = mask

    def model(self):
        return self._model


def relu(scale: float = 1.0) -> api.SAE:
    return api.CanonicalSAE(
        W_enc=torch.eye(D), W_dec=scale * torch.eye(D), activation=api.Relu(), hook_in=HOOK
    )


def run(store, saes, *, analysis=None, jobs=1, **options):
    """Results of ``ce_attribution`` by SAE."""
    chosen = [Chosen(Owned(CE_ATTRIBUTION, "test", "test", "1"), CE_ATTRIBUTION.config(**options))]
    engine = make_engine(
        SmallShards(store, 17), Analysis(chunk_rows=50, **(analysis or {})), chosen,
        host=host(), results=None, jobs=jobs, progress=Progress(),
    )  # fmt: skip
    items = [SAEItem(name, name, lambda sae=sae: sae) for name, sae in saes.items()]
    return {result.sae.name: result for result in engine.run(items, [], ControlPolicy(automatic=False))}


def measured(loss, sae=None, **options) -> dict[str, float | None]:
    result = run(KnownStore(loss), {"s": relu() if sae is None else sae}, **options)["s"]
    assert result.status == "ok", result.reason
    return {metric.name: metric.value for metric in result.metrics}


def quadratic(a, own):
    return NATS + 0.1 * (a - own).square().sum(-1)


def linear(a, own):
    return NATS + 0.1 * a.sum(-1)


def counted(a, own):
    """A loss that says which positions were replaced: 2^-s for every s up to t, and t for t itself."""
    changed = (a != own).any(-1).double()
    position = torch.arange(POSITIONS)
    return NATS + (changed * 0.5**position).cumsum(-1) + position * changed


# -- closed forms ---------------------------------------------------------------------------------


def test_c3_quadratic_loss_shares_are_those_of_the_squared_error():
    """An isotropic quadratic loss, in sample: shares sum to 100, the linear one is 1 - E|N|²/E|e|²."""
    store = KnownStore(quadratic)
    found = measured(quadratic)
    x = store.read(HOOK, 0, DISTINCT)[:, 2:-1].reshape(-1, D).double().numpy()
    e = x - np.maximum(x, 0)
    design = np.hstack([x, np.ones((len(x), 1))])
    nonlinear = e - design @ np.linalg.lstsq(design, e, rcond=None)[0]
    share = 100 * (1 - (nonlinear**2).sum() / (e**2).sum())

    assert found["ce.clean"] == pytest.approx(NATS, rel=1e-6)
    assert found["ce_increase.sae"] == pytest.approx(0.1 * (e**2).sum() / len(e), rel=1e-5)
    assert found["share.ce.linear"] == pytest.approx(share, rel=1e-4)
    assert found["share.ce.linear"] + found["share.ce.nonlinear"] == pytest.approx(100, abs=1e-2)
    assert found["share.fvu.linear"] == pytest.approx(share, rel=1e-9)
    assert found["share.fvu.linear"] + found["share.fvu.nonlinear"] == pytest.approx(100, abs=1e-9)
    norm = np.linalg.norm(e, axis=1)
    some = norm > 0
    each = np.linalg.norm(nonlinear, axis=1)
    assert found["share.norm.nonlinear"] == pytest.approx(100 * each.sum() / norm.sum(), rel=1e-9)
    ratios = (each[some] / norm[some]).mean()
    assert found["share.norm_per_token.nonlinear"] == pytest.approx(100 * ratios, rel=1e-9)


def test_c3_linear_loss_shares_sum_to_100_whatever_the_map():
    """A first-order loss: the shares sum to 100, in sample all of it is linear, without intercept not."""
    with_bias, without = measured(linear), measured(linear, bias=False)
    assert with_bias["share.ce.linear"] == pytest.approx(100, abs=1e-2)
    assert with_bias["share.ce.nonlinear"] == pytest.approx(0, abs=1e-2)
    assert without["share.ce.linear"] + without["share.ce.nonlinear"] == pytest.approx(100, abs=1e-2)
    assert abs(without["share.ce.nonlinear"]) > 5


def test_loss_recovered_is_measured_against_zeros_and_the_mean():
    """Zeros cost 0.1 |x|², the training mean 0.1 |x - mean|²; the reconstruction between them and 0."""
    found = measured(quadratic)
    x = KnownStore(quadratic).read(HOOK, 0, DISTINCT)[:, 2:-1].reshape(-1, D).double()
    error = (x - x.clamp_min(0)).square().sum()
    spread = (x - x.mean(0)).square().sum()
    assert found["ce_increase.zero"] == pytest.approx(0.1 * float(x.square().sum() / len(x)), rel=1e-5)
    assert found["loss_recovered"] == pytest.approx(float(1 - error / x.square().sum()), rel=1e-5)
    assert found["loss_recovered_mean"] == pytest.approx(float(1 - error / spread), rel=1e-5)


def test_g5_kl_is_from_the_clean_model_to_the_patched_one():
    """KL((.5, .5) || (.9, .1)) = .5108, and not the reverse .3681."""

    def half_then_nine_tenths(a, own):
        return torch.where((a == 0).all(-1), -math.log(0.9), math.log(2))

    found = measured(half_then_nine_tenths, relu(scale=0.0))
    assert found["kl"] == pytest.approx(0.5108, abs=1e-4)


def test_controls_of_equal_norm_add_to_a_quadratic_loss_what_they_must():
    """A random direction of norm |N| adds E|N|² to E|e|², so it takes a negative share away."""
    found = measured(quadratic, controls="both")
    missed = 100 - found["share.fvu.linear"]  # 100 E|N|²/E|e|²
    assert found["share.ce.random"] == pytest.approx(-missed, abs=6)
    assert found["share.ce.random_linear"] == pytest.approx(-(100 - found["share.fvu.nonlinear"]), abs=6)
    # Other tokens' nonlinear errors have mean zero and the same E|N|²: the same on average.
    assert found["share.ce.shuffled"] == pytest.approx(-missed, abs=12)
    assert found["ce.sae_shuffled"] != found["ce.sae_random"]


# -- positions ------------------------------------------------------------------------------------


def test_only_held_out_rows_are_patched_and_only_their_predictions_count():
    """Rows 2..7 of 9: each loss holds t and the 2^-s of the patched positions up to it, no others."""
    found = measured(counted, relu(scale=0.5))
    rows = range(2, POSITIONS - 1)
    expected = np.mean([t + sum(0.5**s for s in range(2, t + 1)) for t in rows])
    assert found["ce_increase.sae"] == pytest.approx(expected, rel=1e-5)
    assert found["ce_increase.zero"] == pytest.approx(expected, rel=1e-5)


def test_every_position_is_patched_where_that_is_asked_for():
    """The same rows count, but positions 0 and 1 are replaced too."""
    found = measured(counted, relu(scale=0.5), patch_positions="all")
    rows = range(2, POSITIONS - 1)
    expected = np.mean([t + sum(0.5**s for s in range(t + 1)) for t in rows])
    assert found["ce_increase.sae"] == pytest.approx(expected, rel=1e-5)
    assert found["ce_increase.mean"] == pytest.approx(expected, rel=1e-5)


def test_the_last_position_predicts_nothing():
    """Where no position is skipped at the end, the last one is left out of every mean."""
    analysis = {"skip_last": 0}
    result = run(KnownStore(counted), {"s": relu(scale=0.5)}, analysis=analysis)["s"]
    value = {metric.name: metric.value for metric in result.metrics}["ce_increase.sae"]
    rows = range(2, POSITIONS - 1)
    expected = np.mean([t + sum(0.5**s for s in range(2, t + 1)) for t in rows])
    assert value == pytest.approx(expected, rel=1e-5)


def test_a_transcoder_is_patched_where_it_predicts():
    """Its reconstruction of the output hook point goes there: one that is right costs nothing."""
    exact = api.CanonicalSAE(
        W_enc=torch.cat([torch.eye(D), -torch.eye(D)], 1),
        W_dec=torch.cat([-torch.eye(D), torch.eye(D)])[:, :3],
        activation=api.Relu(), hook_in=HOOK, hook_out=HOOK_OUT,
    )  # fmt: skip
    found = measured(quadratic, exact)
    assert found["ce_increase.sae"] == pytest.approx(0, abs=1e-6)
    y = KnownStore(quadratic).read(HOOK_OUT, 0, DISTINCT)[:, 2:-1].reshape(-1, 3).double()
    assert found["ce_increase.zero"] == pytest.approx(0.1 * float(y.square().sum() / len(y)), rel=1e-5)


# -- what has no value, and what is refused -------------------------------------------------------


def reasons(loss, sae) -> dict[str, str | None]:
    return {metric.name: metric.reason for metric in run(KnownStore(loss), {"s": sae})["s"].metrics}


def test_an_sae_that_costs_nothing_has_no_shares():
    """The identity has no error: CE and FVU shares are null with a reason, never 0 or 100."""
    identity = api.CanonicalSAE(
        W_enc=torch.eye(D), W_dec=torch.eye(D), activation=api.AbsTopK(D), hook_in=HOOK
    )
    found, why = measured(quadratic, identity), reasons(quadratic, identity)
    assert found["share.ce.linear"] is found["share.ce.nonlinear"] is found["share.fvu.linear"] is None
    assert "round-off" in why["share.ce.linear"]
    assert "no error" in why["share.norm.linear"]
    assert found["loss_recovered"] == pytest.approx(1, abs=1e-6)
    assert found["kl"] == 0


def test_an_sae_that_helps_has_no_shares():
    """CE below the model's own: a share of a negative increase would be a number without meaning."""

    def better(a, own):
        return NATS - 0.1 * (a - own).abs().sum(-1)

    found = measured(better)
    assert found["ce_increase.sae"] < 0
    assert found["share.ce.linear"] is None
    assert found["loss_recovered"] is None


def test_an_increase_that_may_be_nothing_has_no_shares():
    """Where the interval of the CE increase contains 0, so does the one of every share's denominator."""
    mean = KnownStore(quadratic).read(HOOK, 0, DISTINCT)[:, 2:-1, 1].mean()

    def noisy(a, own):
        return NATS + (a != own).any(-1) * (own[..., 1] - mean + 0.01)

    found, why = measured(noisy, relu(scale=0.5)), reasons(noisy, relu(scale=0.5))
    assert found["ce_increase.sae"] == pytest.approx(0.01, abs=1e-5)
    assert found["share.ce.linear"] is found["share.ce.nonlinear"] is found["loss_recovered"] is None
    assert "contains 0" in why["share.ce.linear"]


def test_one_context_has_no_shares_for_want_of_an_interval():
    """Nothing can be said of one context's spread; the reason is that, and not that the interval holds 0."""
    found = run(KnownStore(quadratic), {"s": relu()}, contexts=1)["s"].metrics
    why = {metric.name: metric.reason for metric in found}
    assert "no interval: it needs 2 or more" in why["share.ce.linear"]


def test_rows_that_are_missing_are_refused(monkeypatch):
    """Fewer encoded rows than the contexts hold: an error that says what to do, never a shorter mean."""
    original = Context.chunks
    monkeypatch.setattr(Context, "chunks", lambda *a, **o: list(original(*a, **o))[:1])
    result = run(KnownStore(quadratic), {"s": relu()})["s"]
    assert (result.status, "darkmatter cache rm" in result.reason) == ("failed", True)


def shifted(monkeypatch):
    """Contexts whose tokens are those of their neighbours."""
    original = Context.contexts

    def contexts(self, size, **options):
        for batch in original(self, size, **options):
            yield dataclasses.replace(batch, tokens=batch.tokens.roll(1, 1))

    monkeypatch.setattr(Context, "contexts", contexts)


def test_tokens_that_are_not_those_of_the_rows_are_refused(monkeypatch):
    """One token off and every position would be patched with its neighbour's reconstruction."""
    shifted(monkeypatch)
    result = run(KnownStore(quadratic, cached_loss=False), {"s": relu()})["s"]
    assert result.status == "failed"
    assert "their tokens differ" in result.reason


def test_a_cache_of_another_model_is_refused():
    """Losses that are not those of the model at hand stop the evaluator before any number is made."""
    store = KnownStore(quadratic)
    store._model = KnownModel(lambda a, own: quadratic(a, own) + 2e-4, store._model.table)
    store.loss = lambda start=0, stop=None: torch.full((CONTEXTS, POSITIONS), NATS)[start:stop]
    result = run(store, {"s": relu()})["s"]
    assert result.status == "failed"
    assert "belongs to another model" in result.reason


# -- sharing and repeating ------------------------------------------------------------------------


def test_clean_zero_and_mean_are_run_once_for_all_saes(monkeypatch):
    """The second SAE at a hook point costs its own settings alone, and its numbers are the same."""
    store = KnownStore(quadratic)
    both = run(store, {"a": relu(), "b": relu(scale=0.5)}, batch=6)
    batches = store.model().prefixes
    assert store.model().continuations == batches * (2 + 5 + 5)
    alone = run(KnownStore(quadratic), {"b": relu(scale=0.5)}, batch=6)["b"]
    assert alone.metrics == both["b"].metrics
    monkeypatch.setattr(clean.CleanRuns, "__init__", without_room(clean.CleanRuns.__init__))
    forgetful = KnownStore(quadratic)
    again = run(forgetful, {"a": relu(), "b": relu(scale=0.5)}, batch=6)
    assert forgetful.model().prefixes == 2 * batches
    assert forgetful.model().continuations == batches * (2 + 5 + 5)
    assert again["b"].metrics == both["b"].metrics


def without_room(init):
    """A constructor that leaves no room for logits."""

    def without(self, *args, **options):
        init(self, *args, **{**options, "room": 0})

    return without


def test_the_budget_takes_the_first_contexts_and_says_so():
    """A number of contexts bounds the work; the intervals are over the units that were seen."""
    result = run(KnownStore(quadratic), {"s": relu()}, contexts=20, batch=7)["s"]
    assert result.tables["sample"]["contexts"] == 20
    assert result.tables["sample"]["rows"] == 20 * 6
    ce = next(metric for metric in result.metrics if metric.name == "ce.sae")
    assert ce.n == 120
    assert "20 contexts" in ce.ci_method
    assert any("20 contexts" in note for note in result.notes)


def test_same_numbers_whatever_the_workers():
    """Workers change no digit, nor does running twice."""
    results = [
        run(KnownStore(quadratic), {"s": relu()}, jobs=jobs, controls="both")["s"] for jobs in (1, 3, 1)
    ]
    assert results[0].metrics == results[1].metrics == results[2].metrics
