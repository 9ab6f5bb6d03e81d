"""Results as tidy rows: one per (SAE, evaluator, configuration, metric)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from darkmatter.results.comparable import config_text
from darkmatter.results.schema import MetricValue, Result

ROW_COLUMNS = (
    "sae",
    "evaluator",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "status",
    "reason",
    "n",
    "unit",
    "higher_is_better",
    "primary",
    "is_control",
    "hook",
    "hook_out",
    "version",
    "config",
    "ci_method",
    "cache_key",
    "key",
)
"""The columns of ``to_pandas`` and of ``darkmatter table --format json``."""

Row = dict[str, Any]


@dataclass(frozen=True)
class ItemFailure:
    """What a run reports as failed: an SAE that cannot be read, say, or ``SAE / evaluator``."""

    sae: str
    reason: str
    is_control: bool = False


def result_rows(result: Result, sae: str) -> list[Row]:
    """The rows of one result; one that failed or was skipped has one row without a metric."""
    shared: Row = {
        "sae": sae,
        "evaluator": result.evaluator.name,
        "is_control": result.sae.is_control,
        "hook": result.sae.hook,
        "hook_out": result.sae.hook_out,
        "version": result.evaluator.version,
        "config": config_text(result.config),
        "cache_key": result.cache.get("key"),
        "key": result.key,
    }
    rows = [_ordered({**shared, **_metric_fields(metric)}) for metric in result.metrics]
    if result.status != "ok":
        rows.append(_ordered({**shared, "status": result.status, "reason": result.reason, "primary": True}))
    return rows


def duplicates(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Rows that are not unique in (sae, evaluator, config, metric)."""
    seen, twice = set(), []
    for row in rows:
        identity = (row["sae"], row["evaluator"], row["config"], row["metric"])
        if identity in seen:
            twice.append(identity)
        seen.add(identity)
    return twice


def _metric_fields(metric: MetricValue) -> Row:
    fields = metric.model_dump()
    fields["metric"] = fields.pop("name")
    return fields


def _ordered(fields: Row) -> Row:
    return {column: fields.get(column) for column in ROW_COLUMNS}
