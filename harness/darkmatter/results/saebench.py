"""Read the result files of SAEBench, so that its numbers stand beside ours under its own names.

What is read is what its eight evaluations write (0.4 to 0.6): one object per SAE, or an object of such
objects by name (autointerp and unlearning before 2025). Nothing is recomputed or renamed: the metric
``explained_variance`` of its evaluation ``core`` is ``saebench.core.explained_variance`` here. A file has no
sums per context, hence no interval, no best value and no tie.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from darkmatter.descriptors import Config, Evaluator, Metric
from darkmatter.errors import UsageError
from darkmatter.files.atomic import content_hash
from darkmatter.results.collection import ResultSet
from darkmatter.results.reading import MAX_JSON_BYTES, InvalidError, Problem, load_json, misfit, read_file
from darkmatter.results.schema import EvaluatorRecord, MetricValue, Result, SAERecord

PREFIX = "saebench."

WITHOUT_INTERVAL = "none: SAEBench's files hold no sums per context"

NEW_VARIANCE = (
    "SAEBench's explained_variance squares the mean of the mean square where it should square the mean, and "
    "averages over batches: it is no share of variance, may be too high or too low, above 1 or below 0 (for "
    "activations around 0 it is low). It is not our 1 - fvu."
)
OLD_VARIANCE = (
    "SAEBench's older explained_variance (explained_variance_legacy in newer files): the mean over tokens of "
    "1 - |error|² / |x - batch mean|², a mean of ratios; our fvu is a ratio of sums over all held-out rows."
)
NOT_COMPUTED = "SAEBench writes -1 where it did not compute a metric"

_SHELL = {
    "eval_type_id",
    "eval_config",
    "eval_id",
    "datetime_epoch_millis",
    "eval_result_metrics",
    "eval_result_details",
    "eval_result_unstructured",
    "sae_bench_commit_hash",
    "sae_lens_id",
    "sae_lens_release_id",
    "sae_lens_version",
    "sae_cfg_dict",
}
"""The fields of a file."""

_HEADLINES = {
    "core": "kl_div_score|ce_loss_score|explained_variance|explained_variance_legacy|l2_ratio|l0",
    "absorption_first_letter": r"mean_(absorption_fraction_score|full_absorption_score|num_split_features)",
    "autointerp": "autointerp_score",
    "ravel": "disentanglement_score|cause_score|isolation_score",
    "scr": r"scr_metric_threshold_(10|20)",
    "tpp": r"tpp_threshold_(10|20)_total_metric",
    "sparse_probing": r"(llm|sae)_(test|top_[125]_test)_accuracy",
    "sparse_probing_sae_probes": r"(llm|sae)_test_(accuracy|auc|f1)",
    "unlearning": "unlearning_score",
}
"""By evaluation, what SAEBench itself shows first; of evaluations that are not here, everything is shown."""

_MAX_METRICS = 1000
_HOOK = re.compile(r"blocks\.\d+\.[A-Za-z_.]*[A-Za-z_]")


@dataclass(frozen=True)
class Found:
    """What was read, what was not used, and fields that are new to this reader, by file."""

    results: tuple[Result, ...]
    problems: tuple[Problem, ...]
    unknown: Mapping[str, tuple[str, ...]]


def read_saebench(*places: Path) -> Found:
    """All results of SAEBench in these files and folders; what is none becomes a problem with its reason."""
    results: dict[str, Result] = {}
    problems: list[Problem] = []
    unknown: dict[str, tuple[str, ...]] = {}
    for path in dict.fromkeys(path for place in places for path in _files(place)):
        try:
            records = list(_records(load_json(read_file(path, MAX_JSON_BYTES), constant=float)))
            made = [_result(record) for record in records]
        except (InvalidError, ValidationError, OSError) as error:
            problems.append(Problem(str(path), _reason(error)))
            continue
        results.update((result.key, result) for result in made)
        new = sorted({field for record in records for field in record if field not in _SHELL})
        if new:
            unknown[str(path)] = tuple(new)
    return Found(tuple(results.values()), tuple(problems), unknown)


def _reason(error: InvalidError | ValidationError | OSError) -> str:
    if isinstance(error, ValidationError):
        error = misfit(error)
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def add_saebench(
    results: ResultSet, places: Sequence[Path]
) -> tuple[ResultSet, dict[str, Evaluator], Mapping[str, tuple[str, ...]]]:
    """Our results with SAEBench's, what its columns mean, and the unknown fields of its files."""
    found = read_saebench(*places)
    both = ResultSet([*results.stored, *found.results], [*results.problems, *found.problems], results.order)
    return both, descriptors(found.results), found.unknown


def descriptors(results: Sequence[Result]) -> dict[str, Evaluator]:
    """What the columns mean and where they stand: after ours."""
    made = {}
    for name in sorted({result.evaluator.name for result in results}):
        metrics = [
            Metric(
                ".*", "measured by SAEBench by its formulas, without intervals: no value is best, none ties"
            )
        ]
        if name == f"{PREFIX}core":
            metrics.insert(0, Metric("explained_variance", "SAEBench's, no share of variance: see the note"))
        made[name] = Evaluator(name, "", "", config=Config, metrics=tuple(metrics), order=10_000)
    return made


def _files(place: Path) -> Iterator[Path]:
    """A file, or everything called .json below a folder; links to folders are not followed."""
    if not place.exists():
        message = (
            f"--saebench {place}: there is no such file or folder. SAEBench writes eval_results/EVAL/*.json."
        )
        raise UsageError(message)
    if not place.is_dir():
        yield place
    for parent, folders, files in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            Path(parent) / name
            for name in sorted(files)
            if name.endswith(".json") and not name.startswith(".")
        )


