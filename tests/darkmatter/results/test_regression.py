"""What is red, what is an error, what is green."""

import numpy as np
import pytest

from darkmatter.errors import UsageError
from darkmatter.results.collection import ResultSet
from darkmatter.results.limits import Limit, parse_limit, parse_metric_limits
from darkmatter.results.reading import Problem, StoredResult
from darkmatter.results.regression import check_regression
from darkmatter.results.regression_table import check_table, headline
from darkmatter.results.render import render_table
from darkmatter.results.schema import MetricValue
from darkmatter.results.ties import PairedUnits
from darkmatter.testing.results import HOSTILE, sample_result, sample_units

TWO_PERCENT = Limit(2.0, relative=True)


def entry(name="mine", fvu=0.02, cosine=0.9, n_units=200, **options):
    """An SAE with two metrics of opposite directions."""
    units = sample_units({"fvu": fvu, "cosine": cosine}, n_units=n_units, noise=0.01)
    return sample_result(name, units=units, **options)


def changed(stored, metric, **fields):
    """The same result with one metric changed."""
    metrics = [m.model_copy(update=fields) if m.name == metric else m for m in stored.result.metrics]
    return StoredResult(stored.result.model_copy(update={"metrics": tuple(metrics)}), None, stored.loader)


def check(before, now, limit=TWO_PERCENT, **named):
    """The check of two lists of results."""
    limits = parse_metric_limits(f"{name.replace('__', '.')}={value}" for name, value in named.items())
    return check_regression(ResultSet(before), ResultSet(now), limit, limits)


def verdicts(made):
    """Verdict by metric."""
    return {metric.metric or metric.sae: metric.verdict for metric in made.metrics}


def test_red_is_worse_beyond_the_limit_in_the_bad_direction():
    """FVU is worse where it grows, cosine where it shrinks; better is green however large."""
    assert verdicts(check([entry()], [entry(fvu=0.03, cosine=0.95)])) == {"fvu": "red", "cosine": "green"}
    assert verdicts(check([entry()], [entry(fvu=0.01, cosine=0.8)])) == {"fvu": "green", "cosine": "red"}
    assert check([entry()], [entry()]).passed


def test_the_lower_bound_decides_not_the_value():
    """Exactly at the lower bound of the paired interval the verdict turns."""
    before, now = entry(fvu=0.02), entry(fvu=0.021)
    metrics = [next(m for m in one.result.metrics if m.name == "fvu") for one in (now, before)]
    found = PairedUnits().difference((now, metrics[0]), (before, metrics[1]))
    share = found.low / metrics[1].value * 100

    assert found.low < found.value
    assert verdicts(check([before], [now], parse_limit(f"{share - 1e-4:.6f}%", "")))["fvu"] == "red"
    assert verdicts(check([before], [now], parse_limit(f"{share + 1e-4:.6f}%", "")))["fvu"] == "green"


def test_the_worsening_is_that_of_the_paired_statistics():
    """Numbers of a check are those of `compare`, with the sign turned where higher is better."""
    before, now = entry(cosine=0.9), entry(cosine=0.8)
    metrics = [next(m for m in one.result.metrics if m.name == "cosine") for one in (now, before)]
    found = PairedUnits().difference((now, metrics[0]), (before, metrics[1]))
    row = next(m for m in check([before], [now]).metrics if m.metric == "cosine")

    assert (row.worse, row.low, row.high) == (-found.value, -found.high, -found.low)


def test_a_baseline_of_zero_allows_nothing_beyond_chance():
    """A share of 0 is 0: any worsening beyond chance is red, and no share is shown."""
    units = sample_units({"fvu": 0.0}, n_units=100)
    before = sample_result("mine", units=units)
    made = check([before], [sample_result("mine", {"fvu": 0.01})])
    assert verdicts(made) == {"fvu": "error"}  # other units: 60 are not 100

    now = sample_result("mine", units=sample_units({"fvu": 0.01}, n_units=100))
    made = check([before], [now])
    assert verdicts(made) == {"fvu": "red"}
    assert "from 0" in render_table(check_table(made), "md")


def test_an_absolute_limit_is_in_the_metrics_unit():
    """--metric with a plain number allows that much, whatever the baseline."""
    before, now = entry(fvu=0.02), entry(fvu=0.03)

    assert verdicts(check([before], [now], reconstruction__fvu="0.02"))["fvu"] == "green"
    assert verdicts(check([before], [now], reconstruction__fvu="0.001"))["fvu"] == "red"


