"""Which result of now belongs to which of the baseline, and what is said where none does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from darkmatter.errors import did_you_mean
from darkmatter.results.checked import CheckedMetric, Verdict
from darkmatter.results.comparable import hardware_notes, other_company, why_not_comparable
from darkmatter.results.judging import Judge
from darkmatter.results.reading import StoredResult

_NO_SAE = "SAE not in the baseline"
_NO_RESULT = "result not in the baseline"
_NO_METRIC = "metric not in the baseline"

_Hooks = dict[str, list[StoredResult]]
_Index = dict[tuple[str, str], _Hooks]
"""Results by SAE and evaluator, then by hook point; an SAE that could not be read has none."""


class Matching:
    """The results of both sides, found by what they are of; ``notes`` fill while rows are taken."""

    def __init__(self, before: Sequence[StoredResult], now: Sequence[StoredResult], judge: Judge) -> None:
        self.judge = judge
        self.notes: list[str] = []
        self._before, self._now = _indexed(before), _indexed(now)
        self._saes_before = dict.fromkeys(entry.result.sae.name for entry in before)
        self._saes_now = _by_sae(now)
        self._answered: set[int] = set()
        """Results of now for which something was said."""

    def of_baseline(self) -> Iterator[CheckedMetric]:
        """What is said of everything that the baseline has."""
        for name in self._saes_before:
            if name not in self._saes_now:
                close = did_you_mean(name, self._saes_now) if self._saes_now else "There are none of any SAE."
                reason = f"the baseline has this SAE, and now there is no result of it. {close}"
                yield CheckedMetric(name, "", "", "", "red", reason)
        for subject, hooks in self._before.items():
            for hook, entries in hooks.items() if subject[0] in self._saes_now else ():
                cell = _Cell.of(hook, entries, self._now.get(subject, {}))
                for entry in entries:
                    yield from self._result(entry, cell)

    def of_now_alone(self) -> Iterator[CheckedMetric]:
        """What now has and the baseline has not: nothing to compare with, but a failure is one."""
        for name, own in self._saes_now.items():
            rows = [row for entry in own if id(entry) not in self._answered for row in self._alone(entry)]
            if not rows and name not in self._saes_before:
                rows = [CheckedMetric(name, own[0].result.sae.hook, "", "", "not compared", _NO_SAE)]
            yield from rows

    def _alone(self, entry: StoredResult) -> Iterator[CheckedMetric]:
        result = entry.result
        if result.status == "failed":
            reason = f"{result.evaluator.name} failed: {result.reason}"
            yield CheckedMetric.of(entry, None, "error", reason)
        why = _NO_RESULT if result.sae.name in self._saes_before else _NO_SAE
        hooks = self._before.get(_subject(entry), {})
        for other in (*hooks.get(result.sae.hook, ()), *hooks.get("", ())):
            if other.result.status != "ok":
                why = f"{other.result.status} in the baseline: {other.result.reason}"
        for metric in result.metrics:
            row = self.judge.without_baseline(entry, metric, why)
            if row is not None:
                yield row

    def _result(self, entry: StoredResult, cell: _Cell) -> Iterator[CheckedMetric]:
        """What is said of one result of the baseline, whose SAE is there now."""
        result = entry.result
        if result.status != "ok":
            # Where it works now, its metrics are among those that now has alone.
            if not any(other.result.status == "ok" for other in cell.there):
                self._answered.update(map(id, cell.there))
                reason = f"{result.status} in the baseline: {result.reason}"
                yield CheckedMetric.of(entry, None, "left out", reason)
            return
        exact = _comparable(entry, cell.now)
        partner, verdict, reason = cell.partner(entry, exact)
        if partner is None:
            self._answered.update(map(id, (*exact, *cell.free, *cell.unread)))
            yield CheckedMetric.of(entry, None, verdict, reason)
            return
        self._answered.add(id(partner))
        self.notes.extend(
            f"{result.sae.name}, {result.evaluator.name}: {note}"
            for note in hardware_notes(result, partner.result)
        )
        yield from self._metrics(entry, partner)

    def _metrics(self, entry: StoredResult, partner: StoredResult) -> Iterator[CheckedMetric]:
        """All metrics of two results, those of the baseline first."""
        now = {metric.name: metric for metric in partner.result.metrics}
        for metric in entry.result.metrics:
            row = self.judge.pair(entry, metric, partner, now.pop(metric.name, None))
            if row is not None:
                yield row
        for metric in now.values():
            row = self.judge.without_baseline(partner, metric, _NO_METRIC)
            if row is not None:
                yield row


@dataclass(frozen=True)
class _Cell:
    """The results of one SAE, evaluator and hook point: several where options or data differ.

    ``free`` are those of now that are comparable with none of the baseline, ``unread`` the failures of
    an SAE whose hook point nobody knows, ``there`` all that may be meant by a result that failed.
    """

    before: Sequence[StoredResult]
    now: Sequence[StoredResult]
    free: Sequence[StoredResult]
    unread: Sequence[StoredResult]
    there: Sequence[StoredResult]
    elsewhere: Sequence[str]

    @classmethod
    def of(cls, hook: str, before: Sequence[StoredResult], hooks: _Hooks) -> _Cell:
        now, unread = hooks.get(hook, []), hooks.get("", [])
        free = [other for other in now if not _comparable(other, before)]
        there = [*now, *unread] if hook else [other for own in hooks.values() for other in own]
        return cls(before, now, free, unread, there, [other for other in hooks if other not in {hook, ""}])

    def partner(
        self, entry: StoredResult, exact: Sequence[StoredResult]
    ) -> tuple[StoredResult | None, Verdict, str]:
        """The one result to compare with, or verdict and reason where there is none."""
        result = entry.result
        twins = _comparable(entry, self.before)
        for several, where in ((twins, "the baseline"), (exact, "what is checked")):
            if len(several) > 1:
                weights = {other.result.sae.fingerprint for other in several}
                how = "of different weights" if len(weights) > 1 else "of which one may have failed"
                reason = f"{where} has {len(several)} results for it, {how}; keep one per folder"
                return None, "error", reason
        if exact and exact[0].result.status == "ok":
            return exact[0], "green", ""
        for other in (*exact, *self.free, *self.unread):
            if other.result.status != "ok":
                return None, "red", f"{other.result.status} now: {other.result.reason}"
        if not self.free:
            reason = f"{result.evaluator.name} has no result for it now; the baseline has one"
            if self.elsewhere:
                reason += f" at {result.sae.hook}, and now there is one at {', '.join(self.elsewhere)}"
            return None, "red", reason
        nearest, result_there = min(
            ((why_not_comparable(result, other.result), other.result) for other in self.free),
            key=lambda found: len(found[0]),
        )
        if nearest == other_company(result, result_there):
            return None, "not compared", f"other SAEs shaped it ({nearest[0]}); make the baseline again"
        reason = f"not comparable with the baseline: {'; '.join(nearest)}. Make the baseline again"
        return None, "error", reason


def _comparable(entry: StoredResult, others: Iterable[StoredResult]) -> list[StoredResult]:
    return [other for other in others if not why_not_comparable(entry.result, other.result)]


def _subject(entry: StoredResult) -> tuple[str, str]:
    return entry.result.sae.name, entry.result.evaluator.name


def _indexed(entries: Sequence[StoredResult]) -> _Index:
    index: _Index = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        index[_subject(entry)][entry.result.sae.hook].append(entry)
    return index


def _by_sae(entries: Sequence[StoredResult]) -> dict[str, list[StoredResult]]:
    found: dict[str, list[StoredResult]] = {}
    for entry in entries:
        found.setdefault(entry.result.sae.name, []).append(entry)
    return found
