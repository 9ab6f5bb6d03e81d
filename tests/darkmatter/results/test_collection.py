"""Sets of results as tidy rows."""

import pytest

from darkmatter.results.collection import ResultSet
from darkmatter.results.comparable import distinct_names, why_not_comparable
from darkmatter.results.rows import ROW_COLUMNS
from darkmatter.results.schema import EvaluatorRecord, MetricValue
from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result


def identities(results):
    """What must be unique among rows."""
    return [(row["sae"], row["evaluator"], row["config"], row["metric"]) for row in results.rows()]


def test_rows_have_the_documented_columns():
    """The first columns are those of the contract, and every row has all columns."""
    rows = ResultSet([sample_result()]).rows()

    assert ROW_COLUMNS[:7] == ("sae", "evaluator", "metric", "value", "ci_low", "ci_high", "status")
    assert all(tuple(row) == ROW_COLUMNS for row in rows)


def test_pandas_has_numbers_and_nan():
    """Values are float64 with NaN where undefined, and the reason stands beside it."""
    undefined = MetricValue(name="share", value=None, status="undefined", reason="no variance")
    frame = ResultSet([sample_result(extra=[undefined])]).to_pandas()

    assert frame["value"].dtype == "float64"
    assert frame["value"].isna().tolist() == [False, True]
    assert frame["reason"].tolist()[1] == "no variance"
    assert list(ResultSet([]).to_pandas().columns) == list(ROW_COLUMNS)


def test_failed_and_skipped_results_and_items_are_rows():
    """What gave no number is a row with status and reason, and has an SAE."""
    skipped = sample_result("mine", metrics={}, evaluator="ce", status="skipped", reason="needs a model")
    broken = sample_result("broken", metrics={}, hook="", status="failed", reason="no such file")
    results = ResultSet([sample_result(), skipped, broken])
    rows = {(row["sae"], row["status"]): row for row in results.rows(all_metrics=False)}

    assert rows["mine", "skipped"]["reason"] == "needs a model"
    assert rows["broken", "failed"]["reason"] == "no such file"
    assert all(row["sae"] for row in results.rows())


def test_only_primary_metrics_without_all():
    """Secondary metrics show only when asked for."""
    secondary = MetricValue(name="mse", value=1.0)
    results = ResultSet([sample_result(extra=[secondary])])

    assert [row["metric"] for row in results.rows(all_metrics=False)] == ["fvu"]
    assert [row["metric"] for row in results.rows()] == ["fvu", "mse"]


@pytest.mark.parametrize(
    ("changes", "suffix"),
    [
        ({"analysis": {"seed": 1}}, "seed=1"),
        ({"hook": "blocks.3.hook_resid_post"}, "blocks.3.hook_resid_post"),
        ({"cache": {"key": "d" * 32}}, "cache=dddddddd"),
        ({"evaluator_record": 2}, "v2"),
    ],
)
def test_rows_stay_unique_whatever_differs(changes, suffix):
    """Results of one SAE on other data, seeds or versions get names that say so."""
    if version := changes.pop("evaluator_record", None):
        changes = {"evaluator": "reconstruction"}
        other = sample_result(**changes)
        record = EvaluatorRecord(name="reconstruction", version=version)
        other = type(other).in_memory(other.result.model_copy(update={"evaluator": record, "key": "e" * 32}))
    else:
        other = sample_result(**changes)
    results = ResultSet([sample_result(), other])

    assert len(set(identities(results))) == len(identities(results))
    assert suffix in results.names[1]


def test_names_stay_plain_where_they_suffice():
    """Other evaluators and other configurations need no longer name."""
    entries = [sample_result(), sample_result(evaluator="density"), sample_result(config={"k": 1})]

    assert distinct_names([entry.result for entry in entries]) == ["mine"] * 3


def test_several_folders_are_one_set(tmp_path):
    """A result that lies in two folders counts once; other numbers under its key are a problem."""
    entry = sample_result()
    for name in ("a", "b"):
        with ResultStore.open(tmp_path / name) as store:
            store.write(entry.result, entry.units())
    same = ResultSet.read(tmp_path / "a", tmp_path / "b")
    changed = sample_result(metrics={"fvu": 0.5}, key=entry.result.key)
    with ResultStore.open(tmp_path / "c") as store:
        store.write(changed.result, changed.units())
    other = ResultSet.read(tmp_path / "a", tmp_path / "c")

    assert (len(same), len(same.problems)) == (1, 0)
    assert "other numbers" in other.problems[0].reason


def test_why_not_comparable_names_the_difference():
    """The reason says which field and both values; precision and device do not count."""
    base = sample_result(analysis={"seed": 0, "dtype": "float32"}).result
    other = sample_result(analysis={"seed": 1, "dtype": "bfloat16"}).result

    assert why_not_comparable(base, other) == ["seed: 0 or 1"]


@pytest.mark.parametrize(("field", "what"), [("members", "members"), ("beside", "SAEs beside it")])
def test_results_that_other_saes_shaped_are_not_compared(field, what):
    """A family that grew, or a result that looked at more SAEs, did not get better or worse by it."""

    def of(names):
        result = sample_result().result
        if field == "members":
            return result.model_copy(update={"sae": result.sae.model_copy(update={"members": names})})
        return result.model_copy(update={"beside": names})

    assert why_not_comparable(of(("a", "b")), of(("b", "a"))) == []
    assert why_not_comparable(of(("a", "b")), of(("b", "c"))) == [f"{what}: a or c"]
    assert why_not_comparable(of(("a",)), of(("a", "c"))) == [f"{what}: none more or c"]


def test_two_saes_of_one_run_stand_beside_each_other():
    """Each of two looks at the other and at what both have beside them: the same company."""
    one, two = sample_result("one").result, sample_result("two").result

    assert (
        why_not_comparable(
            one.model_copy(update={"beside": ("two", "x")}), two.model_copy(update={"beside": ("one", "x")})
        )
        == []
    )


def test_a_failed_result_is_shown_beside_an_older_success():
    """A failure that is there is current: no success hides it, and rows stay unique."""
    failed = sample_result(metrics={}, hook="", key="1" * 32, status="failed", reason="no such file")
    results = ResultSet([sample_result(), failed])

    assert {row["status"] for row in results.rows()} == {"ok", "failed"}
    assert len(set(identities(results))) == len(results.rows())
    assert results.names[1] == "mine"


def test_another_hook_to_write_to_is_another_place():
    """A transcoder is not comparable with an SAE at its input: `check` and `compare` say both hook points."""
    sae, transcoder = sample_result("a").result, sample_result("a", hook_out="blocks.2.hook_mlp_out").result

    assert why_not_comparable(sae, transcoder) == [
        "hook point: blocks.2.hook_resid_post or blocks.2.hook_resid_post → blocks.2.hook_mlp_out"
    ]
    assert why_not_comparable(transcoder, transcoder) == []
    assert distinct_names([sae, transcoder]) == [
        "a (blocks.2.hook_resid_post)",
        "a (blocks.2.hook_resid_post → blocks.2.hook_mlp_out)",
    ]
