"""SAEBench's result files: read under their own names, marked as its own, and never trusted."""

import json
from pathlib import Path

import pytest

from darkmatter.errors import UsageError
from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.results.saebench import NEW_VARIANCE, NOT_COMPUTED, OLD_VARIANCE, add_saebench, read_saebench
from darkmatter.testing.results import HOSTILE, sample_result

SAMPLES = Path(__file__).parent / "saebench_samples"


def metrics(name):
    """The metrics of one sample, by name."""
    found = read_saebench(SAMPLES / name)
    assert not found.problems
    return {metric.name: metric for metric in found.results[0].metrics}


def written(folder, record, name="a.json"):
    """A file with this record."""
    path = folder / name
    path.write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")
    return path


@pytest.fixture
def core():
    """The record of the newer core sample."""
    return json.loads((SAMPLES / "core.json").read_text(encoding="utf-8"))


def test_every_evaluation_is_read_under_its_own_name():
    """All samples are read, and evaluations and metrics keep SAEBench's names."""
    found = read_saebench(SAMPLES)
    names = {(result.evaluator.name, metric.name) for result in found.results for metric in result.metrics}

    assert not found.problems
    assert not found.unknown
    assert {
        ("saebench.core", "explained_variance"),
        ("saebench.absorption_first_letter", "mean_absorption_fraction_score"),
        ("saebench.autointerp", "autointerp_score"),
        ("saebench.ravel", "disentanglement_score"),
        ("saebench.scr", "scr_metric_threshold_10"),
        ("saebench.tpp", "tpp_threshold_10_total_metric"),
        ("saebench.sparse_probing", "sae_top_1_test_accuracy"),
        ("saebench.unlearning", "unlearning_score"),
    } <= names


def test_explained_variance_carries_the_note_of_its_formula():
    """A value above 1 stands as it is, and the note says which of two formulas made it."""
    new, old = metrics("core.json"), metrics("core_2024.json")

    assert (new["explained_variance"].value, new["explained_variance"].reason) == (1.0013, NEW_VARIANCE)
    assert new["explained_variance_legacy"].reason == OLD_VARIANCE
    assert (old["explained_variance"].value, old["explained_variance"].reason) == (0.8125, OLD_VARIANCE)


def test_what_saebench_did_not_compute_has_no_value():
    """Its -1 and its null are no measurements; null is kept out of the headline columns."""
    assert metrics("core_2024.json")["kl_div_score"].value is None
    assert metrics("core_2024.json")["kl_div_score"].reason == NOT_COMPUTED
    assert metrics("scr.json")["scr_metric_threshold_20"].value is None
    assert not metrics("scr.json")["scr_metric_threshold_20"].primary
    assert metrics("scr.json")["scr_metric_threshold_10"].primary


def test_nothing_of_saebench_has_an_interval_or_is_best(core, tmp_path):
    """Two of its SAEs in one column: no bold, no tie, no bracket."""
    other = {**core, "sae_lens_id": "other"}
    other["eval_result_metrics"] = {
        "sparsity": {"l0": 5.0},
        "reconstruction_quality": {"explained_variance": 0.1},
    }
    written(tmp_path, core)
    written(tmp_path, other, "b.json")
    table = build_table(ResultSet(read_saebench(tmp_path).results))
    cells = [cell for s in table.sections for b in s.blocks for row in b.rows for cell in row.cells]

    assert len(table.sections) == 1
    assert {cell.mark for cell in cells} == {""}
    assert not any("[" in cell.text for cell in cells)


def test_its_numbers_stand_apart_from_ours_at_the_same_hook_point():
    """They have a section of their own that says by whom they were measured and that they do not compare."""
    ours = ResultSet([sample_result(hook="blocks.4.hook_resid_post")])
    both, described, _ = add_saebench(ours, [SAMPLES / "core.json"])
    first, second = build_table(both, evaluators=described).sections

    assert (first.title, first.warnings) == ("blocks.4.hook_resid_post", ())
    assert second.title == "blocks.4.hook_resid_post (SAEBench)"
    assert "measured by darkmatter or SAEBench" in second.warnings[0]
    assert "model tiny-70m" in second.data


def test_another_hook_point_is_not_comparable_either():
    """Also where we measured nothing at its hook point, its section says that it is not comparable."""
    both, _, _ = add_saebench(ResultSet([sample_result(hook="blocks.9.x")]), [SAMPLES / "core.json"])

    assert [bool(section.warnings) for section in build_table(both).sections] == [True, False]


def test_the_sae_is_described_from_old_and_new_configurations():
    """Hook point, sizes and names are found in both layouts, and guessed from the id where there is none."""
    new, old, custom = (
        read_saebench(SAMPLES / name).results[0].sae
        for name in ("core.json", "core_2024.json", "sparse_probing.json")
    )

    assert (new.name, new.d_sae, new.l0) == (
        "sweep_topk/blocks.4.hook_resid_post__trainer_10",
        16384,
        80.0,
    )
    assert (old.hook, custom.name) == ("blocks.3.hook_resid_post", "mine")
    assert custom.hook == new.hook == "blocks.4.hook_resid_post"


