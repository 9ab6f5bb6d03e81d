"""Choosing SAEs and metrics, and the order of rows."""

import pytest

from darkmatter.errors import UsageError
from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.results.schema import MetricValue
from darkmatter.results.selecting import find_metric, select, sort
from darkmatter.testing.results import sample_result, sample_units


def entry(name, fvu=0.02, **options):
    """An SAE with an FVU, and an L0 that is no headline."""
    l0 = MetricValue(name="l0", value=fvu * 1000)
    return sample_result(name, units=sample_units({"fvu": fvu}), extra=[l0], **options)


@pytest.fixture
def results():
    """Three SAEs, a control at their hook point and one elsewhere, and a second evaluator with an fvu."""
    sample = MetricValue(name="fvu", value=0.5)
    return ResultSet(
        [
            entry("w512", 0.03),
            entry("w1024", 0.02),
            entry("best", 0.01),
            entry("pca", 0.2, is_control=True),
            entry("pca-elsewhere", 0.2, is_control=True, hook="blocks.9.x"),
            sample_result("w512", metrics={}, evaluator="pursuit", extra=[sample]),
            sample_result("w1024", metrics={}, evaluator="pursuit", status="failed", reason="no memory"),
        ]
    )


def rows(results):
    """The names of the rows of the first section."""
    return [row.name for row in build_table(results, all_metrics=True).sections[0].blocks[0].rows]


def metrics(results):
    """Every evaluator and metric that is left."""
    return sorted({(r.evaluator.name, m.name) for r in results for m in r.metrics})


def test_a_plain_name_means_the_headline_of_one_evaluator(results):
    """Plain ``fvu`` is reconstruction's; the other evaluator's must be named with it."""
    assert find_metric(results, "fvu") == ("reconstruction", "fvu")
    assert find_metric(results, "pursuit.fvu") == ("pursuit", "fvu")
    assert metrics(select(results, metrics=["*fvu"])) == [("pursuit", "fvu"), ("reconstruction", "fvu")]


def test_patterns_choose_metrics_beyond_the_headlines(results):
    """A metric that is no headline can be chosen, by name or by its evaluator's pattern."""
    assert metrics(select(results, metrics=["l0"])) == [("reconstruction", "l0")]
    assert metrics(select(results, metrics=["pursuit.*"])) == [("pursuit", "fvu")]


def test_a_failure_stays_with_the_metrics_of_its_evaluator(results):
    """Who asks for an evaluator's metrics is told where it failed; who does not is not bothered."""
    assert build_table(select(results, metrics=["pursuit.*"])).missing
    assert not build_table(select(results, metrics=["l0"])).missing


def test_brackets_in_names_are_no_patterns():
    """r2[all] names itself, although it is also a pattern."""
    results = ResultSet([sample_result(extra=[MetricValue(name="r2[all]", value=0.1)])])

    assert find_metric(results, "r2[all]") == ("reconstruction", "r2[all]")


def test_saes_are_chosen_and_their_controls_stay(results):
    """The yardstick stays beside what is measured, unless it is left out; other hook points go."""
    chosen = select(results, saes=["w*"])

    assert {result.sae.name for result in chosen} == {"w512", "w1024", "pca"}
    assert {r.sae.name for r in select(results, saes=["w*"], controls=False)} == {"w512", "w1024"}


@pytest.mark.parametrize(
    ("options", "near"),
    [
        ({"metrics": ["fuv"]}, "Did you mean 'fvu'"),
        ({"metrics": ["pursuit.l0"]}, "pursuit.fvu"),
        ({"saes": ["w51"]}, "Did you mean 'w512'"),
    ],
)
def test_unknown_names_say_the_nearest(results, options, near):
    """A misspelt metric or SAE is an error with what may have been meant, not an empty table."""
    with pytest.raises(UsageError, match=near):
        select(results, **options)