def _records(raw: Any) -> Iterator[dict[str, Any]]:
    """The objects of a file, one per SAE."""
    candidates = [raw]
    if isinstance(raw, dict) and raw and "eval_type_id" not in raw:
        candidates = list(raw.values())
    for record in candidates:
        if not isinstance(record, dict) or not isinstance(record.get("eval_type_id"), str):
            message = "is JSON, but no result of SAEBench (it has no eval_type_id)"
            raise InvalidError(message)
        if not isinstance(record.get("eval_result_metrics"), dict):
            message = f"has no eval_result_metrics, which SAEBench's {record['eval_type_id']!r} needs"
            raise InvalidError(message)
        yield record


def _result(record: dict[str, Any]) -> Result:
    """One object as a result of the evaluator ``saebench.<evaluation>``."""
    evaluation = record["eval_type_id"].lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", evaluation):
        message = f"names the evaluation {record['eval_type_id']!r}, expected a name such as 'core'"
        raise InvalidError(message)
    metrics = tuple(_metrics(evaluation, record["eval_result_metrics"]))
    model = _text(_of_sae(record, "model_name") or _mapping(record, "eval_config").get("model_name"))
    cache = {
        "key": f"SAEBench on {model}",
        "model": model or "unknown",
        "text": "of its own choice",
        "measured_by": "SAEBench",
    }
    return Result(
        key=content_hash("saebench", {name: _finite(record.get(name)) for name in sorted(_SHELL)}),
        sae=_sae(record, next((metric.value for metric in metrics if metric.name == "l0"), None)),
        evaluator=EvaluatorRecord(name=f"{PREFIX}{evaluation}", version=0, distribution="sae-bench"),
        config={
            **_finite(_mapping(record, "eval_config")),
            "sae_bench": _text(record.get("sae_bench_commit_hash"))[:12],
        },
        cache=cache,
        analysis={},
        metrics=metrics,
    )


def _metrics(evaluation: str, categories: Mapping[str, Any]) -> Iterator[MetricValue]:
    """Every number under its own name; with its category where two categories have the same name."""
    found = [
        (category, name, value)
        for category, members in categories.items()
        for name, value in _members(category, members).items()
    ]
    if len(found) > _MAX_METRICS:
        message = f"has {len(found)} metrics; more than {_MAX_METRICS} are not read"
        raise InvalidError(message)
    names = [name for _, name, _ in found]
    headline = re.compile(_HEADLINES.get(evaluation, ".*"))
    for category, name, value in found:
        if not isinstance(value, int | float | None) or isinstance(value, bool):
            message = f"has {type(value).__name__} where {category}.{name} should be a number"
            raise InvalidError(message)
        number, reason = _number(evaluation, name, value, newer="explained_variance_legacy" in names)
        yield MetricValue(
            name=name if names.count(name) == 1 else f"{category}.{name}",
            value=number,
            status="ok" if number is not None else "undefined",
            reason=reason,
            ci_method=None if number is None else WITHOUT_INTERVAL,
            # Thresholds that were left out of a run would be columns without a number.
            primary=value is not None and headline.fullmatch(name) is not None,
        )


def _members(category: str, members: Any) -> Mapping[str, Any]:
    if not isinstance(members, dict):
        message = f"has no metrics in the category {category!r} of eval_result_metrics"
        raise InvalidError(message)
    return members


def _number(
    evaluation: str, name: str, value: float | None, *, newer: bool
) -> tuple[float | None, str | None]:
    """The value as it stands in the file, and the note that belongs to it."""
    if value is None:
        return None, "SAEBench did not compute it"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return None, f"it is {number} in SAEBench's file"
    if evaluation == "core" and number == -1.0:
        return None, NOT_COMPUTED
    if evaluation == "core" and name == "explained_variance":
        return number, NEW_VARIANCE if newer else OLD_VARIANCE
    if evaluation == "core" and name == "explained_variance_legacy":
        return number, OLD_VARIANCE
    return number, None


# -- what a file says of the SAE ------------------------------------------------------------------------


def _sae(record: dict[str, Any], l0: float | None) -> SAERecord:
    release, own = _text(record.get("sae_lens_release_id")), _text(record.get("sae_lens_id"))
    named = own if not release else release if own in ("", "custom_sae") else f"{release}/{own}"
    hook = _text(_of_sae(record, "hook_name"))
    if not hook and (found := _HOOK.search(own)):
        hook = found[0].partition("__")[0]
    return SAERecord(
        name=named or "without a name",
        reference=named,
        fingerprint="",
        hook=hook,
        hook_out=hook,
        d_in=_size(_of_sae(record, "d_in")),
        d_sae=_size(_of_sae(record, "d_sae")),
        l0=l0,
        adapter="saebench",
        metadata={"architecture": _text(_of_sae(record, "architecture")) or None},
    )


def _of_sae(record: dict[str, Any], field: str) -> Any:
    """A field of the SAE's configuration; newer versions keep some of them one level deeper."""
    config = _mapping(record, "sae_cfg_dict")
    return config.get(field, _mapping(config, "metadata").get(field))


def _mapping(values: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = values.get(field)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _size(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _finite(value: Any) -> Any:
    """The same with NaN and infinities as text, since results hold neither."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
