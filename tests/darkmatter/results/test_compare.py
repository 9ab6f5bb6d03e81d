"""Paired comparisons of SAEs and of folders."""

import json

import pytest

from darkmatter.errors import UsageError
from darkmatter.results.collection import ResultSet
from darkmatter.results.compare import _partners, compare_folders, compare_saes
from darkmatter.results.reading import Problem
from darkmatter.results.render import render_table
from darkmatter.results.schema import MetricValue
from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result, sample_units


def entry(name, fvu=0.02, cosine=0.9, **options):
    """An SAE with two metrics of opposite directions."""
    return sample_result(name, units=sample_units({"fvu": fvu, "cosine": cosine}, n_units=200), **options)


def compared(a, b, **options):
    """The rows of a comparison of two results, by metric."""
    rows = compare_saes(ResultSet([a, b]), a.result.sae.name, b.result.sae.name, **options).rows()
    return {row["metric"]: row for row in rows}


def test_verdicts_follow_the_direction():
    """Lower FVU is better, lower cosine is worse; differences are B - A."""
    rows = compared(entry("a", fvu=0.03, cosine=0.9), entry("b", fvu=0.02, cosine=0.8))

    assert (rows["fvu"]["verdict"], rows["cosine"]["verdict"]) == ("better", "worse")
    assert rows["fvu"]["difference"] == pytest.approx(-0.01, abs=1e-3)
    assert rows["fvu"]["ci_low"] < rows["fvu"]["difference"] < rows["fvu"]["ci_high"] < 0
    assert "Holm" in rows["fvu"]["ci_method"]


def test_what_cannot_be_told_apart_is_a_tie():
    """A difference within the noise is a tie with an interval around 0."""
    row = compared(entry("a", fvu=0.02), entry("b", fvu=0.020001))["fvu"]

    assert row["verdict"] == "tie"
    assert row["ci_low"] <= 0 <= row["ci_high"]


def test_a_metric_without_direction_only_differs():
    """More active latents are neither better nor worse."""
    a, b = (
        sample_result(name, units=sample_units({"l0": value})) for name, value in (("a", 16.0), ("b", 32.0))
    )
    plain = [m.model_copy(update={"higher_is_better": None}) for m in a.result.metrics]
    a = type(a)(a.result.model_copy(update={"metrics": tuple(plain)}), None, a.loader)

    assert compared(a, b)["l0"]["verdict"] == "differs"


def test_metrics_without_sums_have_no_interval():
    """A dead fraction is not resampled: the difference stands without interval, equal ones tie."""

    def dead(name, value):
        return entry(name, extra=[MetricValue(name="dead", value=value, higher_is_better=False)])

    assert compared(dead("a", 0.1), dead("b", 0.2))["dead"]["verdict"] == "no interval"
    assert compared(dead("a", 0.1), dead("b", 0.1))["dead"]["verdict"] == "tie"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cache": {"key": "d" * 32, "contexts": 10}}, "contexts: 150 or 10"),
        ({"analysis": {"seed": 1, "split": "context", "skip_first": 16}}, "seed: 0 or 1"),
        ({"config": {"bias": False}}, "bias: null or false"),
        ({"hook": "blocks.3.hook_resid_post"}, "hook point"),
        ({"status": "failed", "reason": "out of memory"}, "out of memory"),
    ],
)
def test_what_was_measured_otherwise_is_not_compared(changes, reason):
    """Other data, analysis or options give no difference but the reason."""
    row = compared(entry("a"), entry("b", **changes))["fvu"]

    assert row["verdict"] == "not comparable"
    assert row["difference"] is None
    assert reason in row["reason"]


def test_other_units_have_no_interval():
    """Equal settings but other unit ids cannot be paired."""
    other = sample_result("b", units=sample_units({"fvu": 0.03}, first_id=5))

    assert compared(sample_result("a"), other)["fvu"]["verdict"] == "no interval"


def test_precision_and_device_are_noted_not_refused():
    """float32 against bfloat16 is what one may want to compare."""
    base = {"seed": 0, "dtype": "float32"}
    comparison = compare_saes(
        ResultSet([entry("a", analysis=base), entry("b", analysis=base | {"dtype": "bfloat16"})]), "a", "b"
    )

    assert comparison.metrics[0].verdict != "not comparable"
    assert any("float32 or bfloat16" in note for note in comparison.notes)


def test_an_unknown_sae_names_the_nearest():
    """A misspelt name gets a hint."""
    with pytest.raises(UsageError, match="Did you mean 'alpha'"):
        compare_saes(ResultSet([entry("alpha"), entry("beta")]), "alpah", "beta")


def test_folders_are_compared_by_name(tmp_path):
    """Before and after a change: the same SAE on both sides, and what is only on one."""
    for folder, fvu in (("before", 0.02), ("after", 0.03)):
        with ResultStore.open(tmp_path / folder) as store:
            made = entry("mine", fvu=fvu)
            store.write(made.result, made.units())
            made = entry(f"only-{folder}")
            store.write(made.result, made.units())
    comparison = compare_folders(tmp_path / "before", tmp_path / "after")

    assert {(row.sae_a, row.sae_b) for row in comparison.metrics} == {("mine", "mine")}
    assert [row.verdict for row in comparison.metrics if row.metric == "fvu"] == ["worse"]
    assert [note.split(",")[0] for note in comparison.notes] == [
        "only in A: only-before",
        "only in B: only-after",
    ]


