"""Evaluators that look at several SAEs: families, other hook points, the same rows beside each other."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import darkmatter as dm
from darkmatter import api
from darkmatter.errors import ItemError
from darkmatter.plugins import Owned, host
from darkmatter.progress import Progress
from darkmatter.results.collection import ResultSet
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import Chosen
from darkmatter.runs.controls import ControlPolicy, baseline_item
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine, open_results
from darkmatter.testing.synthetic import AtHooks, SmallShards

D, CONTEXTS, POSITIONS = 6, 60, 8
HOOKS = ("blocks.0.hook_resid_post", "blocks.1.hook_resid_post")


def two_hooks():
    """A store with two hook points: what stands at the second is three times the first."""
    x = torch.randn(CONTEXTS, POSITIONS, D, generator=torch.Generator().manual_seed(1))
    return AtHooks(dict(zip(HOOKS, (x, 3 * x), strict=True)), skip=1)


def relu(hook: str = HOOKS[0], scale: float = 1.0) -> api.SAE:
    eye = torch.eye(D)
    return api.CanonicalSAE(W_enc=eye, W_dec=eye * scale, activation=api.Relu(), hook_in=hook)


@dataclass(frozen=True)
class SumBeside:
    """Sums reconstructions of the SAE and of those beside it, over the same rows."""

    def start(self, info):
        return SumBesideCollector({})


@dataclass
class SumBesideCollector:
    sums: dict[str, float]

    def update(self, chunk, rows):
        for name, each in {"": chunk, **chunk.beside}.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(each.reconstruction.double().sum())
            assert torch.equal(each.tokens, chunk.tokens)

    def merge(self, other):
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def finish(self):
        return self.sums


class Looker:
    """Counts and sums what it sees."""

    def __init__(self, config) -> None:
        self.config = config

    def collectors(self):
        return ()

    def run(self, ctx):
        out = ctx.output()
        seen = [each for each in (*ctx.family, *ctx.others) if each.name != ctx.sae_name]
        (sums,) = ctx.collect([SumBeside()], "test", beside=seen)
        out.plain("seen", len(seen), why_no_interval="a count")
        for name, value in sums.items():
            out.plain(f"sum[{name}]", value, why_no_interval="a test")
        return out


class Named(api.Config):
    """Names SAEs to look at."""

    names: tuple[str, ...] = ()

    def looks_at(self):
        return self.names or None


METRICS = (api.Metric("seen", "how many"), api.Metric("sum[*]", "their sums"))
LOOKER = api.Evaluator(
    "looker", "Looks.", Looker, config=Named, metrics=METRICS, sees=frozenset({"elsewhere"})
)
FAMILY = api.Evaluator("family_looker", "Looks.", Looker, config=api.Config, metrics=METRICS, scope="family")
CHEAP = api.Evaluator("cheap", "No controls.", Looker, config=api.Config, metrics=METRICS, controls=False)


def run(saes, evaluators, *, out=None, controls=False, config=None, chunk_rows=50, only=None, policy=None):
    """Statuses and metrics by (SAE, evaluator), and how many results were there already."""
    chosen = [
        Chosen(Owned(each, "test", "test", "1"), (config or each.config)(), only) for each in evaluators
    ]
    with open_results(out) as results:
        engine = make_engine(
            SmallShards(two_hooks(), 7), Analysis(chunk_rows=chunk_rows), chosen,
            host=host(), results=results, jobs=2, progress=Progress(),
        )  # fmt: skip
        loads = {name: sae if callable(sae) else lambda sae=sae: sae for name, sae in saes.items()}
        items = [SAEItem(name, name, load) for name, load in loads.items()]
        baselines = [baseline_item(host(), "mean", "mean", {})] if controls else []
        found = engine.run(items, baselines, policy or ControlPolicy(automatic=False))
    kept = {
        (each.sae.name, each.evaluator.name): each
        if each.status != "ok"
        else {m.name: m.value for m in each.metrics}
        for each in found
    }
    return kept, engine.recorder.reused


TRIO = {"a": relu(), "b": relu(scale=2.0), "up": relu(HOOKS[1])}


def test_an_evaluator_sees_saes_at_other_hook_points_on_the_same_rows():
    """Reconstructions of another hook point's SAE stand beside those of the same tokens."""
    found, _ = run(TRIO, [LOOKER])
    below, above = found["a", "looker"], found["up", "looker"]
    assert below["seen"] == 1
    assert above["seen"] == 2
    assert below["sum[up]"] == pytest.approx(3 * below["sum[]"])
    assert above["sum[a]"] == pytest.approx(above["sum[]"] / 3)
    assert above["sum[b]"] == pytest.approx(2 * above["sum[a]"])


