"""Options that name other plugins: checked before the run, written out in full, part of the key."""

from __future__ import annotations

import pytest
import torch
from pydantic import model_validator

from darkmatter import api
from darkmatter.errors import UsageError
from darkmatter.plugins import PluginHost
from darkmatter.progress import Progress
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import choose_evaluators
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine, open_results
from darkmatter.testing import WordTokenizer


class PairsConfig(api.Config):
    """Options of the dataset."""

    pairs: int = 2
    word: str = "a"


def make_pairs(config, tokenizer, seed):
    """As many pairs as asked for; the first answer is the run's seed."""
    if config.word == "unwritable":
        message = "pairs: this tokenizer cannot write it"
        raise api.ItemError(message)
    (ids,) = tokenizer.encode([f" {config.word} b"])
    n = config.pairs
    return api.MinimalPairs([ids] * n, [ids[::-1]] * n, [seed] * n, [seed + 1] * n)


def make_concepts(config, tokenizer, seed):
    """Two concepts."""
    return api.Concepts({"group": {"one": [1], "other": [2]}})


class Constant:
    """A simulator of nothing."""

    concurrency, explanation = 1, ""

    def __init__(self, config, tokenizer):
        self.tokenizer = tokenizer


class UserConfig(api.Config):
    """Names one dataset and any number of simulators."""

    dataset: api.MinimalPairsChoice = api.MinimalPairsChoice(name="pairs")
    simulators: tuple[api.SimulatorChoice, ...] = ()
    least: int = 1

    @model_validator(mode="after")
    def _enough(self):
        pairs = self.dataset.options.get("pairs")
        if isinstance(pairs, int) and pairs < self.least:
            message = f"least is {self.least}"
            raise ValueError(message)
        return self


class User:
    """Says what it was given."""

    def __init__(self, config):
        self.config = config

    def collectors(self):
        return ()

    def run(self, ctx):
        pairs = ctx.dataset(self.config.dataset)
        made = [ctx.simulator(each) for each in self.config.simulators]
        seen = {
            "pairs": len(pairs.clean),
            "seed": pairs.answers[0],
            "bos": pairs.clean[0][0] == 7,
            "simulators": sum(each.tokenizer is ctx.tokenizer for each in made),
        }
        out = ctx.output()
        for name, value in seen.items():
            out.plain(name, float(value), why_no_interval="a count")
        return out


METRICS = tuple(api.Metric(name, "a number") for name in ("pairs", "seed", "bos", "simulators"))


class Plugin:
    """All of it; ``version`` is the dataset's."""

    def __init__(self, version):
        self.version = version

    @api.hookimpl
    def darkmatter_evaluators(self):
        return [api.Evaluator("user", "Uses others.", User, config=UserConfig, metrics=METRICS)]

    @api.hookimpl
    def darkmatter_datasets(self):
        kind = {"config": PairsConfig, "gives": "minimal_pairs"}
        return [
            api.Dataset("pairs", "Pairs.", make_pairs, version=self.version, **kind),
            api.Dataset("liar", "Says pairs, gives concepts.", make_concepts, **kind),
            api.Dataset("words", "Concepts.", make_concepts, config=PairsConfig, gives="concepts"),
        ]

    @api.hookimpl
    def darkmatter_simulators(self):
        return [api.Simulator("constant", "Zero.", Constant, config=api.Config)]


def host_with(version=1) -> PluginHost:
    """A host with this plugin alone."""
    made = PluginHost()
    made.register(Plugin(version), "test", "test", "1")
    assert not made.failures
    return made


class Told:
    """Activations with a tokenizer, whose text begins with BOS (token 7)."""

    key, hooks = "told", ("activations",)
    n_contexts, n_positions, independent_rows, shuffled, has_model = 60, 4, False, False, False
    default_skip_first = default_skip_last = 0

    def __init__(self, tokenizer):
        self.words = tokenizer
        self.description = {"kind": "test", "text": {"bos_token": 7}}
        self.x = torch.randn(60, 4, 5, generator=torch.Generator().manual_seed(0))

    def shards(self):
        return [api.Shard(0, 0, 60)]

    def dim(self, hook):
        return 5

    def read(self, hook, start, stop):
        return self.x[start:stop]

    def nothing(self, start=0, stop=None):
        return None

    tokens = loss = labels = mask = documents = model = nothing

    def tokenizer(self):
        return self.words


