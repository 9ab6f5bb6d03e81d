"""check_evaluator finds each way in which an evaluator can be wrong, and says how to mend it."""

import itertools
import threading
from dataclasses import dataclass, field

import pytest
import torch
from pydantic import Field

from darkmatter import api
from darkmatter.descriptors import Requirement
from darkmatter.testing import check_evaluator

WHY = "a test"
COUNTER = itertools.count()


class Options(api.Config):
    """One documented option."""

    scale: float = Field(1.0, description="multiplies the metric")


class Undocumented(api.Config):
    """One option that nobody explains."""

    scale: float = 1.0


class Demanding(api.Config):
    """One option without a default."""

    scale: float = Field(description="multiplies the metric")


@dataclass(frozen=True)
class Rows:
    """Recipe of a collector that does ``what`` to every chunk of test rows."""

    what: object = len

    def start(self, info):
        """A fresh one."""
        return RowsCollector(self.what)


@dataclass
class RowsCollector:
    """Keeps ``what(chunk.x)`` of every chunk."""

    what: object
    found: list = field(default_factory=list)

    def update(self, chunk, rows):
        """Take in test rows."""
        if rows == "test":
            self.found.append(float(self.what(chunk.x)))

    def merge(self, other):
        """Take in the next shard."""
        self.found += other.found

    def finish(self):
        """All of it."""
        return self.found


class Good:
    """The mean of x's first column over the test rows, correctly."""

    what = staticmethod(lambda x: x[:, 0].double().sum())

    def __init__(self, config):
        self.config = config

    def collectors(self):
        """One."""
        return (Rows(self.what),)

    def value(self, ctx):
        """The metric."""
        return sum(ctx.collected(Rows(self.what))) / ctx.n_test

    def run(self, ctx):
        """One metric."""
        out = ctx.output()
        out.plain("mean", self.config.scale * self.value(ctx), why_no_interval=WHY)
        self.more(out, ctx)
        return out

    def more(self, out, ctx):
        """Whatever else."""


def variant(**methods):
    """``Good`` with some methods replaced."""
    return type("Variant", (Good,), methods)


def described(implementation=Good, **changes):
    """The descriptor of an implementation."""
    fields = {
        "config": Options,
        "metrics": (api.Metric("mean", "mean of x", low=-99, high=99, primary=True),),
    }
    return api.Evaluator("tested", "A test.", implementation, **{**fields, **changes})


def breaks(self, ctx):
    """Cannot do without latents."""
    return 1 / ctx.sae.d_sae


def prints(self, ctx):
    """Says something."""
    print("hello")
    return 0.0


def draws(self, ctx):
    """Uses the global generator."""
    return float(torch.rand(()))


def single_thread(self, ctx):
    """Changes a setting of torch's."""
    torch.use_deterministic_algorithms(mode=True)
    return 0.0


def rows_only(self, ctx):
    """Understands contexts only."""
    if ctx.unit_kind.startswith("row"):
        message = "rows are no contexts"
        raise ValueError(message)
    return 0.0


def mean_error(self, ctx):
    """Takes an error for granted."""
    (mean,) = ctx.collect([api.MeanError()], "test")
    return float(mean.mean())


def in_worker(x):
    """Depends on who computes."""
    return float(threading.current_thread() is threading.main_thread())


def first_value_zeroed(x):
    """Changes what it is given."""
    x[0, 0] = 0
    return 0.0


def local_config():
    """A class that no other process can find."""

    class Local(api.Config):
        """Local."""

    return Local


METRIC = api.Metric("mean", "mean of x", primary=True)
BROKEN = {
    "no such module": (described("nowhere_at_all:It"), "must be importable"),
    "undocumented option": (described(config=Undocumented), "has no description"),
    "option without a default": (described(config=Demanding), "without a default: scale"),
    "local configuration": (described(config=local_config()), "can be pickled"),
    "nothing primary": (described(metrics=(api.Metric("mean", "mean"),)), "At least one metric is primary"),
    "unsound descriptor": (described(metrics=()), "declares no metrics"),
    "raises": (
        described(variant(value=breaks)),
        r"on no_latents / tested it raised ZeroDivisionError[\s\S]*in breaks",
    ),
    "undeclared metric": (
        described(variant(more=lambda self, out, ctx: out.plain("other", 1.0, why_no_interval=WHY))),
        "'other', which it does not declare",
    ),
    "out of range": (
        described(variant(value=lambda self, ctx: 100.0)),
        r"mean = 100.0, declared \[-99, 99\]",
    ),
    "given twice": (
        described(variant(more=lambda self, out, ctx: out.undefined("mean", "again"))),
        "gave the metric .mean. twice",
    ),
    "primary left out": (described(variant(run=lambda self, ctx: ctx.output())), "gave no 'mean'"),
    "a tensor in a table": (
        described(variant(more=lambda self, out, ctx: out.tables.update(t=torch.zeros(2)))),
        "Unable to serialize unknown type",
    ),
    "NaN in a curve": (
        described(variant(more=lambda self, out, ctx: out.curves.update(c=[float("nan")]))),
        r"curves\['c'\]: Out of range float",
    ),
    "prints": (described(variant(value=prints)), "printed 'hello"),
    "draws": (described(variant(value=draws)), "changed the state of torch's generator"),
    "a setting": (described(variant(value=single_thread)), "changed torch's deterministic mode"),
    "differs": (described(variant(value=lambda self, ctx: float(next(COUNTER) % 97))), "the same bytes"),
    "workers": (described(variant(what=staticmethod(in_worker))), "Any number of workers"),
    "chunks": (
        described(variant(value=lambda self, ctx: float(len(ctx.collected(Rows(self.what)))))),
        "Chunks of any size",
    ),
    "in place": (described(variant(what=staticmethod(first_value_zeroed))), "chunks or weights of the SAE"),
    "rows": (described(variant(value=rows_only)), "rows are no contexts"),
    "a reconstruction not asked for": (
        described(variant(value=mean_error)),
        r"on codes_alone / tested it raised ItemError[\s\S]*`requires`",
    ),
}


@pytest.fixture(autouse=True)
def _settings_come_back():
    yield
    torch.use_deterministic_algorithms(mode=False)


def test_a_headline_metric_per_item_may_have_no_items():
    """Only a metric of one name must be given: of one per item there may be none on this data."""
    per_item = api.Metric("share[*]", "share of an item", low=0, high=1, primary=True)
    check_evaluator(described(metrics=(METRIC, per_item)))


def test_a_good_evaluator_passes():
    """Nothing is demanded that a simple correct evaluator does not do."""
    assert check_evaluator(described()) == ()
    assert check_evaluator(described(config=Demanding), config={"scale": 2.0}) == ()


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_rule_is_named_with_what_was_seen(kind):
    """Each kind of fault is an AssertionError with the rule, what was seen, and a way to mend it."""
    precision = torch.get_float32_matmul_precision()
    evaluator, says = BROKEN[kind]
    try:
        with pytest.raises(AssertionError, match=says) as error:
            check_evaluator(evaluator)
    finally:
        torch.set_float32_matmul_precision(precision)
    assert "\n  seen: " in str(error.value)
    assert "\n  fix:  " in str(error.value)


def test_what_cannot_be_checked_here_is_said():
    """An evaluator that needs a model is not run on activations alone, and the check says so."""
    found = check_evaluator(described(requires=frozenset({Requirement.MODEL})))
    assert found == ("not run: needs a language model",)


def test_something_else_than_an_evaluator_is_refused():
    """The check says what it expects."""
    with pytest.raises(AssertionError, match="described by Evaluator objects"):
        check_evaluator(Good)
