"""Which results of the baseline and of now belong together."""

import pytest

from darkmatter.results.collection import ResultSet
from darkmatter.results.limits import Limit
from darkmatter.results.reading import StoredResult
from darkmatter.results.regression import check_regression
from darkmatter.results.schema import Estimator, MetricValue
from darkmatter.results.units import Units
from darkmatter.testing.results import sample_result


def check(before, now):
    """The check of two lists of results at the default limit."""
    return check_regression(ResultSet(before), ResultSet(now), Limit(2.0, relative=True))


def entry(**options):
    """A result with a metric that is checked."""
    return sample_result("mine", **options)


def bare(evaluator="density", **options):
    """A result of which no metric can be checked: its one metric has no sums."""
    extra = [MetricValue(name="dead", value=0.1, primary=True)]
    return sample_result("mine", {}, evaluator=evaluator, extra=extra, **options)


def result_rows(made):
    """What is said of results as a whole."""
    return [(row.evaluator, row.hook, row.verdict) for row in made.metrics if not row.metric]


def test_a_result_that_is_gone_is_red_even_if_nothing_of_it_is_checked():
    """One row for each missing or failed result, whether or not its metrics could be judged."""
    failed = bare("autointerp", status="failed", reason="no judge")
    before = [entry(), bare("density"), bare("autointerp")]
    made = check(before, [entry(), failed])
    hook = before[0].result.sae.hook

    assert result_rows(made) == [("autointerp", hook, "red"), ("density", hook, "red")]
    assert not made.passed


def test_a_result_that_is_gone_at_one_hook_point_is_missing_there():
    """One of another hook point, or of other options, that has its own baseline says nothing of it."""
    here, there = entry(hook="blocks.1"), entry(hook="blocks.2")
    made = check([here, there], [here])

    assert result_rows(made) == [("reconstruction", "blocks.2", "red")]
    assert "no result for it now" in made.having("red")[0].reason
    assert "blocks.1" in made.having("red")[0].reason
    plain, biased = entry(), entry(config={"bias": False})
    assert "no result for it now" in check([plain, biased], [plain]).having("red")[0].reason


def test_a_result_that_moved_to_another_hook_point_is_missing_and_new():
    """The baseline's place has nothing now, and the new place nothing to be compared with."""
    made = check([entry(hook="blocks.1")], [entry(hook="blocks.2")])

    assert result_rows(made) == [("reconstruction", "blocks.1", "red")]
    assert {row.hook for row in made.having("not compared")} == {"blocks.2"}


def test_matching_looks_at_no_pair_of_different_saes(monkeypatch):
    """The work grows with the number of results, not with its square."""
    from darkmatter.results import matching

    calls = []
    real = matching.why_not_comparable
    monkeypatch.setattr(matching, "why_not_comparable", lambda *pair: calls.append(pair) or real(*pair))
    many = [bare(evaluator=f"e{row}") for row in range(50)]
    check(many, many)

    assert len(calls) <= 4 * len(many)
    assert all(a.evaluator == b.evaluator for a, b in calls)


def test_a_new_metric_with_a_limit_of_its_own_is_counted():
    """What a limit was given for and the baseline lacks for one SAE stands among what is not compared."""
    new = sample_result("new", {}, extra=[MetricValue(name="dead", value=0.1, higher_is_better=False)])
    old = entry(extra=[MetricValue(name="dead", value=0.1, higher_is_better=False)])
    limits = {"reconstruction.dead": Limit(5.0, relative=True)}
    made = check_regression(ResultSet([old]), ResultSet([old, new]), Limit(2.0, relative=True), limits)

    assert [(row.sae, row.metric) for row in made.having("not compared")] == [("new", "dead")]


def test_a_run_whose_every_result_failed_at_another_place_is_red():
    """An SAE that cannot be read has no hook point: its failure answers for every result of it."""
    failed = entry(metrics={}, status="failed", reason="no such file", hook="")
    made = check([entry(hook="blocks.1"), entry(hook="blocks.2")], [failed])

    assert [(row.hook, row.verdict) for row in made.metrics] == [("blocks.1", "red"), ("blocks.2", "red")]
    assert all("no such file" in row.reason for row in made.metrics)


def test_two_results_for_one_cell_are_an_error():
    """With results of two weights under one name nobody knows which is meant."""
    twin = entry(metrics={"fvu": 0.03}, key="f" * 32)

    assert not check([entry()], [entry(), twin]).passed
    assert "2 results" in check([entry(), twin], [entry()]).metrics[0].reason


def test_the_exact_partner_wins_over_a_nearer_one():
    """With two seeds in both, each is compared with its own."""
    seeds = [{"seed": seed, "split": "context", "skip_first": 16} for seed in (0, 1)]
    both = [entry(analysis=analysis) for analysis in seeds]

    assert check(both, both[::-1]).passed


def test_controls_are_not_checked():
    """A control depends on the L0 of the SAEs beside it and says nothing about them."""
    control = sample_result("pca", is_control=True)

    assert [metric.sae for metric in check([entry(), control], [entry()]).metrics] == ["mine"]


def test_an_sae_that_joined_a_suite_turns_nothing_red():
    """What other SAEs shaped is not compared where these are others: that is neither worse nor an error."""
    before, now = (entry(evaluator="looker", beside=beside) for beside in (("a",), ("a", "b")))
    made = check([entry(), before], [entry(), now])

    assert made.passed
    assert result_rows(made) == [("looker", before.result.sae.hook, "not compared")]
    assert "SAEs beside it: none more or b" in made.having("not compared")[0].reason


@pytest.mark.parametrize("fields", [{"higher_is_better": None}, {"unit": "nats"}])
def test_a_metric_is_not_redefined_into_silence(fields):
    """Without its direction, or in another unit, a metric would not be checked: that is an error."""
    now = entry(metrics={"fvu": 0.06})
    metrics = tuple(each.model_copy(update=fields) for each in now.result.metrics)
    now = StoredResult.in_memory(now.result.model_copy(update={"metrics": metrics}), now.units())

    assert [row.verdict for row in check([entry()], [now]).metrics if row.metric == "fvu"] == ["error"]


def test_a_metric_of_other_sums_is_an_error():
    """A ratio over other columns has a value that follows from its sums, and is another metric."""
    before, now = entry(), entry(metrics={"fvu": 0.06})
    units = now.units()
    columns = {**units.columns, "more": 10 * units.columns["rows"]}
    estimators = {"fvu": Estimator(numerator="fvu.sum", denominator="more")}
    swapped = Units(units.kind, units.ids, columns, estimators)
    metrics = tuple(each.model_copy(update={"value": 0.006}) for each in now.result.metrics)
    now = StoredResult.in_memory(now.result.model_copy(update={"metrics": metrics}), swapped)
    [row] = [row for row in check([before], [now]).metrics if row.metric == "fvu"]

    assert (row.verdict, "other sums" in row.reason) == ("error", True)
