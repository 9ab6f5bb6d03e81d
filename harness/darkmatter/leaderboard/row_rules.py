"""What one row must satisfy by itself: its place, its key, its evaluator, its numbers, its references."""

from __future__ import annotations

import math
from collections.abc import Iterator

from darkmatter.cache.key import recorded_keys
from darkmatter.descriptors import Evaluator, Metric
from darkmatter.errors import DarkmatterError, did_you_mean
from darkmatter.leaderboard.board import BoardRow
from darkmatter.leaderboard.findings import AGAIN, AS_MADE, Finding
from darkmatter.leaderboard.layout import place_of
from darkmatter.leaderboard.plain import PLAIN, is_plain, too_much_text
from darkmatter.leaderboard.public import FREE_TEXT, paths_in, why_private, why_private_name
from darkmatter.leaderboard.reach import refuse_files
from darkmatter.plugins import PluginHost
from darkmatter.results.follows import slack
from darkmatter.results.schema import MetricValue, Result
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import Chosen, choose_evaluators

_STATE = "Name a public place with `darkmatter leaderboard submit --reference`, `--model` or `--text`."
_RENAME = "Give it another name in the suite and run again; activations are kept."
_SETTINGS = (*Analysis.model_fields, "tf32")
"""What of a result's analysis is in its key; the rest counts rows and follows from it."""


def row_findings(row: BoardRow, host: PluginHost) -> Iterator[Finding]:
    """Everything that is wrong with one row by itself."""
    result = row.result
    wrong = [*_place(row), *_identity(result), *_text(result), *_privacy(result), *_meaning(result, host)]
    for reason, fix in wrong:
        yield Finding(row.file, reason, fix)


Wrong = Iterator[tuple[str, str]]
"""Reasons with their fixes."""


def _place(row: BoardRow) -> Wrong:
    expected = place_of(row.result, row.owner or "")
    if row.result.sae.is_control != (row.owner is None):
        where = "below controls/" if row.result.sae.is_control else "in its owner's folder"
        yield f"lies in the wrong place; a row of this kind belongs {where}", f"Move it to {expected}."
    elif row.file != expected:
        yield "lies where its content does not belong", f"Move it, with its sidecar, to {expected}."


def _identity(result: Result) -> Wrong:
    """Whether it is a finished result, on activations that have the key which is claimed."""
    if result.status != "ok":
        yield f"is {result.status} ({result.reason}); a leaderboard holds finished results", "Remove it."
    if result.unfinished:
        yield (
            f"is unfinished ({result.unfinished})",
            "Run the suite again, which makes it again, and submit that.",
        )
    claimed = result.cache.get("key")
    if result.cache.get("kind") == "model" and claimed not in recorded_keys(result.cache):
        yield f"its activations' key {claimed!r} does not follow from their description", AGAIN
    sae = result.sae
    if sae.is_control != sae.reference.startswith("baseline:"):
        what = "a control" if sae.is_control else "an SAE"
        yield f"says that {sae.reference!r} is {what}", AS_MADE
    if sae.members and sae.reference != ", ".join(sae.members):
        yield "its reference and its members name other SAEs", AS_MADE
    if sae.members and sae.name != f"family:{sae.hook}":
        yield f"is of a family and is called {sae.name!r}, not 'family:{sae.hook}'", AS_MADE


def _text(result: Result) -> Wrong:
    """Whether names look like what they are, and no text is there for its own sake."""
    sae = result.sae
    for name in (sae.name, *sae.members, *(result.beside or ()), sae.hook, sae.hook_out):
        if not is_plain(name):
            yield f"{ascii(name)[:80]} is no plain name: {PLAIN}", _RENAME
    if not (sae.reference.isascii() and sae.reference.isprintable()):
        yield f"its reference {ascii(sae.reference)[:80]} is not printable ASCII", _STATE
    for reason in too_much_text(result):
        yield reason, "Shorten it at its source (notes, options, metadata), and run again."


