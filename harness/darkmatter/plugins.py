"""The plugin host: finds plugins, calls them one by one, and survives the broken ones.

Built-in plugins come through the same entry point as everyone's. pluggy calls all implementations
of a hook together, so that one that raises takes the others' results down; and a plugin that fails
validation stays registered. Hence each plugin is called alone (``subset_hook_caller``), inside a
``try``, and one that fails to load or to validate is taken out again and kept as a failure that
``darkmatter plugins`` shows. Strict mode (``DARKMATTER_STRICT_PLUGINS=1``, for CI and plugin
authors) raises instead.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

from darkmatter import hookspecs
from darkmatter.descriptors import (
    API_VERSION,
    NAME_GRAMMAR,
    ActivationSource,
    Baseline,
    Descriptor,
    EmbeddedSuite,
    Evaluator,
    Reporter,
    SAEAdapter,
)
from darkmatter.errors import PluginError, UsageError, did_you_mean
from darkmatter.events import RunEvent

BUILTIN_DISTRIBUTION = "sae-darkmatter"

KINDS: dict[str, tuple[str, type[Descriptor]]] = {
    "adapters": ("darkmatter_sae_adapters", SAEAdapter),
    "evaluators": ("darkmatter_evaluators", Evaluator),
    "baselines": ("darkmatter_baselines", Baseline),
    "sources": ("darkmatter_activation_sources", ActivationSource),
    "reporters": ("darkmatter_reporters", Reporter),
    "suites": ("darkmatter_suites", EmbeddedSuite),
}
"""Kind of descriptor -> the hook that collects it and its type."""

_log = logging.getLogger("darkmatter.plugins")


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin that is in use."""

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]


@dataclass(frozen=True)
class PluginFailure:
    """A plugin, or one hook of it, that is not in use, and why."""

    name: str
    distribution: str
    version: str
    traceback: str

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return self.traceback.strip().splitlines()[-1]


@dataclass(frozen=True)
class Owned:
    """A descriptor and the distribution that brought it."""

    descriptor: Descriptor
    plugin: str
    distribution: str
    version: str

    @property
    def qualified(self) -> str:
        """``distribution/name``, which is unique; results record it."""
        return f"{self.distribution}/{self.descriptor.name}"


@dataclass(frozen=True)
class Selection:
    """Which plugins may load: an allow-list (None = all), a block-list, and strictness."""

    allowed: frozenset[str] | None = None
    blocked: frozenset[str] = frozenset()
    strict: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], blocked: Iterable[str] = ()) -> Selection:
        """``DARKMATTER_PLUGINS=a,b`` allows (empty: none), ``DARKMATTER_STRICT_PLUGINS=1`` raises."""
        names = environ.get("DARKMATTER_PLUGINS")
        allowed = None if names is None else frozenset(name for name in names.split(",") if name)
        strict = environ.get("DARKMATTER_STRICT_PLUGINS", "") not in {"", "0"}
        return cls(allowed, frozenset(blocked), strict)

    def admits(self, name: str) -> bool:
        """Whether the plugin of this entry-point name may load."""
        return name not in self.blocked and (self.allowed is None or name in self.allowed)


