"""The sidecar of a result: per-unit sums from which intervals and paired comparisons follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darkmatter.results.schema import Estimator
from darkmatter.stats.resample import Floats, Influence, Ratio, Statistic

IDS = "unit_id"
"""The tensor of the sidecar that holds the units' ids; no column may take its name."""


@dataclass(frozen=True, eq=False)
class Units:
    """Per-unit sums [units] of one result and what the metrics make of them.

    Attributes:
        kind: the resampling unit in the plural, as ``ci_method`` names it ("contexts").
        ids: [units] int64, which units of the cache these are, ascending.
        columns: name -> [units] float64.
        estimators: metric name -> how it follows from the columns.
    """

    kind: str
    ids: NDArray[np.int64]
    columns: Mapping[str, Floats]
    estimators: Mapping[str, Estimator]

    def __post_init__(self) -> None:
        if IDS in self.columns:
            message = f"{IDS!r} is the name of the units' ids and cannot be a column"
            raise ValueError(message)
        for name, column in self.columns.items():
            if column.shape != self.ids.shape:
                message = f"column {name!r} has shape {column.shape}, the ids {self.ids.shape}"
                raise ValueError(message)
        for metric, estimator in self.estimators.items():
            for needed in (estimator.numerator, estimator.denominator):
                if needed is not None and needed not in self.columns:
                    message = f"the estimator of {metric!r} needs the column {needed!r}, which is missing"
                    raise ValueError(message)

    def __len__(self) -> int:
        return len(self.ids)

    def statistic(self, metric: str, value: float) -> Statistic | None:
        """The metric as a function of unit weights, or None where it has no estimator."""
        estimator = self.estimators.get(metric)
        if estimator is None:
            return None
        numerator = self.columns[estimator.numerator]
        if estimator.kind == "influence":
            return Influence(value, numerator)
        if estimator.denominator is None:
            return Ratio(numerator, np.ones(len(self)), estimator.complement)
        return Ratio(numerator, self.columns[estimator.denominator], estimator.complement)

    def to_bytes(self) -> bytes:
        """The sidecar's content: float64 columns and int64 ids, in safetensors."""
        from safetensors.numpy import save

        tensors = {
            name: np.ascontiguousarray(self.columns[name], np.float64) for name in sorted(self.columns)
        }
        data: bytes = save({IDS: np.ascontiguousarray(self.ids, np.int64), **tensors})
        return data

    @classmethod
    def from_bytes(cls, data: bytes, kind: str, estimators: Mapping[str, Estimator]) -> Units:
        """Read a sidecar; raises ValueError where it is not one."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(data)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        except KeyError as error:
            message = f"it holds a tensor of dtype {error}, which numpy does not have"
            raise ValueError(message) from error
        ids = tensors.pop(IDS, None)
        if ids is None or ids.dtype != np.int64 or ids.ndim != 1:
            message = f"the sidecar has no int64 tensor {IDS!r}"
            raise ValueError(message)
        for name, column in tensors.items():
            if column.dtype != np.float64:
                message = f"column {name!r} is {column.dtype}, not float64"
                raise ValueError(message)
        return cls(kind, ids, tensors, estimators)
