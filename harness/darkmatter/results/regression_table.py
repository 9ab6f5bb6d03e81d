"""A check as a table that every reporter can render: in Markdown, the summary of a pull request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from darkmatter.results.checked import Check, CheckedMetric
from darkmatter.results.numbers import format_plain, format_value
from darkmatter.results.table import UNDEFINED, Block, Cell, Column, Section, Table, TableRow

HOW_TO_READ = (
    (
        "Worse by: the change against the baseline on the same held-out contexts, with its paired 95% "
        "interval, as a share of the baseline's value where the limit is a share. Negative is better; where "
        "the limit is ±, no direction is better, and the change stands there with its sign."
    ),
    "Red: all of the interval is beyond the limit, or what the baseline had is missing, failed or undefined.",
    "Error: it cannot be compared, and the reason says why. That is never green.",
    "The interval covers the choice of contexts, not that of the training seed.",
)

_WORDS = ("metric", "verdict")
_NAMED = 3
"""SAEs that a note names; of more it gives the number."""

_Field = tuple[str, Callable[[CheckedMetric], str]]


def check_table(check: Check) -> Table:
    """What is red first, then what is green, what was not compared; the notes say what is left out."""
    red, green = check.having("red", "error"), check.having("green")
    changed = [metric for metric in check.having("left out") if _has_changed(metric)]
    measured: list[_Field] = [
        ("metric", _metric),
        ("baseline", lambda metric: _number(metric.baseline)),
        ("now", lambda metric: _number(metric.current)),
        ("worse by", worsening),
        ("limit", limit_text),
    ]
    sections = [
        _section("Red", "worse than allowed, or not to be judged", red, [*measured, ("verdict", _verdict)]),
        _section("Green", "within the limit, or worse only by chance", green, measured),
        _not_compared(check.having("not compared")),
        _section("Changed, without a verdict", "the notes say why it is not checked", changed, measured[:3]),
    ]
    return Table(
        title=headline(check),
        sections=tuple(section for section in sections if section.blocks[0].rows),
        how_to_read=HOW_TO_READ,
        footnotes=(*_left_out(check), *check.notes),
        problems=tuple(f"{problem.path} {problem.reason}" for problem in check.problems),
        rows=[metric.to_json() for metric in check.metrics],
    )


def headline(check: Check) -> str:
    """The outcome in one line, with the number of what was not compared and why."""
    red, green = check.having("red", "error"), check.having("green")
    checked = len(red) + len(green)
    if check.passed:
        said = f"green, {checked} checked, none worse than allowed"
    elif not checked:
        said = "red, nothing could be compared with the baseline"
    else:
        said = f"red, {len(red)} of {checked} checks failed"
    problems = f"; files that could not be used: {len(check.problems)}" if check.problems else ""
    return f"darkmatter check: {said}{problems}{_uncounted(check)}"


def _uncounted(check: Check) -> str:
    """How many are not among the checks, by reason where the baseline is the reason."""
    missing, kinds = check.having("not compared"), check.having("left out")
    text = ""
    if missing:
        reasons = Counter(metric.why for metric in missing)
        text = f"; {len(missing)} not compared: {', '.join(f'{n} {why}' for why, n in reasons.items())}"
    return f"{text}; {len(kinds)} left out (see the notes)" if kinds else text


def worsening(metric: CheckedMetric) -> str:
    """The worsening with its interval, as a share of the baseline's value or in the metric's unit."""
    if metric.worse is None or metric.baseline is None or metric.limit is None:
        return UNDEFINED
    plus = "+" if metric.is_two_sided and metric.worse > 0.0 else ""
    alone = " (no interval)" if metric.low is None else ""
    numbers = (metric.worse, metric.low, metric.high)
    if not metric.limit.relative:
        unit = f" {metric.unit}" if metric.unit else ""
        return f"{plus}{format_value(*numbers)}{unit}{alone}"
    if metric.baseline == 0.0:
        return f"{plus}{format_value(*numbers)} from 0{alone}"
    shares = [None if number is None else number / abs(metric.baseline) * 100.0 for number in numbers]
    assert shares[0] is not None
    return f"{plus}{format_value(shares[0], *shares[1:])} %{alone}"


def limit_text(metric: CheckedMetric) -> str:
    """The limit as it is written, with its sides."""
    if metric.limit is None:
        return UNDEFINED
    return f"{'±' if metric.is_two_sided else ''}{metric.limit}"


def _has_changed(metric: CheckedMetric) -> bool:
    return None not in (metric.baseline, metric.current) and metric.baseline != metric.current


def _section(title: str, meaning: str, metrics: Sequence[CheckedMetric], fields: Sequence[_Field]) -> Section:
    columns = tuple(Column("", name, name, words=name in _WORDS) for name, _ in fields)
    rows = tuple(
        TableRow(metric.sae, is_control=False, cells=tuple(Cell(text(metric)) for _, text in fields))
        for metric in metrics
    )
    return Section(title=f"{title}: {len(metrics)}", data="", blocks=(Block(meaning, columns, rows),))


def _not_compared(metrics: Sequence[CheckedMetric]) -> Section:
    """What the baseline lacks, a row for every SAE and reason."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for metric in metrics:
        grouped.setdefault((metric.sae, metric.reason), []).append(metric.called or "all of it")
    columns = tuple(Column("", name, name, words=True) for name in ("why", "metrics"))
    rows = tuple(
        TableRow(sae, is_control=False, cells=(Cell(why), Cell(", ".join(names))))
        for (sae, why), names in grouped.items()
    )
    block = Block("the baseline has nothing to compare with; --require-all makes it red", columns, rows)
    return Section(title=f"Not compared: {len(metrics)}", data="", blocks=(block,))


def _left_out(check: Check) -> list[str]:
    """What is not checked, by reason: the same metrics of many SAEs are said once."""
    everyone = {metric.sae for metric in check.metrics if metric.metric}
    grouped: dict[str, dict[str, list[str]]] = {}
    for metric in check.having("left out"):
        name = metric.called or metric.evaluator
        grouped.setdefault(metric.reason, {}).setdefault(name, []).append(metric.sae)
    return [
        f"Not checked, {reason}: {', '.join(_of(name, saes, everyone) for name, saes in names.items())}."
        for reason, names in grouped.items()
    ]


def _of(name: str, saes: Sequence[str], everyone: set[str]) -> str:
    """A metric and whose it is; of many SAEs, how many."""
    names = dict.fromkeys(saes)
    if {*names} == everyone:
        return name
    return f"{name} ({', '.join(names) if len(names) <= _NAMED else f'{len(names)} SAEs'})"


def _metric(metric: CheckedMetric) -> str:
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
    return f"{metric.called or metric.evaluator or UNDEFINED}{arrow}"


def _number(value: float | None) -> str:
    return UNDEFINED if value is None else format_plain(value)


def _verdict(metric: CheckedMetric) -> str:
    return f"{metric.verdict}: {metric.reason}"
