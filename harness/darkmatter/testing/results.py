"""Fabricated results, for tests of whatever reads or renders results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from darkmatter.files.atomic import content_hash
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import Estimator, EvaluatorRecord, MetricValue, Result, SAERecord
from darkmatter.results.units import Units
from darkmatter.stats.resample import Resampler

HOSTILE = 'a|b`c`<b>*d*</b> [x](http://evil) \x1b[31mred\x07 \u202eltr "q" \\ {z} $5 & % # ~ ^ _e_'
"""Text that tries to leave a cell in every format that there is."""


def sample_units(
    metrics: Mapping[str, float], *, n_units: int = 60, seed: int = 0, first_id: int = 0, noise: float = 0.05
) -> Units:
    """Per-unit sums whose ratios are near the given values; equal seeds share their noise."""
    rng = np.random.default_rng(seed)
    denominator = rng.uniform(90.0, 110.0, n_units)
    shared = rng.normal(0.0, noise, n_units)
    columns = {"rows": denominator}
    for index, (name, value) in enumerate(metrics.items()):
        own = np.random.default_rng([seed, index, int(value * 1e9)]).normal(0.0, noise / 10, n_units)
        columns[f"{name}.sum"] = denominator * value * (1.0 + shared + own)
    estimators = {name: Estimator(numerator=f"{name}.sum", denominator="rows") for name in metrics}
    return Units("contexts", np.arange(first_id, first_id + n_units), columns, estimators)


def sample_result(
    sae: str = "mine",
    metrics: Mapping[str, float] | None = None,
    *,
    evaluator: str = "reconstruction",
    hook: str = "blocks.2.hook_resid_post",
    hook_out: str = "",
    is_control: bool = False,
    units: Units | None = None,
    extra: Sequence[MetricValue] = (),
    **fields: Any,
) -> StoredResult:
    """One result in memory; ``fields`` override those of ``Result``."""
    units = units or sample_units(metrics if metrics is not None else {"fvu": 0.02})
    resampler = Resampler(len(units), 0, replicates=200)
    values = [_metric(name, units, resampler) for name in units.estimators]
    record = SAERecord(
        name=sae,
        reference=f"runs/{sae}",
        fingerprint=content_hash(sae),
        hook=hook,
        hook_out=hook_out or hook,
        d_in=128,
        d_sae=512,
        is_control=is_control,
    )
    content: dict[str, Any] = {
        "sae": record,
        "evaluator": EvaluatorRecord(name=evaluator, version=1),
        "config": {},
        "cache": {"key": "c" * 32, "model": "tiny", "text": "stories.jsonl", "contexts": 150},
        "analysis": {"seed": 0, "split": "context", "skip_first": 16},
        "metrics": (*values, *extra),
    } | fields
    identity = [sae, hook, content["config"], content["cache"], content["analysis"]]
    record_of = content["evaluator"]
    key = content_hash(identity, record_of.name, record_of.version)
    return StoredResult.in_memory(Result(**{"key": key} | content), units)


def _metric(name: str, units: Units, resampler: Resampler) -> MetricValue:
    top, bottom = units.columns[f"{name}.sum"], units.columns["rows"]
    interval = resampler.interval_ratio(top, bottom)
    return MetricValue(
        name=name,
        value=float(top.sum() / bottom.sum()),
        n=6000,
        ci_low=interval.low,
        ci_high=interval.high,
        ci_method=interval.method,
        higher_is_better=name != "fvu",
        primary=True,
    )