def test_what_has_a_unit_needs_a_limit_of_its_own():
    """2% of some nats says nothing; named, it is checked."""
    before, now = (changed(entry(fvu=value), "fvu", unit="nats") for value in (0.02, 0.03))
    made = check([before], [now])

    assert verdicts(made)["fvu"] == "left out"
    assert "it is in nats" in render_table(check_table(made), "md")
    assert verdicts(check([before], [now], reconstruction__fvu="2%"))["fvu"] == "red"


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        (MetricValue(name="x", value=1.0, primary=True), "no direction"),
        (MetricValue(name="x", value=1.0, primary=True, higher_is_better=True), "no sums over contexts"),
    ],
)
def test_what_cannot_be_checked_is_left_out_with_the_reason(extra, why):
    """Without a good direction, or without sums per context, there is nothing to judge by."""
    made = check([entry(extra=[extra])], [entry(extra=[extra])])
    found = next(metric for metric in made.metrics if metric.metric == "x")

    assert (found.verdict, made.passed) == ("left out", True)
    assert why in found.reason
    with pytest.raises(UsageError, match=why):
        check([entry(extra=[extra])], [entry()], reconstruction__x="1%")


@pytest.mark.parametrize("status", ["failed", "skipped", "undefined"])
def test_a_metric_that_lost_its_value_is_red(status):
    """What the baseline had and now is undefined, failed or skipped is worse than any number."""
    lost = {"value": None, "ci_low": None, "ci_high": None, "status": status, "reason": "variance 0"}
    made = check([entry()], [changed(entry(), "fvu", **lost)])
    row = next(metric for metric in made.metrics if metric.metric == "fvu")

    assert (row.verdict, made.passed) == ("red", False)
    assert "variance 0" in row.reason


def test_an_evaluator_that_failed_is_red_and_one_that_is_missing_too():
    """Neither a failed result nor none at all passes; an unreadable SAE has no hook point."""
    failed = sample_result("mine", {}, status="failed", reason="no such file", hook="")
    midway = sample_result("mine", {}, status="failed", reason="out of memory")
    other = sample_result("mine", evaluator="density")

    assert set(verdicts(check([entry()], [failed])).values()) == {"red"}
    assert "no such file" in check([entry()], [failed]).metrics[0].reason
    assert "out of memory" in check([entry()], [midway]).metrics[0].reason
    assert set(verdicts(check([entry()], [other])).values()) == {"red"}


def test_a_metric_that_is_gone_is_red():
    """An evaluator that reports fewer metrics than it did hides something."""
    now = entry()
    fewer = now.result.model_copy(update={"metrics": now.result.metrics[1:]})

    assert verdicts(check([entry()], [StoredResult(fewer, None, now.loader)]))["fvu"] == "red"


def test_a_missing_sae_is_red_and_a_new_one_is_reported():
    """A renamed SAE is both, and the nearest name is said."""
    made = check([entry("mine")], [entry("mine2")])

    assert verdicts(made) == {"mine": "red", "fvu": "not compared", "cosine": "not compared"}
    assert "'mine2'" in made.metrics[0].reason
    bare = sample_result("other", {})
    made = check([entry("mine")], [entry("mine"), bare])
    assert (verdicts(made)["other"], made.passed) == ("not compared", True)


def stating(stored, **fields):
    """The same result, whose FVU is stated otherwise."""
    return changed(stored, "fvu", **fields)


def without_sums(stored):
    """The same result without a sidecar."""
    return StoredResult(stored.result, None, lambda: None)


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (entry("other"), "2 SAE not in the baseline"),
        (entry(is_control=True), "no results"),
        (sample_result("mine", evaluator="density"), "2 result not in the baseline"),
        (sample_result("mine", units=sample_units({"cosine": 0.9}, n_units=200, noise=0.01)), None),
        (sample_result("mine", {}, status="failed", reason="torn: x"), "2 failed in the baseline"),
        (without_sums(entry()), "2 no sums over contexts in the baseline"),
        (
            stating(entry(), value=None, status="undefined", reason="n: 0", ci_low=None, ci_high=None),
            "1 undefined in the baseline",
        ),
    ],
)
def test_a_weaker_baseline_is_counted_in_the_headline(before, why):
    """No way to thin a baseline lowers the number of checks in silence, and all of them can be made red."""
    if why == "no results":
        with pytest.raises(UsageError, match=why):
            check([before], [entry()])
        return
    both = ResultSet([before, entry("kept")]), ResultSet([entry(), entry("kept")])
    loose = check_regression(*both, TWO_PERCENT)
    strict = check_regression(*both, TWO_PERCENT, require_all=True)
    missing = loose.having("not compared")

    assert missing
    assert f"{len(missing)} not compared: {why or '1 metric not in the baseline'}" in headline(loose)
    assert {row.metric for row in strict.having("red")} >= {row.metric for row in missing}


def test_what_a_baseline_states_of_a_metric_leaves_no_gap():
    """Without its interval or the mark of a headline a metric is checked still; the sums decide."""
    for fields in ({"ci_low": None, "ci_high": None}, {"primary": False}):
        assert verdicts(check([stating(entry(), **fields)], [entry(fvu=0.03)]))["fvu"] == "red"


