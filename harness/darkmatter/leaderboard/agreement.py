"""What rows must agree on: those of one SAE on what it is, those of one cell on units and metrics."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

from darkmatter.descriptors import Evaluator
from darkmatter.leaderboard.board import BoardRow
from darkmatter.leaderboard.cells import cell_of
from darkmatter.leaderboard.findings import AGAIN, AS_MADE, Finding
from darkmatter.leaderboard.plain import folded
from darkmatter.results.comparable import HARDWARE, config_text, data_signature, hardware_notes
from darkmatter.results.schema import Estimator, MetricValue, Result
from darkmatter.results.units import Units
from darkmatter.runs.analysis import Analysis

_SAME_L0, _OTHER_PRECISION = 1e-9, 0.02
"""Relative tolerance of an L0: other arithmetic moves some latents over their thresholds."""
_MEASURES_L0 = "reconstruction"
"""The evaluator whose metric ``l0`` is over the rows that every result's own ``l0`` is over."""
_NO_ROUND_OFF = 1e-3
"""A denominator of at least this share of another row's is no round-off, below which ratios are undefined."""
_OF_WIDTH, _NOTHING = 0.1, 1e-6
"""By how much of its interval, and by how much at least, a control's value may differ between machines."""

_DESCRIBED = ("reference", "d_in", "d_sae", "members")


def agreement_findings(rows: Sequence[BoardRow], evaluators: Mapping[str, Evaluator]) -> Iterator[Finding]:
    """Everything on which rows disagree; the first of them says what is meant."""
    yield from _look_alikes(rows)
    yield from _descriptions(rows)
    yield from _measured_l0(rows)
    for same in _groups(rows, lambda row: (row.result.sae.fingerprint, cell_of(row.result))):
        yield from _twins(same) if same[0].owner is None else _twice(same, evaluators)
    yield from _accounts(rows)
    for cell in _groups(rows, lambda row: cell_of(row.result)):
        yield from _counts(cell)
        yield from _left_undefined(cell)
        yield from _metric_names(cell, evaluators)


# -- one SAE --------------------------------------------------------------------------------------


def _look_alikes(rows: Sequence[BoardRow]) -> Iterator[Finding]:
    """Names of one owner's that a reader would take for the same."""
    for group in _groups(rows, lambda row: (row.owner, folded(row.result.sae.name))):
        known = group[0]
        others = {row.result.sae.name: row for row in reversed(group)}
        for name, row in others.items():
            if name != known.result.sae.name:
                reason = f"its name {name!a} looks like {known.result.sae.name!a}, in {known.file}"
                fix = "Give one of the two another name in the suite and run again."
                yield Finding(row.file, reason, fix)


def _descriptions(rows: Sequence[BoardRow]) -> Iterator[Finding]:
    """Rows on one SAE and the same activations that describe it in two ways."""
    for group in _groups(rows, _same_sae):
        known = group[0]
        for row in group[1:]:
            other = _described_otherwise(known.result, row.result)
            if other:
                reason = f"says of its SAE another {', '.join(other)} than {known.file} says of the same one"
                yield Finding(row.file, reason, AS_MADE)


def _same_sae(row: BoardRow) -> Hashable:
    sae = row.result.sae
    return row.owner, sae.fingerprint, sae.hook, sae.hook_out, data_signature(row.result)


def _described_otherwise(a: Result, b: Result) -> list[str]:
    """In which fields two descriptions of one SAE differ; a control is called by each run as it likes."""
    names = _DESCRIBED if a.sae.is_control else ("name", *_DESCRIBED)
    found = [name for name in names if getattr(a.sae, name) != getattr(b.sae, name)]
    if a.sae.metadata.get("architecture") != b.sae.metadata.get("architecture"):
        found.append("architecture")
    if _stated(a) != _stated(b):
        found.append("overrides")
    room = _OTHER_PRECISION if hardware_notes(a, b) else _SAME_L0
    if not close(a.sae.l0, b.sae.l0, room):
        found.append("l0")
    return found


