"""Assertions on results in a project's own tests; ``darkmatter.pytest_plugin`` makes them a fixture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from darkmatter.errors import UsageError, did_you_mean
from darkmatter.results.collection import ResultSet
from darkmatter.results.follows import why_not_from_sums
from darkmatter.results.schema import MetricValue, Result

Bound = Literal["value", "low", "high"]
_FIELDS = {"value": "value", "low": "ci_low", "high": "ci_high"}


@dataclass(frozen=True)
class Asserting:
    """What the fixture ``darkmatter`` is; relative paths start at ``root``, pytest's root folder."""

    root: Path

    def run(self, suite: str | Path, **options: Any) -> ResultSet:
        """Run a suite, as ``darkmatter.run`` does; the results can be given to ``assert_metric``."""
        from darkmatter.python_api import run

        return run(self.root / suite, **options)

    def assert_metric(
        self,
        results: str | Path | ResultSet,
        metric: str,
        *,
        max: float | None = None,  # noqa: A002 - what a reader of the test expects
        min: float | None = None,  # noqa: A002 - its counterpart
        sae: str | None = None,
        evaluator: str | None = None,
        bound: Bound = "value",
    ) -> float:
        """Fail where a metric is above ``max`` or below ``min``; returns what was compared.

        Args:
            results: a results folder, or what ``darkmatter.run`` returned.
            metric: its name, such as ``fvu_nonlinear``.
            max: the largest number that is good enough.
            min: the smallest one.
            sae: the SAE's name; may be left out where the results are of one SAE (controls apart).
            evaluator: needed where several evaluators have a headline metric of that name.
            bound: what is compared: the value, or the low or high end of its 95% interval.
        """
        __tracebackhide__ = True
        if max is None and min is None:
            message = f"assert_metric({metric!r}): give max=, min= or both."
            raise UsageError(message)
        for name, given in (("max", max), ("min", min)):
            _require_number(metric, name, given)
        if max is not None and min is not None and min > max:
            message = f"assert_metric({metric!r}): min={min} lies above max={max}; no number fits both."
            raise UsageError(message)
        if bound not in _FIELDS:
            message = f"assert_metric(bound={bound!r}): {did_you_mean(bound, _FIELDS)}"
            raise UsageError(message)
        found = results if isinstance(results, ResultSet) else self._read(results)
        chosen = _chosen_sae(found, sae)
        result, measured = _metric(chosen, metric, evaluator)
        called = f"{result.sae.name}: {result.evaluator.name}.{metric}"
        number = getattr(measured, _FIELDS[bound])
        if measured.value is None:
            message = f"{called} is {measured.status}: {measured.reason}"
            raise AssertionError(message)
        if number is None:
            message = f"{called} has no 95% interval; compare its value (leave bound={bound!r} out)."
            raise UsageError(message)
        units = next(entry for entry in found.stored if entry.result is result).units()
        wrong = "" if units is None else why_not_from_sums(measured, units)
        if wrong:
            message = f"{called} does not follow from its sums: {wrong}; make the results again"
            raise AssertionError(message)
        shown = f"{called} = {_with_interval(measured)}"
        if bound != "value":
            shown += f", the {bound} end of its 95% interval"
        if max is not None and not number <= max:
            message = f"{shown}, is above max={max}"
            raise AssertionError(message)
        if min is not None and not number >= min:
            message = f"{shown}, is below min={min}"
            raise AssertionError(message)
        return float(number)

    def _read(self, folder: str | Path) -> ResultSet:
        __tracebackhide__ = True
        path = self.root / folder
        if not path.exists():
            message = f"there is no folder {str(folder)!r} below {str(self.root)!r}. {_how(folder)}"
            raise UsageError(message)
        found = ResultSet.read(path)
        if found.problems:
            first = found.problems[0]
            message = f"{first.path} {first.reason}; remove it or make it again. {_how(folder)}"
            raise UsageError(message)
        if not found.stored:
            message = f"{str(folder)!r} holds no results (an SAE alone has none). {_how(folder)}"
            raise UsageError(message)
        return found


def _require_number(metric: str, name: str, given: object) -> None:
    """Refuse a bound that nothing can be compared with, or that everything passes."""
    __tracebackhide__ = True
    if given is None:
        return
    if isinstance(given, bool) or not isinstance(given, Real) or not math.isfinite(given):
        message = (
            f"assert_metric({metric!r}): {name}={given!r} is no finite number; give one in the metric's own "
            f"unit, such as {name}=0.12. `darkmatter check` compares with a baseline in percent."
        )
        raise UsageError(message)


def _how(folder: str | Path) -> str:
    return f"`darkmatter run SUITE.yaml --out {folder}` makes results there."


def _chosen_sae(results: ResultSet, sae: str | None) -> list[Result]:
    """The results of the one SAE that is meant."""
    __tracebackhide__ = True
    labelled = list(zip(results.names, results.results, strict=True))
    named = {label for label, _ in labelled} | {result.sae.name for _, result in labelled}
    if sae is not None:
        found = [result for label, result in labelled if sae in {label, result.sae.name}]
        if found:
            return found
        message = f"there is no SAE {sae!r} among these results. {did_you_mean(sae, named)}"
        raise UsageError(message)
    own = [result for result in results if not result.sae.is_control and not result.sae.members]
    names = sorted({result.sae.name for result in own})
    if len(names) != 1:
        what = f"of {len(names)} SAEs; say which: sae={' or sae='.join(map(repr, names))}." if names else ""
        message = f"these results are {what or 'of no SAE but controls; name one with sae=.'}"
        raise UsageError(message)
    return own


def _metric(results: list[Result], name: str, evaluator: str | None) -> tuple[Result, MetricValue]:
    """The one metric of that name; a headline metric wins over those that are none."""
    __tracebackhide__ = True
    sae = results[0].sae.name
    names = sorted({result.evaluator.name for result in results})
    if evaluator is not None and evaluator not in names:
        message = (
            f"{sae} has no result of {evaluator!r}. {did_you_mean(evaluator, names)} "
            f"`darkmatter run SUITE.yaml` with {evaluator} under evaluators: makes it."
        )
        raise UsageError(message)
    asked = [result for result in results if evaluator in {None, result.evaluator.name}]
    found = [(result, metric) for result in asked for metric in result.metrics if metric.name == name]
    found = [each for each in found if each[1].primary] or found
    if len(found) == 1:
        return found[0]
    if found:
        homes = sorted({result.evaluator.name for result, _ in found})
        if len(homes) > 1:
            choices = " or evaluator=".join(map(repr, homes))
            message = f"several evaluators have {name!r}; say which: evaluator={choices}."
        else:
            message = f"{len(found)} results have {homes[0]}.{name} of {sae}; give a folder with one run."
        raise UsageError(message)
    failed = [result for result in asked if result.status != "ok"]
    if failed and len(failed) == len(asked):
        message = f"{sae}: {failed[0].evaluator.name} {failed[0].status}: {failed[0].reason}"
        raise AssertionError(message)
    known = [metric.name for result in asked for metric in result.metrics]
    message = f"{sae} has no metric {name!r}. {did_you_mean(name, known)} `darkmatter list` names evaluators."
    raise UsageError(message)


def _with_interval(metric: MetricValue) -> str:
    text = f"{metric.value:.6g}"
    if metric.ci_low is None or metric.ci_high is None:
        return text
    return f"{text} [{metric.ci_low:.6g}, {metric.ci_high:.6g}]"