def test_a_result_tells_at_whom_it_looked(tmp_path):
    """Two results are compared only if the same SAEs shaped them, so each that looks at others names them."""
    run(TRIO, [LOOKER, CHEAP], out=tmp_path)
    beside = {(each.sae.name, each.evaluator.name): each.beside for each in ResultSet.read(tmp_path)}

    assert beside["up", "looker"] == ("a", "b")
    assert beside["a", "looker"] == ("up",)
    assert beside["a", "cheap"] is None


def test_a_run_may_restrict_an_evaluator_to_some_saes(tmp_path):
    """Others, controls and failures get no result of it, and the one that is made has its usual key."""
    found, _ = run(TRIO, [LOOKER, CHEAP], only=("a",), controls=True, out=tmp_path)
    assert set(found) == {("a", "looker"), ("a", "cheap")}
    assert found["a", "looker"]["seen"] == 1
    assert run(TRIO, [LOOKER, CHEAP], out=tmp_path)[1] == 2

    found, _ = run(TRIO, [LOOKER], only=("a", "mean"), controls=True)
    assert {name for name, _ in found} == {"a", *(f"mean@{hook}" for hook in HOOKS)}

    broken = api.CanonicalSAE(W_enc=torch.eye(3), W_dec=torch.eye(3), activation=api.Relu(), hook_in=HOOKS[0])
    found, _ = run({"a": relu(), "broken": broken}, [CHEAP], only=("a",))
    assert set(found) == {("a", "cheap")}


def test_options_name_the_saes_that_are_looked_at():
    """An evaluator whose options name SAEs depends on these alone."""
    named = type("OnlyA", (Named,), {"looks_at": lambda _: ("a",)})
    found, _ = run(TRIO, [LOOKER], config=named)
    assert {name: values["seen"] for (name, _), values in found.items()} == {"a": 0, "b": 0, "up": 1}


def test_an_evaluator_of_other_hook_points_may_be_shown_named_saes_of_its_own(tmp_path):
    """With ``named`` the family is seen, and enters the key, only where options name it."""
    evaluator = replace(
        LOOKER, sees=frozenset({"elsewhere", "named"}), requires=frozenset({api.Requirement.OTHER_HOOKS})
    )
    named = type("OnlyA", (Named,), {"looks_at": lambda _: ("a",)})
    pair = {"a": relu(), "b": relu(scale=2.0)}
    for config in (Named, named):
        found, _ = run(TRIO, [evaluator], config=config, out=tmp_path)
        assert found["b", "looker"]["seen"] == 1
        assert ("sum[a]" in found["b", "looker"]) == (config is named)
        # A changed member of the family makes no new result unless it is named.
        _, reused = run({**TRIO, "a": relu(scale=3.0)}, [evaluator], config=config, out=tmp_path)
        assert reused == (1 if config is Named else 0)
    alone, _ = run(pair, [evaluator])
    assert alone["a", "looker"].reason == "needs SAEs at other hook points"
    assert run(pair, [evaluator], config=named)[0]["b", "looker"]["seen"] == 1


def test_a_transcoder_is_in_sight_of_the_sae_where_it_reads():
    """It is at another pair of hook points, and so no member of that SAE's family and not out of sight."""
    transcoder = relu()
    transcoder.hook_out = HOOKS[1]
    found, _ = run({"a": relu(), "across": transcoder}, [LOOKER])
    assert found["a", "looker"]["seen"] == found["across", "looker"]["seen"] == 1


@dataclass(frozen=True)
class ProductsBeside(SumBeside):
    """Σ x·x' with the rows of the SAE beside, Σ x' and Σ of codes beside that are not its rows'."""

    def start(self, info):
        return ProductsBesideCollector({})


