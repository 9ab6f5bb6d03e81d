"""The result file: one immutable JSON per (SAE, evaluator, configuration).

``darkmatter schema`` prints the JSON schema of ``Result``. A metric without a value has a status
and a reason; NaN and infinity never reach a file.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Status = Literal["ok", "undefined", "skipped", "failed"]


class Record(BaseModel):
    """Base of everything in a result file: finite numbers, no unknown fields, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MetricValue(Record):
    """One number with its 95% interval, or the reason why there is none."""

    name: str
    value: float | None
    status: Status = "ok"
    reason: str | None = None
    n: int | None = Field(default=None, description="rows behind the value, or what ci_method resamples")
    ci_low: float | None = None
    ci_high: float | None = None
    ci_method: str | None = None
    unit: str = ""
    higher_is_better: bool | None = None
    primary: bool = False

    @model_validator(mode="after")
    def _value_or_reason(self) -> MetricValue:
        if (self.value is None) == (self.status == "ok"):
            message = f"{self.name}: status {self.status!r} does not fit value {self.value!r}"
            raise ValueError(message)
        if self.value is None and not self.reason:
            message = f"{self.name}: a metric without a value needs a reason"
            raise ValueError(message)
        return self


class Estimator(Record):
    """How a metric follows from the per-context sums of the sidecar.

    ``ratio``: sum(numerator) / sum(denominator), or one minus that where ``complement``.
    ``influence``: ``value`` plus the sum of the column ``numerator`` over resampled contexts, for
    metrics that are no ratio of sums (their first-order contributions per context).
    """

    kind: Literal["ratio", "influence"] = "ratio"
    numerator: str
    denominator: str | None = None
    complement: bool = False


class SAERecord(Record):
    """Which SAE a result speaks about."""

    name: str
    reference: str
    fingerprint: str
    hook: str
    hook_out: str
    d_in: int
    d_sae: int
    l0: float | None = None
    is_control: bool = False
    adapter: str = ""
    metadata: dict[str, Any] = {}
    assumptions: tuple[str, ...] = ()
    overrides: dict[str, Any] = Field(
        default={}, description="what the user or a catalogue stated instead of its file"
    )
    members: tuple[str, ...] = Field(default=(), description="of a family, the names of its SAEs")


class EvaluatorRecord(Record):
    """Which evaluator made it; a change of ``version`` makes values not comparable."""

    name: str
    version: int
    distribution: str = ""


class UnitsRecord(Record):
    """The sidecar with per-context sums: ``<stem>.units.safetensors`` beside the result."""

    file: str
    xxh3: str
    count: int
    kind: str = Field(description="the resampling unit: context, block of rows, ...")
    estimators: dict[str, Estimator]


class Result(Record):
    """One evaluator's findings on one SAE (or family) over one cache."""

    schema_version: int = SCHEMA_VERSION
    key: str = Field(description="hash of everything that shapes the numbers")
    status: Literal["ok", "skipped", "failed"] = "ok"
    reason: str | None = None
    unfinished: str | None = Field(
        default=None, description="what could not be found out; the next run makes this result again"
    )
    sae: SAERecord
    beside: tuple[str, ...] | None = Field(
        default=None,
        description="names of other SAEs that shaped it, where its evaluator looks at others",
    )
    evaluator: EvaluatorRecord
    config: dict[str, Any]
    cache: dict[str, Any] = Field(description="key and description of the activations")
    analysis: dict[str, Any] = Field(description="split, skipped positions, seed, dtype, device")
    metrics: tuple[MetricValue, ...]
    tables: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    units: UnitsRecord | None = None
    provenance: dict[str, Any] = {}
    timings: dict[str, Any] = Field(default={}, description="the only field that differs between two runs")
    checksum: str | None = Field(default=None, description="hash of everything but timings, set by the store")

    @property
    def is_final(self) -> bool:
        """Whether a later run takes it over as it is."""
        return self.status != "failed" and not self.unfinished
