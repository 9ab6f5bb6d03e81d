"""The result file: one immutable JSON per (SAE, evaluator, configuration).

``darkmatter schema`` prints the JSON schema of ``Result``. A metric without a value has a status
and a reason; NaN and infinity never reach a file.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from darkmatter.files import limits

SCHEMA_VERSION = 1

Status = Literal["ok", "undefined", "skipped", "failed"]
Name = Annotated[str, Field(max_length=limits.NAME)]
Count = Annotated[int, Field(ge=0, le=1 << 53)]
"""A number of things, which a float and every reader of JSON and CSV can hold."""


class Record(BaseModel):
    """Base of everything in a result file: finite numbers, no unknown fields, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MetricValue(Record):
    """One number with its 95% interval, or the reason why there is none."""

    name: Name
    value: float | None
    status: Status = "ok"
    reason: str | None = None
    n: Count | None = Field(default=None, description="rows behind the value, or what ci_method resamples")
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

    name: Name
    reference: str
    fingerprint: str
    hook: str
    hook_out: str
    d_in: Count
    d_sae: Count
    l0: float | None = None
    is_control: bool = False
    adapter: str = ""
    metadata: dict[str, Any] = {}
    assumptions: tuple[str, ...] = ()
    overrides: dict[str, Any] = Field(
        default={}, description="what the user or a catalogue stated instead of its file"
    )
    members: tuple[Name, ...] = Field(default=(), description="of a family, the names of its SAEs")


class EvaluatorRecord(Record):
    """Which evaluator made it; a change of ``version`` makes values not comparable."""

    name: Name
    version: Count
    distribution: str = ""


class UnitsRecord(Record):
    """The sidecar with per-context sums: ``<stem>.units.safetensors`` beside the result."""

    file: str
    xxh3: str
    count: Count
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
    beside: tuple[Name, ...] | None = Field(
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

    @field_validator("analysis")
    @classmethod
    def _usable_seed(cls, analysis: dict[str, Any]) -> dict[str, Any]:
        """Ties and checked intervals are resampled with this seed."""
        seed = analysis.get("seed", 0)
        if type(seed) is not int or seed < 0:
            message = f"the seed is {seed!r:.40}, expected a whole number of 0 or more"
            raise ValueError(message)
        return analysis

    @field_validator("metrics")
    @classmethod
    def _each_once(cls, metrics: tuple[MetricValue, ...]) -> tuple[MetricValue, ...]:
        """A table has one place for a metric of a result."""
        for name, count in Counter(metric.name for metric in metrics).most_common(1):
            if count > 1:
                message = f"the metric {name!r} occurs {count} times"
                raise ValueError(message)
        return metrics

    @property
    def is_final(self) -> bool:
        """Whether a later run takes it over as it is."""
        return self.status != "failed" and not self.unfinished
