"""Whether an evaluator keeps the rules that make its numbers worth comparing."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from darkmatter.descriptors import Config, Evaluator
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue, Result
from darkmatter.sae.base import SAE
from darkmatter.testing.rules import default_config, descriptor_of, other_seed, refuse, require, undisturbed
from darkmatter.testing.runs import run_evaluators
from darkmatter.testing.synthetic import synthetic_activations, synthetic_saes, synthetic_transcoder
from darkmatter.testing.witness import witness

TOLERANCE = 1e-6
"""What a different chunk size may change: float32 kernels round differently by shape."""

Found = dict[str, StoredResult]


def check_evaluator(
    evaluator: Evaluator | str, *, config: Config | Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """Raise AssertionError unless an evaluator conforms; returns what could not be checked here.

    It runs on small seeded activations with SAEs of every kind (see ``synthetic_saes``), the way
    ``darkmatter.evaluate`` runs it, and must give declared metrics within their ranges, the same
    bytes twice and with any number of workers, the same values (1e-6) with any chunk size, also for
    ``[n, d]`` input and for a transcoder; and it must leave alone whatever it shares with others.

    Args:
        evaluator: a descriptor, or the name of an installed one (then imports are checked too).
        config: options to check with; default: the defaults.
    """
    described = descriptor_of("evaluators", evaluator, Evaluator)
    settings = default_config(described, config)
    try:
        pickle.dumps(settings)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        refuse(
            "A configuration can be pickled: other processes get it so.",
            f"{described.config.__name__}: {error}",
            "define the Config class at the top of a module, and let its fields be plain values.",
            error,
        )
    require(
        any(metric.primary for metric in described.metrics),
        "At least one metric is primary: tables show these.",
        f"{described.name!r} declares {[metric.name for metric in described.metrics]}",
        "api.Metric(..., primary=True) for the one or two that matter.",
    )
    tensors, saes = _material()
    with other_seed(), undisturbed(f"the evaluator {described.name!r}", first=True):
        first = _by_sae(run_evaluators([(described, settings)], tensors, saes))
    _check_results(described, first)
    _check_repeats(described, settings, first)
    _check_shared(described, settings)
    _check_other_shapes(described, settings)
    if any(each.result.status == "ok" for each in first.values()):
        return ()
    return tuple(sorted({f"not run: {each.result.reason}" for each in first.values()}))


def _material() -> tuple[dict[str, Tensor], dict[str, SAE]]:
    """Activations without a transcoder's target, and SAEs of every kind; the same every time."""
    tensors = synthetic_activations()
    tensors.pop("y")
    return tensors, synthetic_saes(tensors["x"])


def _run(described: Evaluator, config: Config, tensors: Any, saes: Any, **how: Any) -> Found:
    """Results by SAE, of a run that must leave global state alone."""
    with undisturbed(f"the evaluator {described.name!r}"):
        return _by_sae(run_evaluators([(described, config)], tensors, saes, **how))


def _by_sae(found: Mapping[tuple[str, str], StoredResult]) -> Found:
    return {sae: result for (sae, _), result in found.items()}


# -- what it gives -------------------------------------------------------------------------------


def _check_results(described: Evaluator, found: Found) -> None:
    for sae, stored in found.items():
        result = stored.result
        names = [metric.name for metric in result.metrics]
        where = f"{described.name!r} on the SAE {sae!r}"
        require(
            len(set(names)) == len(names),
            "A metric is given once.",
            f"{where} gave {sorted({name for name in names if names.count(name) > 1})} more than once",
            "give each name once; metrics that exist per item carry the item: name[item].",
        )
        for metric in result.metrics:
            _check_metric(described, metric, where)
        if result.status == "ok":
            _check_primary(described, names, where)
        _check_json(result, where)


def _check_primary(described: Evaluator, names: list[str], where: str) -> None:
    for declared in described.metrics:
        if not declared.primary or declared.per_item:
            continue
        require(
            any(declared.describes(name) for name in names),
            "A primary metric is always given, if only as undefined with a reason.",
            f"{where} gave no {declared.name!r}, only {names}",
            f"out.undefined({declared.name!r}, 'why there is no value').",
        )


def _check_metric(described: Evaluator, metric: MetricValue, where: str) -> None:
    declared = described.metric(metric.name)
    require(
        declared is not None,
        "Every metric is declared in the descriptor.",
        f"{where} gave {metric.name!r}",
        "add an api.Metric of that name (or one that ends in [*] or .*).",
    )
    if metric.value is None or declared is None:
        return
    low = -math.inf if declared.low is None else declared.low
    high = math.inf if declared.high is None else declared.high
    slack = 1e-9 * max(1.0, abs(metric.value))
    require(
        low - slack <= metric.value <= high + slack,
        "A value lies in its metric's range.",
        f"{where} gave {metric.name} = {metric.value!r}, declared [{declared.low}, {declared.high}]",
        "correct the formula or the range; call what has no value undefined.",
    )
    if metric.ci_low is not None and metric.ci_high is not None:
        require(
            metric.ci_low <= metric.ci_high,
            "An interval has its ends in order.",
            f"{where} gave {metric.name} in [{metric.ci_low}, {metric.ci_high}]",
            "swap them.",
        )