@pytest.mark.parametrize("fields", [{"higher_is_better": True}, {"higher_is_better": None}, {"unit": "nats"}])
def test_another_direction_or_unit_is_an_error(fields):
    """A baseline that calls worse better, or a share nats, turns nothing green."""
    assert verdicts(check([stating(entry(), **fields)], [entry(fvu=0.03)]))["fvu"] == "error"


@pytest.mark.parametrize("value", [0.03, 10.0, -0.02])
def test_a_value_that_does_not_follow_from_its_sums_is_an_error(value):
    """A forged value over an unchanged sidecar is refused on either side, even where it looks better."""
    forged = check([stating(entry(), value=value)], [entry(fvu=0.03)])
    now = check([entry()], [stating(entry(), value=value)])

    assert [verdicts(made)["fvu"] for made in (forged, now)] == ["error", "error"]
    row = next(row for row in forged.metrics if row.metric == "fvu")
    assert f"it is stated as {value:.6g}, its sums give 0.0" in row.reason


def test_a_new_evaluator_that_failed_is_no_success():
    """A result that the baseline has not is not needed; one that failed is an error all the same."""
    failed = sample_result("mine", {}, evaluator="density", status="failed", reason="torn file")

    assert not check([entry()], [entry(), failed]).passed


def test_a_new_sae_that_failed_is_no_success():
    """A run whose new SAE cannot be read is not green."""
    failed = sample_result("other", {}, status="failed", reason="torn file", hook="")

    assert not check([entry()], [entry(), failed]).passed


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"cache": {"key": "d" * 32, "model": "other"}}, "model"),
        ({"config": {"bias": False}}, "bias"),
        ({"analysis": {"seed": 1, "split": "context", "skip_first": 16}}, "seed"),
    ],
)
def test_what_is_not_comparable_is_an_error_that_says_why(fields, why):
    """Other data, options or splits are never green, even if the numbers are equal."""
    made = check([entry()], [entry(**fields)])

    assert set(verdicts(made).values()) == {"error"}
    assert why in made.metrics[0].reason
    assert not made.passed


def test_two_results_for_one_cell_are_an_error():
    """With results of two weights under one name nobody knows which is meant."""
    twin = entry(fvu=0.03, key="f" * 32)

    assert not check([entry()], [entry(), twin]).passed
    assert "2 results" in check([entry(), twin], [entry()]).metrics[0].reason


def test_the_exact_partner_wins_over_a_nearer_one():
    """With two seeds in both, each is compared with its own."""
    seeds = [{"seed": seed, "split": "context", "skip_first": 16} for seed in (0, 1)]
    both = [entry(analysis=analysis) for analysis in seeds]

    assert check(both, both[::-1]).passed


def test_controls_are_not_checked():
    """A control depends on the L0 of the SAEs beside it and says nothing about them."""
    control = entry("pca", is_control=True)

    assert [metric.sae for metric in check([entry(), control], [entry()]).metrics] == ["mine", "mine"]


def test_nothing_compared_is_not_green():
    """Where every metric is left out the check fails, and the headline says so."""
    plain = sample_result("mine", {"fvu": 0.02})
    before = changed(plain, "fvu", higher_is_better=None)
    made = check([before], [before])

    assert not made.passed
    assert "nothing could be compared" in headline(made)


def test_damaged_files_are_not_green():
    """A file that could not be read may be the one that matters."""
    made = check_regression(
        ResultSet([entry()], [Problem("x.json", "is empty")]), ResultSet([entry()]), TWO_PERCENT
    )

    assert not made.passed
    assert "x.json is empty" in render_table(check_table(made), "md").replace("\\", "")


def test_a_limit_for_an_unknown_metric_names_the_nearest():
    """A misspelt metric would leave its limit unused."""
    with pytest.raises(UsageError, match=r"reconstruction\.fvu"):
        check([entry()], [entry()], reconstruction__fvv="1%")


def test_an_empty_baseline_says_how_to_make_one():
    """Nothing to compare with is wrong usage."""
    with pytest.raises(UsageError, match="darkmatter run"):
        check([], [entry()])


def test_too_few_contexts_are_no_pass():
    """A metric that had an interval and has no paired one cannot be judged."""
    now = entry()
    units = now.units()
    fewer = type(units)(
        "contexts", units.ids[:150], {k: v[:150] for k, v in units.columns.items()}, units.estimators
    )

    assert set(verdicts(check([entry()], [StoredResult(now.result, None, lambda: fewer)])).values()) == {
        "error"
    }


def test_the_summary_is_one_page_of_markdown_that_names_from_files_cannot_break():
    """Red stands first, and hostile names stay inside their cells."""
    text = render_table(
        check_table(check([entry(HOSTILE), entry("a")], [entry(HOSTILE, fvu=0.03), entry("a")])), "md"
    )
    lines = [line for line in text.splitlines() if line.startswith("|")]

    assert text.index("## Red") < text.index("## Green")
    assert "<b>" not in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert len({line.replace("\\|", "").count("|") for line in lines[:3]}) == 1
    assert np.all([line.endswith("|") for line in lines])