class ProductsBesideCollector(SumBesideCollector):
    def update(self, chunk, rows):
        (other,) = chunk.beside.values()
        found = {
            "product": (chunk.x.double() * other.x.double()).sum(),
            "total": other.x.double().square().sum(),
            "split": (other.codes.to_dense() - other.x.relu()).abs().sum(),
            "token": (other.tokens // POSITIONS != chunk.tokens // POSITIONS).sum(),
        }
        for name, value in found.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)


class Shuffler(Looker):
    """Looks at the SAE above with its rows as they are and permuted."""

    def run(self, ctx):
        out = ctx.output()
        for name, seed in (("aligned", None), ("shuffled", 3), ("otherwise", 4)):
            (sums,) = ctx.collect([ProductsBeside()], "test", beside=ctx.others, shuffled=seed)
            for key, value in sums.items():
                out.plain(f"sum[{name} {key}]", value, why_no_interval="a test")
        return out


def test_rows_beside_can_be_shuffled_whatever_the_chunks():
    """The same rows in a seeded order: nothing is lost, codes stay with their rows, pairs are broken."""
    evaluator = replace(LOOKER, implementation=Shuffler)
    saes = {"a": TRIO["a"], "up": TRIO["up"]}
    large, small = (run(saes, [evaluator], chunk_rows=n)[0]["a", "looker"] for n in (50, 9))

    assert large == {name: pytest.approx(value) for name, value in small.items()}
    assert large["sum[shuffled total]"] == pytest.approx(large["sum[aligned total]"])
    assert large["sum[shuffled split]"] == 0
    assert abs(large["sum[shuffled product]"]) < 0.4 * large["sum[aligned product]"]
    assert large["sum[shuffled product]"] != pytest.approx(large["sum[otherwise product]"])
    assert (large["sum[aligned token]"], large["sum[shuffled token]"] > 0) == (0, True)


def test_rows_of_other_tokens_are_no_neighbours(monkeypatch):
    """A store that gives other tokens for the same rows is found out, not compared."""
    calls = iter(range(10**6))
    others = lambda *_: torch.full((CONTEXTS, POSITIONS), next(calls))[:7]
    monkeypatch.setattr(AtHooks, "tokens", others, raising=False)
    found, _ = run({"a": TRIO["a"], "up": TRIO["up"]}, [LOOKER])

    assert "not those of the SAE" in found["a", "looker"].reason


def test_a_family_is_one_result_without_controls():
    """A family evaluator gives one result per hook point, under the family's name."""
    found, _ = run(TRIO, [FAMILY], controls=True)
    assert set(found) == {(f"family:{hook}", "family_looker") for hook in HOOKS}
    family = found[f"family:{HOOKS[0]}", "family_looker"]
    assert family["sum[b]"] == pytest.approx(2 * family["sum[]"])


def test_results_that_look_at_others_are_reused_until_those_change(tmp_path):
    """Keys hold the SAEs that shape a result: the same ones reuse it, another one makes a new one."""
    evaluators = [LOOKER, FAMILY]
    run(TRIO, evaluators, out=tmp_path)
    _, again = run(TRIO, evaluators, out=tmp_path)
    assert again == 5  # three SAEs, two families
    _, changed = run({**TRIO, "up": relu(HOOKS[1], scale=0.5)}, evaluators, out=tmp_path)
    assert changed == 1  # only the family below does not see the changed SAE


def test_a_missing_result_of_one_sae_encodes_those_that_it_looks_at(tmp_path):
    """An SAE whose own results are there is encoded again where a new one needs to see it."""
    run({"up": TRIO["up"]}, [CHEAP], out=tmp_path)
    found, reused = run(TRIO, [CHEAP, LOOKER], out=tmp_path)
    assert reused == 1
    assert found["a", "looker"]["seen"] == 1


def test_a_failing_sae_is_not_seen_by_others():
    """An SAE that fails costs its own results, and is missing beside the others."""

    def fail(x):
        raise RuntimeError("planted")

    broken = api.SAE.from_functions(fail, fail, d_in=D, d_sae=D, hook=HOOKS[1])
    found, _ = run({"a": relu(), "broken": broken}, [LOOKER, FAMILY])
    assert found["a", "looker"]["seen"] == 0
    assert found["broken", "looker"].status == "failed"
    assert ("broken", "family_looker") not in found


def test_controls_are_spared_what_costs_much():
    """An evaluator that says so does not run on controls."""
    found, _ = run(TRIO, [CHEAP, LOOKER], controls=True)
    assert {evaluator for name, evaluator in found if name.startswith("mean@")} == {"looker"}


