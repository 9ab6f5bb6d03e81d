"""The plugin host: finds plugins, calls them one by one, and survives the broken ones.

Built-in plugins come through the same entry point as everyone's. pluggy calls all implementations
of a hook together, so that one that raises takes the others' results down; and a plugin that fails
validation stays registered. Hence each plugin is called alone (``subset_hook_caller``), inside a
``try``, and one that fails to load or to validate is taken out again and kept as a failure that
``darkmatter plugins`` shows. Strict mode (``DARKMATTER_STRICT_PLUGINS=1``, for CI and plugin
authors) raises instead.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import logging
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

from darkmatter import hookspecs
from darkmatter.descriptors import (
    ActivationSource,
    Baseline,
    Dataset,
    Descriptor,
    EmbeddedSuite,
    Evaluator,
    Figure,
    Reporter,
    SAEAdapter,
    SAECatalogue,
    Simulator,
)
from darkmatter.errors import PluginError
from darkmatter.events import RunEvent
from darkmatter.offers import BUILTIN_DISTRIBUTION as BUILTIN_DISTRIBUTION
from darkmatter.offers import Offers, conflict
from darkmatter.offers import Owned as Owned
from darkmatter.soundness import faults

KINDS: dict[str, tuple[str, type[Descriptor]]] = {
    "adapters": ("darkmatter_sae_adapters", SAEAdapter),
    "evaluators": ("darkmatter_evaluators", Evaluator),
    "baselines": ("darkmatter_baselines", Baseline),
    "sources": ("darkmatter_activation_sources", ActivationSource),
    "reporters": ("darkmatter_reporters", Reporter),
    "figures": ("darkmatter_figures", Figure),
    "suites": ("darkmatter_suites", EmbeddedSuite),
    "catalogues": ("darkmatter_sae_catalogues", SAECatalogue),
    "datasets": ("darkmatter_datasets", Dataset),
    "simulators": ("darkmatter_simulators", Simulator),
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

    @property
    def key(self) -> str:
        """``distribution/name``, which is unique."""
        return f"{self.distribution}/{self.name}"


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
class Selection:
    """Which plugins may load: an allow-list (None = all), a block-list, and strictness.

    The allow-list is about what others installed: built-ins load unless they are blocked by name.
    """

    allowed: frozenset[str] | None = None
    blocked: frozenset[str] = frozenset()
    strict: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], blocked: Iterable[str] = ()) -> Selection:
        """``DARKMATTER_PLUGINS=a,b`` allows (empty: none), ``DARKMATTER_STRICT_PLUGINS=1`` raises."""
        names = environ.get("DARKMATTER_PLUGINS")
        allowed = None if names is None else frozenset(filter(None, map(str.strip, names.split(","))))
        strict = environ.get("DARKMATTER_STRICT_PLUGINS", "") not in {"", "0"}
        return cls(allowed, frozenset(blocked), strict)

    def admits(self, name: str, *, builtin: bool = False) -> bool:
        """Whether the plugin of this entry-point name may load."""
        return name not in self.blocked and (builtin or self.allowed is None or name in self.allowed)


@dataclass
class PluginHost:
    """All plugins of this process, with what they offer."""

    selection: Selection = Selection()
    loaded: list[LoadedPlugin] = field(default_factory=list)
    failures: list[PluginFailure] = field(default_factory=list)
    _manager: pluggy.PluginManager = field(init=False)
    _offers: Offers = field(default_factory=Offers)

    def __post_init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.GROUP)
        self._manager.add_hookspecs(hookspecs)

    # -- loading ------------------------------------------------------------------------------

    def load_entry_points(self) -> None:
        """Load every admitted plugin of the entry-point group: built-ins, then others by name."""
        for entry in sorted(importlib.metadata.entry_points(group=hookspecs.GROUP), key=_place):
            distribution, version = _distribution(entry)
            if not self.selection.admits(entry.name, builtin=distribution == BUILTIN_DISTRIBUTION):
                continue
            try:
                plugin = entry.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything
                self._fail(entry.name, distribution, version, error)
                continue
            self.register(plugin, entry.name, distribution, version)

    def register(self, plugin: object, name: str, distribution: str, version: str) -> None:
        """Take in one plugin (a module or an object with hook implementations) and its offers."""
        key = f"{distribution}/{name}"  # two distributions may choose the same entry-point name
        try:
            hash(plugin)  # pluggy keeps plugins in sets: one that cannot be there breaks all others
            self._manager.register(plugin, name=key)
            # Misspelt hooks are silently ignored by pluggy unless asked for.
            self._manager.check_pending()
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            if self._manager.get_plugin(key) is plugin and not self._in_use(key):
                self._manager.unregister(name=key)
            self._fail(name, distribution, version, error)
            return
        callers = self._manager.get_hookcallers(plugin) or []
        hooks = tuple(sorted(caller.name for caller in callers))
        self.loaded.append(LoadedPlugin(name, distribution, version, hooks))
        for kind, (hook, descriptor_type) in KINDS.items():
            if hook in hooks:
                self._collect(kind, hook, descriptor_type, self.loaded[-1])

    def _in_use(self, key: str) -> bool:
        return any(plugin.key == key for plugin in self.loaded)

    def _alone(self, hook: str, key: str) -> pluggy.HookCaller:
        """The hook's caller that reaches one plugin only."""
        me = self._manager.get_plugin(key)
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not me]
        return self._manager.subset_hook_caller(hook, others)

    def _collect(self, kind: str, hook: str, expected: type[Descriptor], plugin: LoadedPlugin) -> None:
        try:
            offers = _offers_of(self._alone(hook, plugin.key)(), expected, hook)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self._fail(plugin.name, plugin.distribution, plugin.version, error)
            return
        for offer in offers:
            new = Owned(offer, plugin.name, plugin.distribution, plugin.version)
            rival = self._offers.add(kind, new)
            if rival is not None:
                clash = PluginError(conflict(kind, new, rival))
                self._fail(plugin.name, plugin.distribution, plugin.version, clash)

    def _fail(self, name: str, distribution: str, version: str, error: BaseException) -> None:
        if self.selection.strict:
            message = f"plugin {name!r} of {distribution} {version} failed: {error}"
            raise PluginError(message) from error
        trace = "".join(traceback.format_exception(error))
        self.failures.append(PluginFailure(name, distribution, version, trace))
        _log.warning("plugin %r of %s %s: %s", name, distribution, version, error)

    # -- what plugins offer ---------------------------------------------------------------------

    def owned(self, kind: str) -> dict[str, Owned]:
        """Everything of one kind by its shortest unambiguous name, sorted by name."""
        return self._offers.owned(kind)

    def find(self, kind: str, name: str) -> Owned | None:
        """One descriptor by bare or qualified name, if there is one."""
        return self._offers.find(kind, name)

    def get(self, kind: str, name: str) -> Owned:
        """One descriptor by bare or qualified name; an unknown name names the nearest."""
        return self._offers.get(kind, name)

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

    def datasets(self) -> dict[str, Dataset]:
        """All datasets by name."""
        return self._descriptors("datasets")

    def sources(self) -> dict[str, ActivationSource]:
        """All activation sources by name."""
        return self._descriptors("sources")

    def catalogues(self) -> dict[str, SAECatalogue]:
        """All catalogues of SAEs by name."""
        return self._descriptors("catalogues")

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        return self._descriptors("figures")

    def emit(self, event: RunEvent) -> None:
        """Tell every observer; what one raises is logged and changes nothing."""
        for plugin in self.loaded:
            if "darkmatter_run_event" not in plugin.hooks:
                continue
            try:
                self._alone("darkmatter_run_event", plugin.key)(event=event)
            except Exception:  # noqa: BLE001 - an observer may raise anything
                _log.exception("plugin %r failed on %s; the run goes on", plugin.name, event)