def _stated(result: Result) -> dict[str, object]:
    """What was stated instead of the file, but for the precision, which says how and not what."""
    return {name: value for name, value in result.sae.overrides.items() if name != "dtype"}


def _measured_l0(rows: Sequence[BoardRow]) -> Iterator[Finding]:
    for row in rows:
        if row.result.evaluator.name != _MEASURES_L0:
            continue
        stated = row.result.sae.l0
        for value in [metric.value for metric in row.result.metrics if metric.name == "l0"]:
            if not close(stated, value, _SAME_L0):
                reason = f"says that its SAE's l0 is {stated!r}, and measures {value!r}"
                yield Finding(row.file, reason, AS_MADE)


def _twice(same: Sequence[BoardRow], evaluators: Mapping[str, Evaluator]) -> Iterator[Finding]:
    """One SAE twice in a cell, mostly on other hardware: the better of two tries would be shown.

    Controls are exempt: everybody brings them, each from a machine of their own. So is what other SAEs
    shape: it changes with them, and rows that are there stay.
    """
    known = same[0]
    evaluator = evaluators.get(known.result.evaluator.name)
    if evaluator is not None and evaluator.sees:
        return
    for row in same[1:]:
        if row.result.key != known.result.key:
            notes = "; ".join(hardware_notes(known.result, row.result)) or "nothing that is measured"
            reason = f"its SAE is in this cell already, in {known.file}; what differs is {notes}"
            yield Finding(row.file, reason, "Remove the newer of the two: rows that are there stay.")


def _twins(same: Sequence[BoardRow]) -> Iterator[Finding]:
    """A control twice in a cell, from other machines, with numbers that no machine's rounding explains.

    A worse twin would flatter every SAE beside it.
    """
    known = {metric.name: metric for metric in same[0].result.metrics}
    for row in (row for row in same[1:] if row.owner is None):
        found = [metric for metric in row.result.metrics if metric.name in known]
        far = sorted(metric.name for metric in found if not _near(known[metric.name], metric))
        if far:
            reason = f"is the control of {same[0].file} with other numbers: {', '.join(far[:3])}"
            yield Finding(row.file, reason, AGAIN)


def _near(a: MetricValue, b: MetricValue) -> bool:
    """Whether two machines may have given these: within 2%, or a tenth of the interval."""
    if a.value is None or b.value is None:
        return a.value is b.value
    width = 0.0 if a.ci_low is None or a.ci_high is None else a.ci_high - a.ci_low
    room = max(_OTHER_PRECISION * abs(a.value), _OF_WIDTH * width, _NOTHING)
    return abs(a.value - b.value) <= room


# -- the same activations -------------------------------------------------------------------------


def _accounts(rows: Sequence[BoardRow]) -> Iterator[Finding]:
    """Rows on activations of one key that tell of them, or count what was analysed, in two ways.

    Neither is in a row's key as it stands, and both say which rows may stand side by side.
    """
    for group in _groups(rows, lambda row: str(row.result.cache.get("key"))):
        known = group[0]
        for row in group[1:]:
            if _account(row.result) != _account(known.result):
                yield Finding(row.file, f"tells of its activations otherwise than {known.file}", AS_MADE)
    for group in _groups(rows, lambda row: (str(row.result.cache.get("key")), _analysed(row.result, True))):
        known = group[0]
        for row in group[1:]:
            if _analysed(row.result, False) != _analysed(known.result, False):
                yield Finding(row.file, f"counts other rows of the same analysis than {known.file}", AS_MADE)


def _account(result: Result) -> dict[str, object]:
    """What a result says of its activations, but for names and paths, which each submitter may state."""
    account = dict(result.cache)
    if account.get("kind") != "model":
        return {"kind": account.get("kind")}
    for part, names in (("model", ("name", "revision")), ("text", ("path", "field"))):
        described = account.get(part)
        if isinstance(described, dict):
            account[part] = {name: value for name, value in described.items() if name not in names}
    return account