def run(options, *, host=None, tokenizer=True, out=None, seed=0):
    """The result of one SAE, and how many were there already."""
    host = host or host_with()
    sae = api.CanonicalSAE(W_enc=torch.eye(5), W_dec=torch.eye(5), activation=api.Relu())
    chosen = choose_evaluators(host, {"user": options})
    with open_results(out) as results:
        engine = make_engine(
            Told(WordTokenizer() if tokenizer else None), Analysis(seed=seed), chosen,
            host=host, results=results, jobs=1, progress=Progress(),
        )  # fmt: skip
        (found,) = engine.run([SAEItem("a", "a", lambda: sae)], [], ControlPolicy(automatic=False))
    return found, engine.recorder.reused


def test_an_evaluator_gets_what_its_options_name():
    """Datasets and simulators know the run's tokenizer and seed, and prompts begin as the text does."""
    found, _ = run({"dataset": {"name": "pairs", "pairs": 3}, "simulators": ["constant"]}, seed=4)
    values = {metric.name: metric.value for metric in found.metrics}
    assert values == {"pairs": 3, "seed": 4, "bos": 1, "simulators": 1}


@pytest.mark.parametrize(
    "written",
    ["pairs,pairs=3", {"name": "pairs", "pairs": 3}, {"name": "pairs", "options": {"pairs": 3}}],
)
def test_a_choice_is_written_in_one_of_three_ways(written):
    """As one word, as a mapping, with options of their own: the result holds the same full options."""
    found, _ = run({"dataset": written})
    assert found.config["dataset"] == {"name": "pairs", "options": {"pairs": 3, "word": "a"}}


def test_defaults_written_out_make_no_other_result(tmp_path):
    """The key knows full options: one that is said and one that is left out are one result."""
    run({}, out=tmp_path)
    assert run({"dataset": "pairs,pairs=2"}, out=tmp_path)[1] == 1
    assert run({"dataset": "pairs,pairs=3"}, out=tmp_path)[1] == 0


def test_another_version_of_a_dataset_makes_another_result(tmp_path):
    """What an evaluator was tested on is part of the key."""
    run({}, out=tmp_path)
    assert run({}, out=tmp_path, host=host_with(version=2))[1] == 0
    assert run({}, out=tmp_path, host=host_with(version=2))[1] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "pears"}, "pairs"),
        ({"dataset": "pairs,pairs=many"}, "field 'pairs'"),
        ({"dataset": "pairs,pair=2"}, "no field 'pair'"),
        ({"dataset": "pairs 2,=3"}, "expected NAME"),
        ({"simulators": ["pairs"]}, "constant"),
        (
            {"dataset": "words"},
            "gives concepts, expected minimal pairs. Datasets that give them: liar, pairs",
        ),
        ({"dataset": "pairs,word=[a"}, "cannot be read as YAML"),
        ({"least": 3}, "least is 3"),
    ],
)
def test_a_wrong_choice_is_wrong_usage_before_the_run(options, message):
    """Unknown plugins name the nearest, wrong options the field."""
    with pytest.raises(UsageError, match=message):
        run(options)


def test_without_a_tokenizer_the_result_says_what_is_missing():
    """A dataset that cannot be written fails that result with the reason."""
    found, _ = run({}, tokenizer=False)
    assert found.status == "failed"
    assert "needs the tokenizer of a language model" in found.reason


def test_a_dataset_that_cannot_be_written_says_what_to_do():
    """The reason of the failed result names the dataset's own, and where others are listed."""
    found, _ = run({"dataset": "pairs,word=unwritable"})
    assert found.status == "failed"
    assert "this tokenizer cannot write it. Other datasets of minimal pairs: liar." in found.reason
    assert "`darkmatter list datasets`" in found.reason


def test_a_dataset_that_gives_something_else_than_it_says_fails_its_result():
    """An evaluator never meets the wrong kind of data: the reason names both."""
    found, _ = run({"dataset": "liar"})
    assert found.status == "failed"
    assert "the dataset 'liar' gave Concepts, not MinimalPairs" in found.reason


def test_a_list_may_stand_in_a_choice():
    """Brackets keep commas together, so that options that are lists can be given on the command line."""
    choice = api.DatasetChoice.model_validate("pairs,groups=[a,b],pairs=3")
    assert choice.options == {"groups": ["a", "b"], "pairs": 3}
