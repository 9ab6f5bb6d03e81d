"""The plugin host and a zoo of plugins, most of them broken in one way each."""

import dataclasses
import itertools
import json
import types

import pytest
from pydantic import ConfigDict

from darkmatter import api
from darkmatter.errors import PluginError, UsageError
from darkmatter.hookspecs import hookimpl
from darkmatter.plugins import PluginHost, Selection


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


class WrongArgument:
    """A hook with an argument that does not exist."""

    @hookimpl
    def darkmatter_run_event(self, evnet):
        """Misspelt."""


class UnknownHook:
    """A hook that does not exist."""

    @hookimpl
    def darkmatter_evaluator(self):
        """Misspelt."""
        return [evaluator()]


class RaisesLate:
    """A generator that raises after it gave something."""

    @hookimpl
    def darkmatter_evaluators(self):
        """Give one, then break."""
        yield evaluator("early")
        message = "too late"
        raise RuntimeError(message)


class BadConfig(api.Config):
    """Lets everything pass."""

    model_config = ConfigDict(extra="allow")


class NoSchema(api.Config):
    """Has a field that JSON does not know."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    module: types.ModuleType = types


ZOO = {
    "wrong argument": (WrongArgument(), "evnet"),
    "unknown hook": (UnknownHook(), "darkmatter_evaluator"),
    "raises late": (RaisesLate(), "too late"),
    "wrong type": (plugin("reconstruction"), "must return Evaluator descriptors, got str"),
    "other kind": (plugin(evaluator(), hook="darkmatter_baselines"), "must return Baseline descriptors"),
    "no list": (module(darkmatter_evaluators=lambda: evaluator()), "return a list"),
    "nothing": (module(darkmatter_evaluators=lambda: None), "returned None"),
    "unhashable": (types.SimpleNamespace(), "unhashable"),
    "bad name": (plugin(evaluator("Bad-Name")), "does not match"),
    "name with newline": (plugin(evaluator("good\n")), "does not match"),
    "wrong api_version": (plugin(evaluator(api_version=2)), "written for API 2, this is API 1"),
    "version 0": (plugin(evaluator(version=0)), "expected an integer from 1 up"),
    "no summary": (plugin(evaluator(summary=" ")), "write one line"),
    "no implementation": (plugin(evaluator(implementation="a module")), "'package.module:object'"),
    "config of another kind": (plugin(evaluator(config=dict)), "subclass of darkmatter.api.Config"),
    "config that takes all": (plugin(evaluator(config=BadConfig)), "extra='forbid'"),
    "config without a schema": (plugin(evaluator(config=NoSchema)), "has no JSON schema"),
    "no metrics": (plugin(evaluator(metrics=())), "declares no metrics"),
    "a range that is none": (plugin(evaluator(metrics=(api.Metric("m", "m", low=1, high=0),))), "range"),
    "a metric twice": (plugin(evaluator(metrics=(api.Metric("m", "m"),) * 2)), "more than once"),
    "globs in a string": (
        plugin(
            api.SAEAdapter("toy", "Toys.", "a:b", filenames="*.toy", detect=print),
            hook="darkmatter_sae_adapters",
        ),
        "expected a tuple of globs",
    ),
    "companions in a string": (
        plugin(
            api.SAEAdapter("toy", "Toys.", "a:b", filenames=("*.toy",), companions="*.x", detect=print),
            hook="darkmatter_sae_adapters",
        ),
        "the companions of 'toy' are '*.x'; expected a tuple of globs",
    ),
}
"""What is broken -> the plugin and what its failure must say."""


def host_of(*named, **selection):
    """A host with (plugin, name, distribution) registered in this order."""
    host = PluginHost(Selection(**selection))
    for content, name, distribution in named:
        host.register(content, name, distribution, "1.0")
    return host


def test_a_good_plugin_is_loaded_with_its_provenance():
    """What a plugin offers is known by its bare and its qualified name."""
    host = host_of((plugin(evaluator()), "mine", "my-dist"))
    assert [(p.name, p.distribution, p.hooks) for p in host.loaded] == [
        ("mine", "my-dist", ("darkmatter_evaluators",))
    ]
    assert host.failures == []
    assert host.get("evaluators", "good") is host.get("evaluators", "my-dist/good")
    assert host.get("evaluators", "good").qualified == "my-dist/good"


@pytest.mark.parametrize("kind", ZOO)
def test_a_broken_plugin_is_a_failure_and_the_others_work(kind):
    """Each way to be broken is recorded with its traceback and takes nothing else down."""
    broken, says = ZOO[kind]
    host = host_of((plugin(evaluator("a")), "a", "dist-a"), (broken, "bad", "dist-b"))
    host.register(plugin(evaluator("z")), "z", "dist-z", "1.0")
    assert set(host.evaluators()) == {"a", "z"}
    (failure,) = host.failures
    assert (failure.name, failure.distribution) == ("bad", "dist-b")
    assert says in failure.traceback
    assert "Traceback" in failure.traceback or "PluginError" in failure.traceback


@pytest.mark.parametrize("kind", ZOO)
def test_strict_mode_raises_for_every_kind_of_broken_plugin(kind):
    """CI and authors get an error that names plugin and distribution."""
    broken, _ = ZOO[kind]
    with pytest.raises(PluginError, match=r"plugin 'bad' of dist-b 1\.0 failed"):
        host_of((broken, "bad", "dist-b"), strict=True)


def test_a_name_that_two_offer_must_be_qualified():
    """Neither wins: the bare name is an error that names both."""
    host = host_of((plugin(evaluator()), "one", "dist-1"), (plugin(evaluator()), "two", "dist-2"))
    assert sorted(host.evaluators()) == ["dist-1/good", "dist-2/good"]
    with pytest.raises(UsageError, match=r"say 'dist-1/good' or 'dist-2/good'"):
        host.get("evaluators", "good")
    assert host.get("evaluators", "dist-2/good").plugin == "two"
    assert "-p no:two" in host.failures[0].reason


def test_a_name_offered_twice_by_one_plugin_is_kept_once():
    """The second of two equal names of one distribution is left out and said."""
    first, second = evaluator(summary="First."), evaluator(summary="Second.")
    host = host_of((plugin(first, second), "one", "dist-1"))
    assert host.get("evaluators", "good").descriptor is first
    assert "twice" in host.failures[0].reason


def test_two_distributions_may_use_the_same_entry_point_name():
    """A second plugin of the same name does not push the first one out."""
    host = host_of((plugin(evaluator("a")), "extra", "dist-1"), (plugin(evaluator("b")), "extra", "dist-2"))
    assert set(host.evaluators()) == {"a", "b"}
    assert host.failures == []


def test_registering_a_plugin_twice_keeps_the_first():
    """One distribution's entry point, seen twice, is a failure of the second only."""
    again = plugin(evaluator())
    host = host_of((again, "one", "dist-1"), (again, "one", "dist-1"))
    assert set(host.evaluators()) == {"good"}
    assert len(host.loaded) == len(host.failures) == 1
    host.emit(api.RunEvent())


def test_an_unknown_name_names_the_nearest():
    """A misspelt evaluator is a usage error with the right one in it."""
    host = host_of((plugin(evaluator("concentration")), "one", "dist-1"))
    with pytest.raises(UsageError, match="'concentration'"):
        host.get("evaluators", "concentrations")


def test_the_order_of_registration_changes_no_listing():
    """Every order gives the same names, owners and errors."""
    named = [
        (plugin(evaluator("x"), evaluator("y")), "one", "dist-1"),
        (plugin(evaluator("y"), evaluator("z")), "two", "dist-2"),
        (plugin(evaluator("y")), "three", "dist-3"),
    ]
    seen = set()
    for order in itertools.permutations(named):
        host = host_of(*order)
        with pytest.raises(UsageError) as error:
            host.get("evaluators", "y")
        listing = {name: owned.qualified for name, owned in host.owned("evaluators").items()}
        seen.add((json.dumps(listing), str(error.value)))
    assert len(seen) == 1