def _analysed(result: Result, chosen: bool) -> str:
    """The options of the analysis that were chosen, or what it then counted."""
    items = [(name, value) for name, value in result.analysis.items() if name not in HARDWARE]
    return config_text({name: value for name, value in items if (name in Analysis.model_fields) == chosen})


# -- one cell -------------------------------------------------------------------------------------


def _counts(cell: Sequence[BoardRow]) -> Iterator[Finding]:
    """Rows over other numbers of units than the first: they cannot be paired."""
    having = [row for row in cell if row.result.units is not None]
    counts = [(row.result.units.count, row.result.units.kind) for row in having if row.result.units]
    for row, (count, kind) in zip(having, counts, strict=True):
        if (count, kind) != counts[0]:
            first, of = counts[0]
            reason = f"its sidecar is over {count} {kind}, that of {having[0].file} over {first} {of}"
            yield Finding(row.file, reason, AGAIN)


def _left_undefined(cell: Sequence[BoardRow]) -> Iterator[Finding]:
    """Metrics without a value where the sidecar has the sums that give it in another row."""
    known: dict[str, tuple[BoardRow, Estimator]] = {}
    for row in cell:
        for name, estimator in (row.result.units.estimators if row.result.units else {}).items():
            if estimator.kind == "ratio":
                known.setdefault(name, (row, estimator))
    if all(metric.value is not None for row in cell for metric in row.result.metrics):
        return
    units = {row.file: _units(row) for row in cell}
    for row in cell:
        for metric in row.result.metrics:
            if metric.value is not None or metric.name not in known:
                continue
            other, estimator = known[metric.name]
            here, there = (_denominator(units[each.file], estimator) for each in (row, other))
            if here is not None and there is not None and here > _NO_ROUND_OFF * there:
                reason = f"{metric.name}: is {metric.status}, but its sidecar has the sums that give it in"
                yield Finding(row.file, f"{reason} {other.file}", AGAIN)


def _units(row: BoardRow) -> Units | None:
    try:
        return row.stored.units()
    except ValueError:
        return None  # a finding of its own


def _denominator(units: Units | None, estimator: Estimator) -> float | None:
    """The sum below a ratio, or None where the sidecar has not what the ratio is made of."""
    if units is None or estimator.numerator not in units.columns:
        return None
    if estimator.denominator is None:
        return float(len(units))
    column = units.columns.get(estimator.denominator)
    return None if column is None else float(column.sum())


def _metric_names(cell: Sequence[BoardRow], evaluators: Mapping[str, Evaluator]) -> Iterator[Finding]:
    """Rows that have other metrics than the first; what is not defined is there too, with the reason.

    Not where other SAEs name the metrics. A control without latents may lack what speaks of them.
    """
    evaluator = evaluators.get(cell[0].result.evaluator.name)
    if evaluator is None or evaluator.sees or evaluator.scope == "family":
        return
    full = [row for row in cell if not (row.result.sae.is_control and row.result.sae.d_sae == 0)]
    names = [{metric.name for metric in row.result.metrics} for row in full]
    for row, found in zip(full, names, strict=True):
        for verb, others in (("lacks", names[0] - found), ("has also", found - names[0])):
            if others:
                reason = f"{verb} {', '.join(sorted(others)[:3])}, other than {full[0].file} in its cell"
                yield Finding(row.file, reason, AGAIN)


def _groups(rows: Sequence[BoardRow], key: Callable[[BoardRow], Hashable]) -> list[list[BoardRow]]:
    """Rows that share a key, in the given order."""
    found: dict[Hashable, list[BoardRow]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return list(found.values())


def close(a: float | None, b: float | None, relative: float, absolute: float = 1e-12) -> bool:
    """Whether two numbers agree; what is undefined agrees with nothing but the same."""
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=relative, abs_tol=absolute)
