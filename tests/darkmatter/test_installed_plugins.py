"""Installed plugins: which load, in which order, and what an observer can do to a run."""

import dataclasses
import importlib.metadata
import sys
import types

import pytest

from darkmatter import api, plugins
from darkmatter.hookspecs import hookimpl
from darkmatter.plugins import BUILTIN_DISTRIBUTION, Selection, make_host


class NoOptions(api.Config):
    """No options."""


def evaluator(name="good", **changes):
    """A sound evaluator's descriptor, with fields changed."""
    made = api.Evaluator(
        name,
        "Counts.",
        "nowhere:Nothing",
        config=NoOptions,
        metrics=(api.Metric("count", "how many", primary=True),),
    )
    return dataclasses.replace(made, **changes)


def module(**hooks):
    """A module with these functions as hook implementations."""
    made = types.ModuleType("a_plugin")
    vars(made).update({name: hookimpl(function) for name, function in hooks.items()})
    return made


def plugin(*offers, hook="darkmatter_evaluators"):
    """A plugin whose one hook returns these descriptors."""
    return module(**{hook: lambda: list(offers)})


@pytest.fixture
def entry_points(monkeypatch):
    """Replaces what is installed: (name, value, distribution) triples beside the built-ins."""
    real = list(importlib.metadata.entry_points(group="darkmatter"))

    def install(*found, order=1):
        entries = []
        for name, value, distribution in found:
            entry = importlib.metadata.EntryPoint(name, value, "darkmatter")
            vars(entry)["dist"] = types.SimpleNamespace(name=distribution, version="1.0")
            entries.append(entry)
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: tuple([*real, *entries][::order]))

    return install


@pytest.fixture
def modules(monkeypatch):
    """Makes importable modules out of plugins."""

    def make(**plugins_by_name):
        for name, content in plugins_by_name.items():
            module = types.ModuleType(name)
            hooks = [hook for hook in dir(content) if hook.startswith("darkmatter_")]
            vars(module).update({hook: getattr(content, hook) for hook in hooks})
            monkeypatch.setitem(sys.modules, name, module)

    return make


@pytest.mark.parametrize("error", [ImportError("no"), SystemExit(3), ValueError("no")])
def test_a_plugin_that_cannot_be_imported_does_not_stop_the_others(entry_points, monkeypatch, error):
    """Whatever an import raises, exits included, the built-ins are there."""

    def load(_self):
        raise error

    entry_points(("bad", "bad_module", "dist-b"))
    real = importlib.metadata.EntryPoint.load
    monkeypatch.setattr(
        importlib.metadata.EntryPoint, "load", lambda e: load(e) if e.name == "bad" else real(e)
    )
    host = make_host(Selection())
    assert "reconstruction" in host.evaluators()
    assert [failure.name for failure in host.failures] == ["bad"]
    assert type(error).__name__ in host.failures[0].traceback


def test_a_built_in_name_cannot_be_taken(entry_points, modules):
    """A plugin that offers a built-in name is reached by its qualified name only, wherever it sorts."""
    modules(aaa=plugin(evaluator("reconstruction"), evaluator("own")))
    entry_points(("aaa", "aaa", "a-dist"))
    host = make_host(Selection())
    assert host.get("evaluators", "reconstruction").distribution == BUILTIN_DISTRIBUTION
    assert host.get("evaluators", "a-dist/reconstruction").plugin == "aaa"
    assert host.get("evaluators", "own").distribution == "a-dist"
    (failure,) = host.failures
    assert failure.name == "aaa"
    assert f"{BUILTIN_DISTRIBUTION} " in failure.reason
    assert "a-dist 1.0" in failure.reason


def test_a_rival_of_a_built_in_does_not_change_what_runs_by_default(entry_points, modules):
    """By default every built-in evaluator runs once, whatever else is installed."""
    from darkmatter.runs.choosing import choose_evaluators

    usual = [chosen.owned.qualified for chosen in choose_evaluators(make_host(Selection()), None)]
    modules(aaa=plugin(evaluator("reconstruction")))
    entry_points(("aaa", "aaa", "a-dist"))
    found = [chosen.owned.qualified for chosen in choose_evaluators(make_host(Selection()), None)]
    assert found == usual


@pytest.mark.parametrize(
    ("environment", "blocked", "expected"),
    [
        ({}, (), {"builtin", "one", "two"}),
        ({}, ("two",), {"builtin", "one"}),
        ({}, ("builtin",), {"one", "two"}),
        ({"DARKMATTER_PLUGINS": "two"}, (), {"builtin", "two"}),
        ({"DARKMATTER_PLUGINS": " one , two "}, ("one",), {"builtin", "two"}),
        ({"DARKMATTER_PLUGINS": ""}, (), {"builtin"}),
    ],
)
def test_what_may_load(entry_points, modules, environment, blocked, expected):
    """-p no:NAME blocks anyone; the allow-list speaks about what others installed."""
    modules(one=plugin(evaluator("a")), two=plugin(evaluator("b")))
    entry_points(("one", "one", "dist-1"), ("two", "two", "dist-2"))
    host = make_host(Selection.from_environment(environment, blocked))
    assert {each.name for each in host.loaded} == expected


@pytest.mark.parametrize(("value", "strict"), [("1", True), ("0", False), ("", False), (None, False)])
def test_strictness_is_asked_for_by_the_environment(value, strict):
    """DARKMATTER_STRICT_PLUGINS=1 switches it on."""
    environment = {} if value is None else {"DARKMATTER_STRICT_PLUGINS": value}
    assert Selection.from_environment(environment).strict is strict


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_installation_changes_neither_listing_nor_failures(entry_points, modules, order):
    """Entry points are taken in the order of their names, not of the metadata."""
    modules(one=plugin(evaluator("same")), two=plugin(evaluator("same")))
    entry_points(("one", "one", "dist-1"), ("two", "two", "dist-2"), order=order)
    host = make_host(Selection())
    assert [each.name for each in host.loaded] == ["builtin", "one", "two"]
    assert [failure.name for failure in host.failures] == ["two"]


class Observer:
    """Counts events, then breaks."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def darkmatter_run_event(self, event):
        """Remember, then raise."""
        self.seen.append(event)
        message = "an observer"
        raise RuntimeError(message)


def test_an_observer_that_raises_never_breaks_a_run(monkeypatch, caplog):
    """Every observer hears every event, the results are those of a run without observers."""
    import torch

    import darkmatter as dm

    x = torch.randn(8, 4, 6, generator=torch.Generator().manual_seed(0))
    ask = {"activations": x, "evaluators": ["reconstruction"]}
    usual = dm.evaluate("baseline:pca,k=2", **ask).rows()
    first, second = Observer(), Observer()
    watched = make_host(Selection())
    watched.register(first, "first", "dist-1", "1.0")
    watched.register(second, "second", "dist-2", "1.0")
    monkeypatch.setattr("darkmatter.python_api.host", lambda: watched)
    assert dm.evaluate("baseline:pca,k=2", **ask).rows() == usual
    kinds = {type(event).__name__ for event in first.seen}
    assert {"RunStarted", "ResultWritten", "RunFinished"} <= kinds
    assert first.seen == second.seen
    assert "plugin 'first' failed" in caplog.text


def test_blocking_holds_until_it_is_taken_back():
    """`block` is for this process; `block_restored` is for tests of it."""
    with plugins.block_restored():
        plugins.block(["builtin"])
        assert plugins.host().evaluators() == {}
    assert "reconstruction" in plugins.host().evaluators()