def test_versions_and_options_are_columns_of_their_own(core, tmp_path):
    """Results of two commits, or of two configurations, do not share a column."""
    written(tmp_path, core)
    written(tmp_path, {**core, "sae_lens_id": "other", "sae_bench_commit_hash": "f" * 40}, "b.json")
    both, described, _ = add_saebench(ResultSet([]), [tmp_path])
    titles = {
        c.evaluator for b in build_table(both, evaluators=described).sections[0].blocks for c in b.columns
    }

    assert titles == {"saebench.core (sae_bench=0123456789ab)", "saebench.core (sae_bench=ffffffffffff)"}


def test_unknown_fields_are_tolerated_and_listed(core, tmp_path):
    """A newer file is read; fields and metrics that are new neither break it nor pass unseen."""
    core["eval_result_metrics"]["new"] = {"brand_new": 0.5}
    path = written(tmp_path, {**core, "new_field": 1})
    found = read_saebench(path)

    assert found.unknown == {str(path): ("new_field",)}
    assert "brand_new" in {metric.name for metric in found.results[0].metrics}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        ("{", "is not JSON"),
        ("[1]", "no result of SAEBench"),
        ('{"a": {"b": 1}}', "no result of SAEBench"),
        ('{"schema_version": 1}', "no result of SAEBench"),
        ('{"eval_type_id": "core"}', "no eval_result_metrics"),
        ('{"eval_type_id": "core", "eval_type_id": "core"}', "occurs twice in one object"),
        ('{"eval_type_id": "no such!", "eval_result_metrics": {}}', "expected a name such as 'core'"),
        ('{"eval_type_id": "core", "eval_result_metrics": {"a": 1}}', "no metrics in the category 'a'"),
        ('{"eval_type_id": "core", "eval_result_metrics": {"a": {"b": "x"}}}', "a.b should be a number"),
        ('{"eval_type_id": "core", "eval_result_metrics": {"a": {"b": true}}}', "a.b should be a number"),
        ("[" * 100_000, "nested more than 64 levels deep"),
    ],
)
def test_what_is_no_result_is_named_with_its_reason(tmp_path, content, reason):
    """A wrong file becomes a problem, and a good one beside it is read."""
    bad = written(tmp_path, content)
    written(tmp_path, (SAMPLES / "ravel.json").read_text(encoding="utf-8"), "good.json")
    found = read_saebench(tmp_path)

    assert [problem.path for problem in found.problems] == [str(bad)]
    assert reason in found.problems[0].reason
    assert len(found.results) == 1


def test_a_mapping_with_one_bad_record_is_refused_whole(core, tmp_path):
    """No part of a file that is not understood is used."""
    found = read_saebench(written(tmp_path, {"a": core, "b": {}}))

    assert (found.results, len(found.problems)) == ((), 1)


def test_numbers_that_are_none_become_undefined(core, tmp_path):
    """NaN, infinity and whole numbers beyond every float have no value and a reason."""
    core["eval_result_metrics"] = {"a": {"x": float("nan"), "y": float("inf"), "z": 10**400}}
    found = read_saebench(written(tmp_path, core))

    assert [metric.value for metric in found.results[0].metrics] == [None] * 3
    assert found.results[0].metrics[0].reason == "it is nan in SAEBench's file"


def test_links_and_large_files_are_not_read(tmp_path, monkeypatch):
    """A symbolic link and a file above the limit are named, not followed or loaded."""
    (tmp_path / "link.json").symlink_to(SAMPLES / "core.json")
    written(tmp_path, " " * 100, "large.json")
    monkeypatch.setattr("darkmatter.results.saebench.MAX_JSON_BYTES", 99)
    reasons = [problem.reason for problem in read_saebench(tmp_path).problems]

    assert reasons[0].startswith("has 100 bytes")
    assert reasons[1].startswith("is a symbolic link")


def test_hostile_names_reach_no_reporter_raw(core, tmp_path):
    """What a stranger wrote for a name passes through every reporter's escaping."""
    from darkmatter.results.render import render

    core.update(sae_lens_id=HOSTILE, sae_lens_release_id=HOSTILE)
    core["eval_result_metrics"] = {HOSTILE: {HOSTILE: 0.5}}
    results = ResultSet(read_saebench(written(tmp_path, core)).results)

    for reporter in ("md", "html", "latex", "csv", "json"):
        text = render(results, reporter, all_metrics=True)
        assert not set("\x1b\x07\u202e") & set(text)
        assert reporter not in {"md", "html"} or "<b>*d*" not in text


def test_a_missing_path_is_wrong_usage(tmp_path):
    """A path that is not there stops the command and says what was expected."""
    with pytest.raises(UsageError, match="no such file or folder"):
        read_saebench(tmp_path / "nothing")
