"""The evaluators of a run: which, with what options, and the keys of what they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from darkmatter.descriptors import Config, Evaluator, Requirement
from darkmatter.errors import UsageError
from darkmatter.plugins import BUILTIN_DISTRIBUTION, Owned, PluginHost
from darkmatter.runs.keys import result_key
from darkmatter.runs.suite import explain

Hooks = tuple[str, str]
"""The hook points that an SAE reads and predicts."""

Identity = tuple[str, str, str]
"""Name, hook point read and fingerprint of an SAE that shapes another one's result."""


@dataclass(frozen=True)
class Chosen:
    """An evaluator with its configuration; ``only`` are the SAEs that it measures, None: all."""

    owned: Owned
    config: Config
    only: tuple[str, ...] | None = None

    @property
    def evaluator(self) -> Evaluator:
        """Its descriptor."""
        assert isinstance(self.owned.descriptor, Evaluator)
        return self.owned.descriptor

    def measures(self, name: str, *, control: bool) -> bool:
        """Whether this run wants a result of it on one SAE or control."""
        evaluator = self.evaluator
        spared = (control and not evaluator.controls) or (self.only is not None and name not in self.only)
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
        return result_key(self.owned, config, fingerprint, hooks, cache_key, analysis, dtype, beside)


def choose_evaluators(
    host: PluginHost,
    asked: Mapping[str, Mapping[str, Any]] | None,
    only: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Chosen]:
    """Evaluators with checked options; by default all built-in ones that train nothing.

    Training takes minutes an SAE: naming the evaluator is what grants the budget for it, and ``only``
    for which SAEs.
    """
    if asked is None:
        offered = host.owned("evaluators")
        asked = {name: {} for name, each in offered.items() if _runs_by_default(each)}
    chosen = []
    for name, options in asked.items():
        owned = host.get("evaluators", name)
        evaluator = owned.descriptor
        assert isinstance(evaluator, Evaluator)
        try:
            config = evaluator.config.model_validate(dict(options))
        except ValidationError as error:
            raise UsageError(explain(error, evaluator.config, f"evaluator {name!r}")) from None
        chosen.append(Chosen(owned, config, (only or {}).get(name)))
    return chosen


def _runs_by_default(owned: Owned) -> bool:
    evaluator = owned.descriptor
    trains = isinstance(evaluator, Evaluator) and Requirement.TRAINING in evaluator.requires
    return owned.distribution == BUILTIN_DISTRIBUTION and not trains