def _offers_of(results: list[Any], expected: type[Descriptor], hook: str) -> list[Any]:
    """The descriptors in what one plugin's hook returned; raises if it is anything else."""
    if not results:  # pluggy drops None
        message = f"{hook} returned None; return its descriptors, or an empty list"
        raise PluginError(message)
    if any(isinstance(result, Descriptor) for result in results):
        message = f"{hook} returned a descriptor; return a list of them"
        raise PluginError(message)
    # A hook written as a generator raises only here, while it is iterated.
    offers = [offer for result in results for offer in result]
    for offer in offers:
        if not isinstance(offer, expected):
            message = f"{hook} must return {expected.__name__} descriptors, got {type(offer).__name__}"
            raise PluginError(message)
        wrong = "; ".join(faults(offer))
        if wrong:
            message = f"{hook}: {wrong}"
            raise PluginError(message)
    return offers


def _distribution(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that declares an entry point."""
    return (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "unknown")


def _place(entry: importlib.metadata.EntryPoint) -> tuple[bool, str, str, str]:
    """Built-ins first, then by name: never by the order of installation."""
    distribution, _ = _distribution(entry)
    return distribution != BUILTIN_DISTRIBUTION, entry.name, entry.value, distribution


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


@contextlib.contextmanager
def block_restored() -> Iterator[None]:
    """Forget afterwards what was blocked inside."""
    before = set(_blocked)
    try:
        yield
    finally:
        if _blocked != before:
            _blocked.intersection_update(before)
            host.cache_clear()
