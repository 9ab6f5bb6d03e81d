"""From an evaluator's output to a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from darkmatter.files.atomic import canonical_json
from darkmatter.files.text import strict_json
from darkmatter.output import EvalOutput
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import EvaluatorRecord, Result, SAERecord
from darkmatter.results.units import Units
from darkmatter.runs.chosen import Chosen, Hooks


@dataclass(frozen=True)
class Draft:
    """What a result says about its SAE before anything is measured."""

    name: str
    reference: str
    adapter: str
    is_control: bool
    assumptions: tuple[str, ...]
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> str | None:
        """The arithmetic that was stated for this SAE alone, if one was."""
        return self.overrides.get("dtype")

    def of(self, hooks: Hooks, fingerprint: str, key: str, chosen: Chosen, **found: Any) -> ResultDraft:
        """The draft of one result; ``found`` are the fields of its record that the weights tell."""
        record = SAERecord(
            name=self.name,
            reference=self.reference,
            fingerprint=fingerprint,
            hook=hooks[0],
            hook_out=hooks[1],
            is_control=self.is_control,
            adapter=self.adapter,
            assumptions=self.assumptions,
            overrides=self.overrides,
            **found,
        )
        return ResultDraft(record, key, chosen)

    def unknown(self, key: str, chosen: Chosen) -> ResultDraft:
        """The draft of a failed result on an SAE that could not be loaded."""
        record = SAERecord(
            name=self.name,
            reference=self.reference,
            fingerprint="unknown",
            hook="",
            hook_out="",
            d_in=0,
            d_sae=0,
            is_control=self.is_control,
        )
        return ResultDraft(record, key, chosen)


@dataclass(frozen=True)
class ResultDraft:
    """A result without its findings."""

    sae: SAERecord
    key: str
    chosen: Chosen
    beside: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The SAE's name."""
        return self.sae.name

    def result(self, status: Literal["ok", "skipped", "failed"], **fields: Any) -> Result:
        """The result; cache, analysis, provenance and timings are stamped on later."""
        owned = self.chosen.owned
        return Result(
            key=self.key,
            status=status,
            sae=self.sae,
            beside=self.beside,
            evaluator=EvaluatorRecord(
                name=owned.descriptor.name,
                version=owned.descriptor.version,
                distribution=f"{owned.distribution} {owned.version}",
            ),
            config=self.chosen.config.model_dump(mode="json"),
            cache={},
            analysis={},
            **{"metrics": (), **fields},
        )


def finished_result(draft: ResultDraft, output: EvalOutput) -> StoredResult:
    """The result of an evaluator that ran, with its per-unit sums."""
    result = draft.result(
        "ok",
        metrics=tuple(output.metrics),
        tables=output.tables,
        curves=output.curves,
        notes=(*output.notes, *([f"warning: unfinished: {output.unfinished}"] if output.unfinished else [])),
        unfinished=output.unfinished or None,
    )
    _require_storable(result)
    used = {e.numerator for e in output.estimators.values()} | {
        e.denominator for e in output.estimators.values() if e.denominator
    }
    columns = {name: column for name, column in output.columns.items() if name in used}
    if not columns or any(len(column) != output.n_units for column in columns.values()):
        return StoredResult.in_memory(result)
    ids = np.arange(output.n_units, dtype=np.int64)
    units = Units(output.unit_kind, ids, columns, dict(output.estimators))
    units.to_bytes()
    return StoredResult.in_memory(result, units)


def _require_storable(result: Result) -> None:
    """Metrics, tables and curves come from a plugin: what no file can hold, or no table show, fails here."""
    text = canonical_json(result.model_dump(mode="json")).decode("utf-8", "surrogatepass")
    Result.model_validate(strict_json(text))


def skipped_result(draft: ResultDraft, reason: str) -> StoredResult:
    """The result of an evaluator that had not what it needs."""
    return StoredResult.in_memory(draft.result("skipped", reason=reason))


def failed_result(draft: ResultDraft, reason: str) -> StoredResult:
    """The result of an evaluator, or an SAE, that failed."""
    return StoredResult.in_memory(draft.result("failed", reason=reason))
