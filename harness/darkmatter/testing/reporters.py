"""Whether a reporter shows every table, and nothing that a stranger smuggled into it."""

from __future__ import annotations

import unicodedata

from darkmatter.descriptors import Reporter
from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.results.schema import MetricValue
from darkmatter.testing.results import HOSTILE, sample_result
from darkmatter.testing.rules import descriptor_of, require, undisturbed


def check_reporter(reporter: Reporter | str) -> tuple[str, ...]:
    """Raise AssertionError unless a reporter conforms; returns what could not be checked here.

    It must be pure, render every table (missing values, nothing at all), name every SAE and metric,
    and let no control or direction character of a name through.

    Args:
        reporter: a descriptor, or the name of an installed one (then imports are checked too).
    """
    described = descriptor_of("reporters", reporter, Reporter)
    render = described.resolve()
    table = build_table(_results())
    before = repr(table)
    with undisturbed(f"the reporter {described.name!r}"):
        text = render(table)
        again = render(build_table(_results()))
        empty = render(build_table(ResultSet([])))
    where = f"the reporter {described.name!r}"
    require(isinstance(text, str), "A reporter returns text.", f"{where}: {type(text).__name__}", "a str.")
    require(text == again, "The same table gives the same text.", f"{where}: two texts", "no clock, no sets.")
    require(repr(table) == before, "A reporter does not change the table.", where, "work on copies.")
    hidden = sorted(
        {char for char in text if char not in "\n\t" and unicodedata.category(char) in {"Cc", "Cf"}}
    )
    require(
        not hidden,
        "No control or direction character reaches a terminal or a page.",
        f"{where} lets through {hidden}",
        "pass text from the table through darkmatter.api.printable, then escape it for your format.",
    )
    absent = [name for name in ("plain", "pca", "fvu") if name not in text]
    require(
        not absent, "Every SAE and metric is shown.", f"{where} leaves out {absent}", "render all blocks."
    )
    require(isinstance(empty, str), "A table without results renders too.", f"{where}: {empty!r}", "a str.")
    return ()


def _results() -> ResultSet:
    undefined = MetricValue(name="share", value=None, status="undefined", reason=HOSTILE, primary=True)
    return ResultSet(
        [
            sample_result(HOSTILE, extra=[undefined]),
            sample_result("plain", {"fvu": 0.03}),
            sample_result("pca", {"fvu": 0.1}, is_control=True),
            sample_result("plain", metrics={}, evaluator="other", status="skipped", reason=HOSTILE),
        ]
    )