def test_a_name_of_several_metrics_is_refused():
    """Where two evaluators have it as a headline, it must be said which."""
    both = [sample_result(evaluator=name, units=sample_units({"fvu": 0.1})) for name in ("a", "b")]

    with pytest.raises(UsageError, match=r"a\.fvu, b\.fvu"):
        find_metric(ResultSet(both), "fvu")


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("fvu", ["best", "w1024", "w512", "pca"]),
        ("fvu:desc", ["w512", "w1024", "best", "pca"]),
        ("l0", ["best", "w1024", "w512", "pca"]),
        ("l0:desc", ["w512", "w1024", "best", "pca"]),
    ],
)
def test_rows_are_sorted_with_controls_last(results, by, expected):
    """Without a direction the best comes first; controls follow the SAEs whatever their values."""
    assert rows(sort(results, by)) == expected
    assert [r["sae"] for r in sort(results, by).rows() if r["metric"] == "l0"][:4] == expected


def test_higher_is_better_sorts_from_the_top():
    """The best of a metric that shall be high is the largest."""
    results = ResultSet(
        [sample_result(n, units=sample_units({"cosine": v})) for n, v in (("a", 0.5), ("b", 0.9))]
    )

    assert rows(sort(results, "cosine")) == ["b", "a"]


def test_saes_without_the_value_come_after_those_with_it(results):
    """An SAE on which the metric was not measured is not the best."""
    assert rows(sort(results, "pursuit.fvu"))[0] == "w512"


def test_the_order_is_that_of_each_section():
    """The same SAE on two data sets is sorted in each by what was measured there."""

    def on(key, name, fvu):
        return entry(name, fvu, cache={"key": key})

    results = ResultSet([on("1", "a", 0.1), on("1", "b", 0.2), on("2", "a", 0.4), on("2", "b", 0.3)])
    sections = build_table(sort(results, "fvu")).sections

    assert [[row.name for row in section.blocks[0].rows] for section in sections] == [["a", "b"], ["b", "a"]]


def test_the_order_survives_a_choice(results):
    """Sorting by a metric that is not shown is what one wants of l0."""
    assert rows(select(sort(results, "l0:desc"), metrics=["fvu"])) == ["w512", "w1024", "best", "pca"]


@pytest.mark.parametrize("by", ["fvu:up", "fuv", ":asc"])
def test_a_wrong_sort_is_wrong_usage(results, by):
    """An unknown direction or metric stops the command."""
    with pytest.raises(UsageError):
        sort(results, by)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_metric_of_several_configurations_is_sorted_by_the_one_that_is_named(reverse):
    """The order of files decides nothing: the column must be said, and then it does."""
    fvu = {("x", 1): 0.09, ("x", 2): 0.01, ("y", 1): 0.02, ("y", 2): 0.05}
    found = [entry(name, value, config={"c": c}) for (name, c), value in fvu.items()]
    results = ResultSet(found[::-1] if reverse else found)

    with pytest.raises(UsageError, match=r"Say which: 'reconstruction \(c=1\)\.fvu', 'recon"):
        sort(results, "fvu")
    assert rows(sort(results, "reconstruction (c=1).fvu")) == ["y", "x"]
    assert rows(sort(results, "reconstruction (c=2).fvu")) == ["x", "y"]
    assert rows(sort(results, "reconstruction (c=2).fvu:desc")) == ["y", "x"]


def test_configurations_at_different_places_need_no_choice():
    """Where every table has one column of the metric, each is sorted by its own."""
    here = [entry(name, value, config={"c": 1}) for name, value in (("x", 0.09), ("y", 0.02))]
    results = ResultSet([*here, entry("z", 0.05, config={"c": 2}, hook="blocks.9.x")])

    assert rows(sort(results, "fvu")) == ["y", "x"]


def test_controls_of_other_places_do_not_stay():
    """A control beside a transcoder is no yardstick for an SAE that reads the same hook point."""
    beside = entry("mean", is_control=True, hook_out="blocks.2.hook_mlp_out")
    kept = select(ResultSet([entry("sae"), entry("pca", is_control=True), beside]), saes=["sae"])

    assert [result.sae.name for result in kept] == ["sae", "pca"]
