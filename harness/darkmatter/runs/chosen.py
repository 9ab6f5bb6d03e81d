"""The evaluators of a run: which, with what options, and the keys of what they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from darkmatter.choices import Choice, DatasetChoice
from darkmatter.descriptors import Config, Evaluator
from darkmatter.errors import UsageError
from darkmatter.plugins import BUILTIN_DISTRIBUTION, Owned, PluginHost
from darkmatter.runs.keys import result_key
from darkmatter.runs.suite import explain
from darkmatter.tasks import in_words

Hooks = tuple[str, str]
"""The hook points that an SAE reads and predicts."""

Identity = tuple[str, str, str]
"""Name, hook point read and fingerprint of an SAE that shapes another one's result."""

Judge = Callable[[Owned, Mapping[str, Any]], None]
"""Raises a DarkmatterError where a plugin shall not see such options: checking them may read files."""


def _anything(owned: Owned, options: Mapping[str, Any]) -> None:
    """The user's own options need no judge."""


@dataclass(frozen=True)
class Used:
    """A plugin that an evaluator's options name, as they name it, with its own checked options.

    ``alike`` names other datasets that give the same.
    """

    kind: str
    asked: str
    owned: Owned
    config: Config
    alike: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """What of it shapes a result, for keys."""
        return {
            "kind": self.kind,
            "name": self.owned.qualified,
            "version": self.owned.descriptor.version,
            "config": self.config.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Chosen:
    """An evaluator with its configuration; ``only`` are the SAEs that it measures, None: all.

    ``uses`` are the datasets and simulators that its options name.
    """

    owned: Owned
    config: Config
    only: tuple[str, ...] | None = None
    uses: tuple[Used, ...] = ()

    @property
    def evaluator(self) -> Evaluator:
        """Its descriptor."""
        assert isinstance(self.owned.descriptor, Evaluator)
        return self.owned.descriptor

    def measures(self, name: str, *, control: bool) -> bool:
        """Whether this run wants a result of it on one SAE or control.

        A control is named as in the suite, at whichever hook point it is fitted (``NAME@HOOK``).
        """
        evaluator = self.evaluator
        named = name.partition("@")[0] if control else name
        spared = (control and not evaluator.controls) or (self.only is not None and named not in self.only)
        return evaluator.scope == "sae" and not spared

    def key(
        self,
        fingerprint: str,
        hooks: Hooks,
        cache_key: str,
        analysis: dict[str, Any],
        dtype: str | None = None,
        beside: Sequence[Identity] = (),
    ) -> str:
        """The key of one result: ``dtype`` is the SAE's own, ``beside`` are others that shape it."""
        config = self.config.model_dump(mode="json")
        uses = [used.identity() for used in self.uses]
        return result_key(self.owned, config, fingerprint, hooks, cache_key, analysis, dtype, beside, uses)


def choose_evaluators(
    host: PluginHost,
    asked: Mapping[str, Mapping[str, Any]] | None,
    only: Mapping[str, tuple[str, ...]] | None = None,
    judge: Judge = _anything,
) -> list[Chosen]:
    """Evaluators with checked options; by default the built-in ones that run where none is named.

    What takes minutes an SAE does not: naming the evaluator is what grants the budget for it, and ``only``
    for which SAEs. The ``judge`` sees the options of each plugin before the plugin does.
    """
    if asked is None:
        asked = {name: {} for name in default_evaluators(host)}
    chosen = []
    for name, options in asked.items():
        owned = host.get("evaluators", name)
        evaluator = owned.descriptor
        assert isinstance(evaluator, Evaluator)
        what = f"evaluator {name!r}"
        judge(owned, options)
        config, uses = with_full_choices(_checked(evaluator.config, options, what), host, what, judge)
        chosen.append(Chosen(owned, config, (only or {}).get(name), uses))
    return chosen


def default_evaluators(host: PluginHost) -> list[str]:
    """Names of the evaluators of a run that names none."""
    return [name for name, each in host.owned("evaluators").items() if _runs_by_default(each)]


def _checked(config: type[Config], options: Mapping[str, Any], what: str) -> Config:
    try:
        return config.model_validate(dict(options))
    except ValidationError as error:
        raise UsageError(explain(error, config, what)) from None


def with_full_choices(
    config: Config, host: PluginHost, what: str, judge: Judge = _anything
) -> tuple[Config, tuple[Used, ...]]:
    """A configuration whose choices have all their options, defaults included; and what it chose."""
    uses, full = [], {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        several = isinstance(value, tuple)
        choices = [each for each in (value if several else (value,)) if isinstance(each, Choice)]
        if not choices:
            continue
        found = [_used(each, host, f"{what}, field {name!r}", judge) for each in choices]
        uses += found
        completed = [
            each.model_copy(update={"options": used.config.model_dump(mode="json")})
            for each, used in zip(choices, found, strict=True)
        ]
        full[name] = tuple(completed) if several else completed[0]
    if not full:
        return config, ()
    # Checked once more: what an evaluator asks of its choices it sees only now, defaults included.
    completed_config = config.model_copy(update=full)
    return _checked(type(config), completed_config.model_dump(), what), tuple(uses)


def _used(choice: Choice, host: PluginHost, what: str, judge: Judge) -> Used:
    owned = host.get(choice.kind, choice.name)
    descriptor: Any = owned.descriptor  # every kind that can be chosen has options
    judge(owned, choice.options)
    alike: list[str] = []
    if isinstance(choice, DatasetChoice):
        wanted = choice.gives or descriptor.gives
        alike = [name for name, each in host.datasets().items() if each.gives == wanted]
        if descriptor.gives != wanted:
            message = (
                f"{what}: the dataset {choice.name!r} gives {in_words(descriptor.gives)}, expected "
                f"{in_words(wanted)}. Datasets that give them: {', '.join(alike) or 'none is installed'}."
            )
            raise UsageError(message)
    config = _checked(descriptor.config, choice.options, f"{what}, {choice.name!r}")
    return Used(choice.kind, choice.name, owned, config, tuple(each for each in alike if each != choice.name))


def _runs_by_default(owned: Owned) -> bool:
    evaluator = owned.descriptor
    assert isinstance(evaluator, Evaluator)
    return owned.distribution == BUILTIN_DISTRIBUTION and evaluator.by_default