def _privacy(result: Result) -> Wrong:
    sae = result.sae
    reason = None if sae.members or sae.is_control else why_private(sae.reference)
    if reason is not None:
        yield f"its reference cannot be followed: {reason}", _STATE
    for part, field in (("model", "name"), ("text", "path")):
        described = result.cache.get(part)
        name = described.get(field) if isinstance(described, dict) else None
        reason = why_private_name(name) if isinstance(name, str) else None
        if reason is not None:
            yield f"its {part} cannot be found: {reason}", _STATE
    said = {name: value for name, value in result.model_dump(mode="json").items() if name not in FREE_TEXT}
    said.pop("cache")  # judged above, in words that say which part it is
    said["sae"].pop("reference")
    for text in paths_in([said, {**result.cache, "model": None, "text": None}]):
        yield f"holds a machine's path: {text[:80]!r}", "`darkmatter leaderboard submit` cuts paths."


def _meaning(result: Result, host: PluginHost) -> Wrong:
    """What its evaluator's descriptor says of it; of an older version little is known."""
    record = result.evaluator
    distribution = record.distribution.partition(" ")[0]
    owned = host.find("evaluators", f"{distribution}/{record.name}")
    if owned is None:
        hint = did_you_mean(record.name, host.evaluators())
        yield (
            f"unknown evaluator {record.name!r} of {distribution!r}. {hint}",
            "Install the plugin that has it.",
        )
        return
    descriptor = owned.descriptor
    assert isinstance(descriptor, Evaluator)
    if not 1 <= record.version <= descriptor.version:
        reason = f"unknown version {record.version} of {record.name} (installed: {descriptor.version})"
        yield reason, AGAIN
        return
    if (descriptor.scope == "family") != bool(result.sae.members):
        whose = "a family" if descriptor.scope == "family" else "one SAE"
        yield f"{record.name} speaks of {whose}, and its members say otherwise", AS_MADE
    for metric in result.metrics:
        yield from _interval(metric)
    if record.version < descriptor.version:
        return
    for metric in result.metrics:
        yield from _described(metric, descriptor.metric(metric.name), record.name)
    yield from _key(result, owned.qualified, host)


def _interval(metric: MetricValue) -> Wrong:
    value, low, high = metric.value, metric.ci_low, metric.ci_high
    if (low is None) != (high is None) or (low is not None and value is None):
        yield f"{metric.name}: has half an interval, or one without a value", AGAIN
    if value is None or low is None or high is None:
        return
    if low > high:
        yield f"{metric.name}: its interval is inverted, from {low!r} to {high!r}", AGAIN
    elif not low - slack(low) <= value <= high + slack(high):
        yield f"{metric.name}: its interval [{low!r}, {high!r}] does not contain its value {value!r}", AGAIN


def _described(metric: MetricValue, described: Metric | None, evaluator: str) -> Wrong:
    if described is None:
        yield f"{metric.name}: {evaluator} has no such metric", AGAIN
        return
    for name in ("unit", "higher_is_better", "primary"):
        stated, known = getattr(metric, name), getattr(described, name)
        if stated != known:
            yield f"{metric.name}: {name} is {stated!r}, {evaluator} says {known!r}", AGAIN
    low = -math.inf if described.low is None else described.low
    high = math.inf if described.high is None else described.high
    for number in (metric.value, metric.ci_low, metric.ci_high):
        if number is not None and not low - slack(low) <= number <= high + slack(high):
            yield f"{metric.name}: {number!r} lies outside its range, [{low:g}, {high:g}]", AGAIN


def _key(result: Result, qualified: str, host: PluginHost) -> Wrong:
    """Whether options are valid and the key follows from the content, as far as the content tells."""
    try:
        chosen = choose_evaluators(host, {qualified: result.config}, judge=refuse_files)[0]
    except DarkmatterError as error:
        yield f"its options are not valid: {error}", AGAIN
        return
    if chosen.config.model_dump(mode="json") != result.config:
        yield "its options are not complete", AGAIN
    elif not chosen.evaluator.sees and _expected_key(result, chosen) != result.key:
        # Where other SAEs shape a result, its key holds their weights too, and it has but their names.
        yield f"its key {result.key} does not follow from its content", AGAIN


def _expected_key(result: Result, chosen: Chosen) -> str:
    analysis = {name: value for name, value in result.analysis.items() if name in _SETTINGS}
    hooks = (result.sae.hook, result.sae.hook_out)
    dtype = result.sae.overrides.get("dtype")
    return chosen.key(result.sae.fingerprint, hooks, str(result.cache.get("key")), analysis, dtype)