@dataclass
class PluginHost:
    """All plugins of this process, with what they offer."""

    selection: Selection
    loaded: list[LoadedPlugin] = field(default_factory=list)
    failures: list[PluginFailure] = field(default_factory=list)
    _manager: pluggy.PluginManager = field(init=False)
    _owned: dict[str, dict[str, Owned]] = field(default_factory=dict)
    _conflicts: dict[str, dict[str, list[Owned]]] = field(default_factory=dict)
    _sources: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.GROUP)
        self._manager.add_hookspecs(hookspecs)

    # -- loading ------------------------------------------------------------------------------

    def load_entry_points(self) -> None:
        """Load every admitted plugin of the entry-point group, in the order of their names."""
        found = importlib.metadata.entry_points(group=hookspecs.GROUP)
        for entry in sorted(found, key=lambda entry: (entry.name, entry.value)):
            if not self.selection.admits(entry.name):
                continue
            distribution = entry.dist.name if entry.dist else "unknown"
            version = entry.dist.version if entry.dist else "unknown"
            try:
                plugin = entry.load()
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                self._fail(entry.name, distribution, version, error)
                continue
            self.register(plugin, entry.name, distribution, version)

    def register(self, plugin: object, name: str, distribution: str, version: str) -> None:
        """Take in one plugin (a module or an object with hook implementations) and its offers."""
        try:
            self._manager.register(plugin, name=name)
            # Misspelt hooks are silently ignored by pluggy unless asked for.
            self._manager.check_pending()
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            self._fail(name, distribution, version, error)
            return
        self._sources[name] = (distribution, version)
        callers = self._manager.get_hookcallers(plugin) or []
        hooks = tuple(sorted(caller.name for caller in callers))
        self.loaded.append(LoadedPlugin(name, distribution, version, hooks))
        for kind, (hook, descriptor_type) in KINDS.items():
            if hook in hooks:
                self._collect(kind, hook, descriptor_type, name)

    def _alone(self, hook: str, name: str) -> pluggy.HookCaller:
        """The hook's caller that reaches one plugin only."""
        me = self._manager.get_plugin(name)
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not me]
        return self._manager.subset_hook_caller(hook, others)

    def _collect(self, kind: str, hook: str, expected: type[Descriptor], name: str) -> None:
        distribution, version = self._sources[name]
        try:
            # A hook written as a generator raises only here, while it is iterated.
            offers = [offer for result in self._alone(hook, name)() for offer in result]
            for offer in offers:
                _validate(offer, expected, hook)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self._fail(name, distribution, version, error)
            return
        for offer in offers:
            self._add(kind, Owned(offer, name, distribution, version))

    def _add(self, kind: str, new: Owned) -> None:
        """Add a descriptor; a name that is taken becomes usable only as ``distribution/name``."""
        owned = self._owned.setdefault(kind, {})
        if new.qualified in owned:
            self._fail_conflict(kind, new, owned[new.qualified])
            return
        owned[new.qualified] = new
        others = [
            o for q, o in owned.items() if q != new.qualified and o.descriptor.name == new.descriptor.name
        ]
        if others:
            conflicts = self._conflicts.setdefault(kind, {})
            conflicts[new.descriptor.name] = [*others, new]
            self._fail_conflict(kind, new, others[0])

    def _fail_conflict(self, kind: str, new: Owned, old: Owned) -> None:
        message = (
            f"two plugins offer the {kind[:-1]} {new.descriptor.name!r}: {old.distribution} "
            f"{old.version} and {new.distribution} {new.version}. Use the names {old.qualified!r} and "
            f"{new.qualified!r}, uninstall one, or block one with -p no:{new.plugin}."
        )
        self._fail(new.plugin, new.distribution, new.version, PluginError(message))

    def _fail(self, name: str, distribution: str, version: str, error: Exception) -> None:
        if self.selection.strict:
            message = f"plugin {name!r} of {distribution} {version} failed: {error}"
            raise PluginError(message) from error
        trace = "".join(traceback.format_exception(error))
        self.failures.append(PluginFailure(name, distribution, version, trace))
        _log.warning("plugin %r of %s %s is not in use: %s", name, distribution, version, error)

    # -- what plugins offer ---------------------------------------------------------------------

    def owned(self, kind: str) -> dict[str, Owned]:
        """Everything of one kind by its shortest unambiguous name, sorted by name."""
        conflicts = self._conflicts.get(kind, {})
        named: dict[str, Owned] = {}
        for qualified, owned in self._owned.get(kind, {}).items():
            bare = owned.descriptor.name
            if bare not in conflicts:
                named[bare] = owned
                continue
            named[qualified] = owned
            if owned.distribution == BUILTIN_DISTRIBUTION:
                named[bare] = owned  # a built-in's name cannot be taken away by an installation
        return dict(sorted(named.items()))

    def get(self, kind: str, name: str) -> Owned:
        """One descriptor by bare or qualified name; an unknown name names the nearest."""
        qualified = self._owned.get(kind, {})
        names = self.owned(kind)
        if name in names or name in qualified:
            return names.get(name) or qualified[name]
        rivals = self._conflicts.get(kind, {}).get(name)
        if rivals:
            choices = " or ".join(repr(rival.qualified) for rival in rivals)
            message = f"the {kind[:-1]} name {name!r} is offered by several plugins; say {choices}."
            raise UsageError(message)
        hint = did_you_mean(name, names)
        message = f"there is no {kind[:-1]} called {name!r}. {hint} `darkmatter list {kind}` shows all."
        raise UsageError(message)

    def _descriptors(self, kind: str) -> dict[str, Any]:
        return {name: owned.descriptor for name, owned in self.owned(kind).items()}

    def adapters(self) -> dict[str, SAEAdapter]:
        """All SAE adapters by name."""
        return self._descriptors("adapters")

    def evaluators(self) -> dict[str, Evaluator]:
        """All evaluators by name."""
        return self._descriptors("evaluators")

    def baselines(self) -> dict[str, Baseline]:
        """All baselines by name."""
        return self._descriptors("baselines")

    def sources(self) -> dict[str, ActivationSource]:
        """All activation sources by name."""
        return self._descriptors("sources")

    def reporters(self) -> dict[str, Reporter]:
        """All reporters by name."""
        return self._descriptors("reporters")

    def emit(self, event: RunEvent) -> None:
        """Tell every observer; what one raises is logged and changes nothing."""
        for plugin in self.loaded:
            if "darkmatter_run_event" not in plugin.hooks:
                continue
            try:
                self._alone("darkmatter_run_event", plugin.name)(event=event)
            except Exception:  # noqa: BLE001 - an observer may raise anything
                _log.exception("plugin %r failed on %s; the run goes on", plugin.name, event)


def _validate(offer: Any, expected: type[Descriptor], hook: str) -> None:
    """Refuse at load time what would otherwise fail hours into a run."""
    if not isinstance(offer, expected):
        message = f"{hook} must return {expected.__name__} descriptors, got {type(offer).__name__}"
        raise PluginError(message)
    if not NAME_GRAMMAR.match(offer.name):
        message = f"{hook}: the name {offer.name!r} does not match {NAME_GRAMMAR.pattern}"
        raise PluginError(message)
    if offer.api_version != API_VERSION:
        message = f"{hook}: {offer.name!r} was written for API {offer.api_version}, this is API {API_VERSION}"
        raise PluginError(message)
    if isinstance(offer, Evaluator | Baseline):
        offer.config.model_json_schema()


def make_host(selection: Selection) -> PluginHost:
    """A host with every admitted plugin loaded."""
    made = PluginHost(selection)
    made.load_entry_points()
    return made


_blocked: set[str] = set()


def block(names: Iterable[str]) -> None:
    """Never load these plugins in this process (the command line's ``-p no:NAME``)."""
    _blocked.update(names)
    host.cache_clear()


@functools.cache
def host() -> PluginHost:
    """The process's plugin host, loaded on first use."""
    return make_host(Selection.from_environment(os.environ, _blocked))
