"""What a run has made, reused and failed at; every result goes through here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from darkmatter.errors import ItemError
from darkmatter.events import ItemFailed, ResultWritten
from darkmatter.plugins import PluginHost
from darkmatter.progress import Progress
from darkmatter.results.reading import StoredResult
from darkmatter.results.rows import ItemFailure
from darkmatter.results.schema import Result
from darkmatter.results.store import ResultStore
from darkmatter.runs.chosen import Chosen, Hooks, Identity
from darkmatter.runs.keys import provenance
from darkmatter.runs.writing import Draft, failed_result, skipped_result

WARNING = "warning: "
"""A note of a result that begins so is also said at the end of the run."""


@dataclass
class Recorder:
    """Finds results that are there, keeps those that are made, and notes what failed.

    ``cache_key`` and ``cache`` are key and description of the activations; ``analysis`` is what
    results record of rows, split and arithmetic (part of every key); ``counts`` adds the numbers of
    rows, which follow from it. ``l0`` has that of each SAE once, by hook points and name, wherever it
    is known from.
    """

    cache_key: str
    cache: dict[str, Any]
    analysis: dict[str, Any]
    counts: dict[str, Any]
    evaluators: Sequence[Chosen]
    plugins: PluginHost
    results: ResultStore | None
    progress: Progress
    recompute: bool = False
    done: list[StoredResult] = field(default_factory=list)
    failures: list[ItemFailure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reused: int = 0
    listed: tuple[str, ...] = ()
    assumed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    l0: dict[Hooks, dict[str, float]] = field(default_factory=dict)

    def key(
        self,
        chosen: Chosen,
        fingerprint: str,
        hooks: Hooks,
        dtype: str | None = None,
        beside: Sequence[Identity] = (),
    ) -> str:
        """The key of one result over these activations, see ``Chosen.key``."""
        return chosen.key(fingerprint, hooks, self.cache_key, self.analysis, dtype, beside)

    def reuse(
        self,
        draft: Draft,
        chosen: Chosen,
        fingerprint: str,
        hooks: Hooks,
        beside: Sequence[Identity] = (),
    ) -> bool:
        """Whether a result is there already; it is then taken over."""
        if self.results is None or self.recompute:
            return False
        found = self.results.find(self.key(chosen, fingerprint, hooks, draft.dtype, beside), draft.name)
        if found is None or not found.result.is_final:
            return False
        self.results.drop_failures(found.result)
        self._keep(found, hooks)
        self.reused += 1
        return True

    def _keep(self, stored: StoredResult, hooks: Hooks) -> None:
        self.done.append(stored)
        record = stored.result.sae
        if record.l0 is not None and not record.is_control:
            self.l0.setdefault(hooks, {})[record.name] = record.l0

    def write(self, made: StoredResult, chosen: Chosen, hooks: Hooks, timings: Mapping[str, float]) -> None:
        """Stamp a result with where it comes from, store it, and tell observers.

        One that differs from a stored result of its key is a failure; the stored one then stands.
        """
        extra: dict[str, Any] = {
            "cache": {"key": self.cache_key, **self.cache},
            "analysis": {**self.analysis, **self.counts},
            "provenance": provenance([chosen.owned, *(used.owned for used in chosen.uses)]),
            "timings": dict(timings),
        }
        stamped = StoredResult.in_memory(made.result.model_copy(update=extra), made.units())
        if self.results is not None:
            try:
                stamped = self.results.write(stamped.result, stamped.units())
            except ItemError as error:
                self._differs(stamped.result, str(error), hooks)
                return
            self.results.drop_failures(stamped.result)
        self._keep(stamped, hooks)
        result = stamped.result
        if not result.sae.is_control:
            warnings = [note for note in result.notes if note.startswith(WARNING)]
            self.warnings += [f"{result.sae.name}: {note.removeprefix(WARNING)}" for note in warnings]
        self.plugins.emit(ResultWritten(result.sae.name, result.evaluator.name, str(stamped.path or "")))

    def _differs(self, made: Result, reason: str, hooks: Hooks) -> None:
        name = f"{made.sae.name} / {made.evaluator.name}"
        self.announce(name, reason, is_control=made.sae.is_control)
        assert self.results is not None
        stored = self.results.find(made.key, made.sae.name)
        assert stored is not None
        self.results.drop_failures(stored.result)
        self._keep(stored, hooks)

    def fail(self, draft: Draft, reason: str, wanted: Sequence[Chosen] | None = None) -> None:
        """An SAE that cannot be used: a failed result per evaluator, so that later tables show it too.

        ``wanted`` are the evaluators whose results were still to be made; None: all that measure it.
        """
        self.announce(draft.name, reason, is_control=draft.is_control)
        for chosen in self._measuring(draft) if wanted is None else wanted:
            key = self.key(chosen, f"failed:{draft.name}:{draft.reference}", ("", ""))
            self.write(failed_result(draft.unknown(key, chosen), reason), chosen, ("", ""), {})

    def skip(self, draft: Draft, reason: str) -> None:
        """An item that this run has no use for: a skipped result per evaluator."""
        for chosen in self._measuring(draft):
            key = self.key(chosen, f"skipped:{draft.name}:{draft.reference}", ("", ""))
            self.write(skipped_result(draft.unknown(key, chosen), reason), chosen, ("", ""), {})

    def in_order(self) -> list[StoredResult]:
        """All results by SAE as the run lists them, then controls, then families; by evaluator within.

        Those that are reused are known before any SAE is encoded, and must not stand elsewhere for it.
        """
        found = [each.result.sae.name for each in self.done]
        place = {name: rank for rank, name in enumerate(dict.fromkeys([*self.listed, *found]))}
        evaluators = [each.evaluator.name for each in self.evaluators]

        def rank(stored: StoredResult) -> tuple[bool, bool, int, int]:
            sae, made_by = stored.result.sae, stored.result.evaluator.name
            return bool(sae.members), sae.is_control, place[sae.name], evaluators.index(made_by)

        return sorted(self.done, key=rank)

    def _measuring(self, draft: Draft) -> list[Chosen]:
        return [each for each in self.evaluators if each.measures(draft.name, control=draft.is_control)]

    def announce(self, item: str, reason: str, *, is_control: bool) -> None:
        """Note a failure and say it now."""
        self.failures.append(ItemFailure(item, reason, is_control=is_control))
        self.progress.note(f"failed: {item}: {reason}")
        self.plugins.emit(ItemFailed(item, reason))