def _check_json(result: Result, where: str) -> None:
    """Tables and curves go into a JSON file as they are."""
    for part in ("tables", "curves"):
        for name, content in getattr(result, part).items():
            try:
                json.dumps(content, allow_nan=False)
            except (TypeError, ValueError) as error:
                refuse(
                    "Tables and curves hold plain lists, dicts and finite numbers.",
                    f"{where}, {part}[{name!r}]: {error}",
                    ".tolist() for tensors, None for what has no value.",
                    error,
                )


# -- whether it gives the same again -------------------------------------------------------------


def _check_repeats(described: Evaluator, config: Config, first: Found) -> None:
    tensors, saes = _material()
    again = _run(described, config, tensors, saes)
    fix = "draw from a generator seeded with ctx.seed; iterate over sorted things, not over sets."
    for sae, stored in again.items():
        require(
            _bytes(first[sae]) == _bytes(stored),
            "The same run gives the same bytes, whatever the global random state.",
            f"{described.name!r} on {sae!r}: {_difference(first[sae], stored)}",
            fix,
        )
    for sae, stored in _run(described, config, tensors, saes, jobs=3).items():
        require(
            _bytes(first[sae]) == _bytes(stored),
            "Any number of workers gives the same bytes.",
            f"{described.name!r} on {sae!r} with 3 workers: {_difference(first[sae], stored)}",
            "keep state in the collector that start() makes, and let merge() add the next shard in order.",
        )
    for sae, stored in _run(described, config, tensors, saes, chunk_rows=7).items():
        require(
            _close(first[sae].result, stored.result),
            f"Chunks of any size give the same values ({TOLERANCE:g}).",
            f"{described.name!r} on {sae!r} with chunks of 7 rows: {_difference(first[sae], stored)}",
            "sum over rows in update() and divide once, in run(); a mean of means depends on chunks.",
        )


def _bytes(stored: StoredResult) -> tuple[str, dict[str, bytes]]:
    units = stored.units()
    columns = {} if units is None else {name: column.tobytes() for name, column in units.columns.items()}
    return stored.result.model_dump_json(exclude={"timings"}), columns


def _difference(one: StoredResult, other: StoredResult) -> str:
    """The first thing in which two results differ."""
    for a, b in zip(one.result.metrics, other.result.metrics, strict=False):
        if a != b:
            return " then ".join(f"{m.name} = {m.value!r} [{m.ci_low!r}, {m.ci_high!r}]" for m in (a, b))
    for name in type(one.result).model_fields:
        before, after = getattr(one.result, name), getattr(other.result, name)
        if name != "timings" and before != after:
            return f"{name} was {before!r}, then {after!r}"[:600]
    return "the sums per unit differ"


def _close(one: Result, other: Result) -> bool:
    if [(m.name, m.status) for m in one.metrics] != [(m.name, m.status) for m in other.metrics]:
        return False
    pairs = [
        (getattr(a, field), getattr(b, field))
        for a, b in zip(one.metrics, other.metrics, strict=True)
        for field in ("value", "ci_low", "ci_high")
    ]
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE))
        for a, b in pairs
    )


# -- what it shares ------------------------------------------------------------------------------


def _check_shared(described: Evaluator, config: Config) -> None:
    tensors, saes = _material()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    alone: dict[str, str] = {}
    beside: dict[str, str] = {}
    run_evaluators([(witness(alone), Config())], tensors, saes)
    run_evaluators([(described, config), (witness(beside), Config())], tensors, saes)
    changed = [name for name, tensor in tensors.items() if not torch.equal(tensor, before[name])]
    changed += [
        f"chunks or weights of the SAE {sae!r}" for sae, digest in alone.items() if beside[sae] != digest
    ]
    require(
        not changed,
        "Nothing that an evaluator is given is changed in place: all evaluators share it.",
        f"{described.name!r} changed {', '.join(changed)}",
        "no x -= ..., no methods that end in _; chunk.x - mean makes a new tensor.",
    )


def _check_other_shapes(described: Evaluator, config: Config) -> None:
    tensors = synthetic_activations(seed=1)
    y = tensors.pop("y")
    flat = {name: tensor.flatten(0, 1)[:300].contiguous() for name, tensor in tensors.items()}
    chosen = ("relu", "identity", "dead")
    saes = {name: sae for name, sae in synthetic_saes(flat["x"]).items() if name in chosen}
    _check_results(described, _run(described, config, flat, saes))
    transcoder = {"transcoder": synthetic_transcoder(tensors["x"], y)}
    _check_results(described, _run(described, config, {**tensors, "y": y}, transcoder))