class Walker(Looker):
    """Sums rows as chunks and as whole contexts."""

    def run(self, ctx):
        out = ctx.output()
        seen = {"chunks": 0.0, "shuffled": 0.0, "contexts": 0.0}
        for chunk in ctx.chunks("test"):
            seen["chunks"] += float(chunk.x.double().sum())
        order = [int(chunk.tokens[0]) for chunk in ctx.chunks("test", shuffled=1)]
        assert order != sorted(order)
        assert order == [int(chunk.tokens[0]) for chunk in ctx.chunks("test", shuffled=1)]
        assert order != [int(chunk.tokens[0]) for chunk in ctx.chunks("test", shuffled=2)]
        for batch in ctx.contexts(3):
            assert len(batch.index) <= 3
            assert batch.rows.any(dim=1).all()
            assert torch.equal(batch.tokens[:, 0] // POSITIONS, batch.index)
            seen["contexts"] += float(batch.x[batch.rows].double().sum())
        for name, value in seen.items():
            out.plain(f"sum[{name}]", value, why_no_interval="a test")
        return out


def test_rows_come_as_chunks_and_as_whole_contexts():
    """Both ways of walking over the held-out rows see the same rows, shuffling is seeded."""
    walker = api.Evaluator("walker", "Walks.", Walker, config=api.Config, metrics=METRICS)
    found, _ = run({"a": relu()}, [walker], chunk_rows=16)
    sums = found["a", "walker"]
    assert sums["sum[contexts]"] == pytest.approx(sums["sum[chunks]"])


class Limited(Looker):
    """Sees a few contexts, and keeps something for the other SAEs at the hook point."""

    made: list[str]

    def run(self, ctx):
        contexts = list(ctx.contexts(2, limit=5))
        units = int(contexts[-1].unit[-1]) + 1
        out = ctx.output(n_rows=7, n_units=units)
        out.add_columns({"one": torch.ones(units).numpy(), "two": torch.arange(units).numpy() * 1.0})
        out.ratio("seen", "two", "one")
        made = ctx.shared("a key", lambda: self.made.append(ctx.sae_name) or ctx.sae_name)
        assert made == ctx.shared("a key", lambda: "never made")
        out.plain("sum[contexts]", sum(len(batch.index) for batch in contexts), why_no_interval="a count")
        out.plain("sum[out]", HOOKS.index(ctx.hook_out), why_no_interval="a test")
        return out


def test_some_contexts_make_a_smaller_sample_and_saes_share_what_is_theirs(tmp_path):
    """A budget of contexts shows in n and in the intervals; what SAEs share is made once per hook point."""
    Limited.made = []
    limited = api.Evaluator("limited", "Limits.", Limited, config=api.Config, metrics=METRICS)
    transcoder = relu()
    transcoder.hook_out = HOOKS[1]
    found, _ = run({**TRIO, "across": transcoder}, [limited])
    assert Limited.made == ["a", "up", "across"]
    assert found["a", "limited"] == {"seen": 2.0, "sum[contexts]": 5, "sum[out]": 0}
    assert found["across", "limited"]["sum[out]"] == 1
    stored = dm.ResultSet.read(tmp_path) if run(TRIO, [limited], out=tmp_path) else None
    result = next(each for each in stored.stored if each.result.sae.name == "a")
    (seen,) = (metric for metric in result.result.metrics if metric.name == "seen")
    assert (seen.n, seen.ci_method) == (7, "jackknife over 5 contexts, t quantiles")
    assert result.units().ids.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("chunk_rows", [5, 50])
def test_rows_are_known_by_their_number(chunk_rows):
    """A row's number names its place in the cache, whatever the chunk: context * positions + position."""

    class Numbered(Looker):
        def run(self, ctx):
            out = ctx.output()
            numbers = []
            for rows in ("train", "test"):
                for chunk in ctx.chunks(rows):
                    assert torch.equal(chunk.row, chunk.tokens)  # AtHooks numbers its tokens so
                    assert torch.equal(chunk.row % POSITIONS, chunk.position)
                    numbers += chunk.row.tolist()
            assert len(set(numbers)) == ctx.n_train + ctx.n_test
            out.on_rows(7)
            out.plain("seen", len(numbers), why_no_interval="a count")
            assert out.metrics[0].n == 7
            return out

    numbered = api.Evaluator("numbered", "Numbers.", Numbered, config=api.Config, metrics=METRICS)
    found, _ = run({"a": relu()}, [numbered], chunk_rows=chunk_rows)
    assert found["a", "numbered"]["seen"] > 0


def test_weights_that_were_let_go_are_loaded_again(monkeypatch):
    """A family too large for memory is evaluated all the same, its weights loaded when needed."""
    from darkmatter.runs import engine

    monkeypatch.setattr(engine, "GROUP_BYTES", 1)
    small, _ = run(TRIO, [LOOKER, FAMILY])
    monkeypatch.undo()
    assert small == run(TRIO, [LOOKER, FAMILY])[0]


def test_raw_activations_have_no_model(tmp_path):
    """What needs a language model is skipped, with that reason, where there is none."""
    save_file({"x": torch.randn(40, 5, D)}, tmp_path / "x.safetensors")
    needy = api.Evaluator(
        "needy", "Needs.", Looker, config=api.Config, metrics=METRICS,
        requires=frozenset({api.Requirement.MODEL}),
    )  # fmt: skip
    found, _ = run({"a": relu()}, [needy])
    assert found["a", "needy"].reason == "needs a language model"
    assert dm.__version__


def test_whether_tokens_are_there_is_asked_of_one_context(monkeypatch):
    """What an evaluator needs is known without reading the tokens and losses of the whole store."""
    asked = []

    def recorded(answer):
        def give(self, start=0, stop=None):
            asked.append((start, stop))
            return answer(start, stop)

        return give

    monkeypatch.setattr(AtHooks, "tokens", recorded(two_hooks().tokens), raising=False)
    for name in ("loss", "labels"):
        monkeypatch.setattr(AtHooks, name, recorded(lambda start, stop: None), raising=False)
    needs = {api.Requirement.TOKENS, api.Requirement.LOSS}
    found, _ = run(TRIO, [LOOKER, replace(CHEAP, requires=frozenset(needs))])

    assert found["a", "cheap"].reason == "needs per-token losses"
    assert asked.count((0, 1)) == 3
    assert not any(stop is None for _, stop in asked)


class Peak(Looker):
    """Says how much lies in scratch while it runs, and of how many SAEs."""

    folder: Path

    def run(self, ctx):
        out = ctx.output()
        spools = [path for path in self.folder.rglob("*.codes") if path.stat().st_size]
        out.plain("seen", len({path.parent for path in spools}), why_no_interval="a count")
        ctx.collect([SumBeside()], "test")
        return out


def test_scratch_does_not_grow_with_the_number_of_saes(tmp_path, monkeypatch):
    """Codes and weights go when no result will look at them; what looks at others still finds them."""
    from darkmatter.runs import engine

    monkeypatch.setattr(engine, "GROUP_BYTES", 1)
    monkeypatch.setattr(Peak, "folder", tmp_path, raising=False)
    alone = api.Evaluator("peak", "Looks.", Peak, config=api.Config, metrics=METRICS)
    late = replace(alone, name="late", sees=frozenset({"elsewhere"}))
    many = {**{f"s{i}": relu(scale=1.0 + i) for i in range(6)}, "up": relu(HOOKS[1])}

    def most(evaluators, **options):
        found, _ = run(many, evaluators, out=tmp_path / str(len(list(tmp_path.iterdir()))), **options)
        assert {each["seen"] > 0 for each in found.values()} == {True}
        return max(each["seen"] for each in found.values())

    assert most([alone], controls=True) == 1
    # An evaluator that looks elsewhere needs all to be there; one that speaks of few keeps few.
    assert most([alone, late], controls=True) == 7 + 2
    assert most([late, replace(alone, name="family", scope="family")]) == 7
    named = type("OnlyUp", (Named,), {"looks_at": lambda _: ("up",)})
    assert most([late], config=named, only=("s0",)) == 2


def stored(folder):
    """What the results in a folder say, by file, without when they were made."""
    found = {}
    for path in folder.rglob("*.json"):
        raw = json.loads(path.read_bytes())
        found[str(path.relative_to(folder))] = {
            name: part for name, part in raw.items() if name not in {"timings", "checksum"}
        }
    return found


@pytest.mark.parametrize("more", [(), (CHEAP,)], ids=["alone", "with others"])
@pytest.mark.parametrize("group_bytes", [1, 8 << 30])
def test_a_controls_missing_result_encodes_those_that_it_looks_at(tmp_path, monkeypatch, group_bytes, more):
    """Where only a late result of a control is missing, it sees the same SAEs as in the whole run."""
    from darkmatter.runs import engine

    monkeypatch.setattr(engine, "GROUP_BYTES", group_bytes)
    run(TRIO, [LOOKER, FAMILY], out=tmp_path, controls=True)
    whole = stored(tmp_path)
    (late,) = (path for path, raw in whole.items() if raw["sae"]["name"] == f"mean@{HOOKS[0]}")
    (tmp_path / late).unlink()
    # Another evaluator has the SAEs encoded for themselves, which must not let go of them too early.
    found, reused = run(TRIO, [LOOKER, FAMILY, *more], out=tmp_path, controls=True)

    assert reused == len(whole) - 1 == 6
    assert found[f"mean@{HOOKS[0]}", "looker"]["seen"] == 1
    assert {path: each for path, each in stored(tmp_path).items() if "cheap" not in path} == whole


def test_weights_that_are_gone_later_cost_one_sae_what_it_still_wanted(tmp_path):
    """Of SAEs encoded together, one that cannot be read again fails alone; results that are there stand."""
    times = iter(range(10))

    def vanishing():
        if next(times) > 0:
            raise ItemError("planted: the file is gone")
        return relu(scale=2.0)

    run(TRIO, [CHEAP], out=tmp_path)
    found, reused = run({**TRIO, "b": vanishing}, [CHEAP, LOOKER], out=tmp_path)

    assert reused == 3
    assert found["b", "looker"].reason == "planted: the file is gone"
    assert found["b", "cheap"]["seen"] == 0
    assert found["up", "looker"]["seen"] == 1


CONTROLS_OF_TWO = ("mean", *(f"{kind}-k{k}" for kind in ("pca", "pca_topk", "random") for k in (2, 4)))


def test_the_controls_l0_does_not_depend_on_what_was_reused(tmp_path):
    """The rank of PCA follows from the SAEs, each once, however many results of each are there."""
    eye = torch.eye(D)
    saes = {
        name: api.CanonicalSAE(W_enc=eye, W_dec=eye, activation=api.AbsTopK(k), hook_in=HOOKS[0])
        for name, k in (("a", 2), ("b", 4))
    }
    names = {name for name, _ in run(saes, [LOOKER], out=tmp_path, policy=ControlPolicy())[0]}
    again, reused = run(saes, [LOOKER], out=tmp_path, policy=ControlPolicy())

    assert names == {"a", "b", *(f"{name}@{HOOKS[0]}" for name in CONTROLS_OF_TWO)}
    assert ({name for name, _ in again}, reused) == (names, 9)


def test_a_family_speaks_through_the_same_sae_whatever_their_order():
    """The order in which SAEs are listed is part of no key, so it may change no number."""

    class Speaker(Looker):
        def run(self, ctx):
            out = ctx.output()
            out.plain(f"sum[{ctx.sae_name}]", 1.0, why_no_interval="a test")
            return out

    speaker = replace(FAMILY, implementation=Speaker)
    for names in ("ab", "ba"):
        found, _ = run({name: TRIO[name] for name in names}, [speaker])
        assert found[f"family:{HOOKS[0]}", "family_looker"] == {"sum[a]": 1.0}


def test_a_control_is_reused_beside_an_sae_that_fails_again(tmp_path):
    """The key of a control's late result names who was seen, in the run that finds it too."""

    class Failing(api.CanonicalSAE):
        def encode(self, x):
            raise ItemError("planted")

    eye = torch.eye(D)
    broken = Failing(W_enc=eye, W_dec=eye, activation=api.Relu(), hook_in=HOOKS[1])
    saes = {"a": relu(), "broken": broken}
    whole = run(saes, [LOOKER], out=tmp_path, controls=True)[0]
    again, reused = run(saes, [LOOKER], out=tmp_path, controls=True)

    assert reused == 2
    assert (
        again.keys()
        == whole.keys()
        == {(name, "looker") for name in ("a", "broken", *(f"mean@{hook}" for hook in HOOKS))}
    )