def test_markdown_shows_values_difference_and_verdict():
    """The rendered comparison reads as a table with explained columns."""
    comparison = compare_saes(ResultSet([entry("a"), entry("b", fvu=0.03)]), "a", "b")
    text = render_table(comparison.to_table(), "md")

    assert text.startswith("# A = a, B = b")
    assert "| fvu ↓" in text
    assert "worse" in text
    assert "How to read it" in text
    assert "over the headline metrics of this comparison, and apart from them" in text


def test_a_pattern_compares_several_with_the_first():
    """Each SAE that B names is compared with A, in natural order, and A never with itself."""
    results = ResultSet([entry("w512"), entry("w10240", fvu=0.01), entry("w1024", fvu=0.03)])
    rows = compare_saes(results, "w512", "w*").rows()

    assert [row["sae_b"] for row in rows if row["metric"] == "fvu"] == ["w1024", "w10240"]
    assert {row["sae_a"] for row in rows} == {"w512"}


def test_a_pattern_makes_one_family():
    """More comparisons at once widen the intervals: the chance of any false difference stays 5%."""
    saes = [entry("a"), entry("b1", fvu=0.020004), *(entry(f"b{i}", fvu=0.0200041) for i in range(2, 30))]
    alone = compare_saes(ResultSet(saes), "a", "b1").rows()[0]
    among = compare_saes(ResultSet(saes), "a", "b*").rows()[0]

    assert among["sae_b"] == "b1"
    assert among["ci_high"] - among["ci_low"] > alone["ci_high"] - alone["ci_low"]


def test_a_pattern_that_names_nobody_is_refused():
    """It is an error with the nearest name."""
    with pytest.raises(UsageError, match="Did you mean 'other'"):
        compare_saes(ResultSet([entry("mine"), entry("other")]), "mine", "othr*")


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
@pytest.mark.parametrize("exchanged", [False, True])
def test_exact_partners_find_each_other_whatever_stands_first(order, exchanged):
    """A configuration that one side lacks does not take the partner of one that both have."""
    several = [entry("a", fvu=c / 100, config={"c": c}) for c in order]
    one = [entry("b", fvu=0.03, config={"c": 2})]
    names = ("b", "a") if exchanged else ("a", "b")
    found = compare_saes(ResultSet([*several, *one]), *names)

    fvu = next(row for row in found.metrics if row.metric == "fvu")
    assert fvu.verdict == ("better" if exchanged else "worse")
    assert json.loads(fvu.config) == {"c": 2}
    assert [note for note in found.notes if '{"c": 1}' in note] == list(found.notes)
    assert len(found.notes) == 1


def test_results_of_the_same_weights_go_together():
    """Of several that are comparable, the one of the same weights is the partner."""

    def weights(made, fingerprint):
        record = made.result.sae.model_copy(update={"fingerprint": fingerprint})
        return type(made)(made.result.model_copy(update={"sae": record}), None, made.loader)

    second = [weights(entry("s", fvu=0.02), "2" * 32), weights(entry("s", fvu=0.03), "1" * 32)]

    assert _partners([weights(entry("s"), "1" * 32)], second, by_name=True) == {0: 1}


def test_a_transcoder_is_not_compared_with_an_sae_at_its_input():
    """They explain different activations, and the reason says which."""
    row = compared(entry("a"), entry("b", hook_out="blocks.2.hook_mlp_out"))["fvu"]

    assert row["verdict"] == "not comparable"
    assert "blocks.2.hook_resid_post → blocks.2.hook_mlp_out" in row["reason"]


def test_configurations_have_blocks_of_their_own():
    """A metric that was measured with several options stands below the options, not twice in one table."""
    results = ResultSet([entry(name, fvu=c / 100, config={"c": c}) for name in "ab" for c in (1, 2)])
    (section,) = compare_saes(results, "a", "b").to_table().sections

    assert [block.title for block in section.blocks] == ["reconstruction (c=1)", "reconstruction (c=2)"]


def test_files_that_were_not_used_stand_below_the_comparison():
    """The table of a comparison lists them, as every other does."""
    results = ResultSet([entry("a"), entry("b")], [Problem("x.json", "is damaged")])

    assert compare_saes(results, "a", "b").to_table().problems == ("x.json is damaged",)


def test_what_only_one_side_has_is_named_without_its_options():
    """Options stand in a note only where they tell two results of one evaluator apart."""
    extra = [entry("b", evaluator="density", config={"bins": bins}) for bins in (4, 8)]
    one = compare_saes(ResultSet([entry("a"), entry("b"), extra[0]]), "a", "b")
    two = compare_saes(ResultSet([entry("a"), entry("b"), *extra]), "a", "b")

    assert one.notes == ("only in B: b, density at blocks.2.hook_resid_post",)
    assert [note.split(" at ")[0] for note in two.notes] == [
        'only in B: b, density {"bins": 4}',
        'only in B: b, density {"bins": 8}',
    ]


def test_the_title_counts_the_verdicts():
    """A long comparison says in its first line what it found."""
    made = compare_saes(ResultSet([entry("a", fvu=0.03), entry("b", fvu=0.02)]), "a", "b")

    assert made.to_table().title == "A = a, B = b: 1 better, 1 tie"


def test_words_stand_left_in_every_format():
    """A column of words is no column of numbers."""
    table = compare_saes(ResultSet([entry("a", fvu=0.03), entry("b", fvu=0.02)]), "a", "b").to_table()

    assert "|:-------|" in render_table(table, "md").replace(" ", "")
    assert r"\begin{tabular}{lrrrl}" in render_table(table, "latex")
    assert '<span class="words">better</span>' in render_table(table, "html")
