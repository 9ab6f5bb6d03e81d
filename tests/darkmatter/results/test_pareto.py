"""Fronts of error and L0."""

from darkmatter.results.collection import ResultSet
from darkmatter.results.pareto import pareto_table
from darkmatter.results.reading import Problem, StoredResult
from darkmatter.results.schema import MetricValue
from darkmatter.testing.results import sample_result, sample_units

FVU = ("reconstruction", "fvu")


def sae(name, fvu, l0, *, metric="fvu", **options):
    """An SAE at a place."""
    made = sample_result(name, units=sample_units({metric: fvu}, n_units=200), **options)
    record = made.result.sae.model_copy(update={"l0": l0})
    return StoredResult(made.result.model_copy(update={"sae": record}), None, made.loader)


def places(*saes, metric=FVU):
    """By name, what the last column says, in the order of the rows."""
    table = pareto_table(ResultSet(list(saes)), [metric])
    return {row.name: row.cells[-1].text for row in table.sections[0].blocks[0].rows}


def test_the_front_and_who_dominates_whom():
    """Rows are in the order of L0; the strongest of those that dominate is named, the others are counted."""
    said = places(sae("c", 0.05, 16.0), sae("a", 0.06, 8.0), sae("b", 0.02, 16.0), sae("d", 0.055, 32.0))

    assert list(said.items()) == [
        ("a", "front"),
        ("b", "front"),
        ("c", "dominated by b"),
        ("d", "dominated by b and 1 more"),
    ]


def test_noise_does_not_take_an_sae_off_the_front():
    """What is behind by less than chance ties with the front."""
    assert places(sae("a", 0.02, 16.0), sae("b", 0.020001, 16.0))["b"] == "ties with a"


def test_who_is_looked_at_is_picked_from_all_pairs():
    """Among more SAEs a difference must show more before one is said to be dominated."""
    pair = [sae("a", 0.02, 16.0), sae("near", 0.02002, 16.0)]
    many = [*pair, *(sae(f"far{i}", 0.05, 16.0) for i in range(10))]

    assert places(*pair)["near"] == "dominated by a"
    assert places(*many)["near"] == "ties with a"


def test_without_sums_nobody_is_said_to_be_dominated():
    """Where no interval can be had, a difference is no proof."""
    bare = [StoredResult(sae(name, value, 16.0).result) for name, value in (("a", 0.02), ("b", 0.09))]

    assert places(*bare)["b"] == "ties with a"


def test_equal_values_with_fewer_latents_dominate_by_value():
    """The same error with more active latents is behind, though no interval can tell."""
    assert places(sae("a", 0.02, 8.0), sae("b", 0.02, 16.0)) == {"a": "front", "b": "ties with a"}


def test_l0_is_compared_as_it_is_shown():
    """A handful of silent positions makes 15.99998 of 16, which is no smaller L0."""
    assert places(sae("a", 0.02, 16.0), sae("b", 0.05, 15.99998))["b"] == "dominated by a"


def test_higher_may_be_better():
    """The front of a cosine goes up."""
    cosine = ("reconstruction", "cosine")
    a, b = (sae(name, value, 16.0, metric="cosine") for name, value in (("a", 0.5), ("b", 0.9)))

    assert places(a, b, metric=cosine) == {"a": "dominated by b", "b": "front"}


def test_controls_and_other_data_take_no_part():
    """A control dominates nobody, and neither does an SAE on other text."""
    saes = [sae("a", 0.05, 16.0), sae("b", 0.06, 8.0), sae("pca", 0.001, 1.0, is_control=True)]
    elsewhere = [sae("x", 0.001, 1.0, cache={"key": "o"}), sae("y", 0.002, 0.5, cache={"key": "o"})]
    sections = pareto_table(ResultSet([*saes, *elsewhere]), [FVU]).sections

    assert [[row.name for row in section.blocks[0].rows] for section in sections] == [["b", "a"], ["y", "x"]]


def test_one_sae_is_no_front():
    """It is said that a second is missing."""
    table = pareto_table(ResultSet([sae("a", 0.05, 16.0)]), [FVU])

    assert table.sections == ()
    assert "needs two SAEs" in table.missing[0]


def test_rows_name_the_best_and_count_the_others():
    """CSV and JSON have the best of those that dominate, and how many there are."""
    saes = [sae("a", 0.05, 16.0), sae("b", 0.02, 16.0), sae("c", 0.03, 16.0)]
    rows = {row["sae"]: row for row in pareto_table(ResultSet(saes), [FVU]).rows}

    assert (rows["a"]["front"], rows["a"]["behind"], rows["a"]["n_better"]) == ("dominated", "b", 2)
    assert (rows["b"]["front"], rows["b"]["behind"], rows["b"]["n_better"]) == ("front", "", 0)


def test_transcoders_have_a_front_of_their_own():
    """An SAE does not dominate what explains another activation."""
    there = "blocks.2.hook_mlp_out"
    both = [
        sae(f"{kind}{i}", 0.1 * i, 8.0 * i, hook_out=out)
        for kind, out in (("s", ""), ("t", there))
        for i in (1, 2)
    ]
    sections = pareto_table(ResultSet(both), [FVU]).sections

    assert [[row.name for row in section.blocks[0].rows] for section in sections] == [
        ["s1", "s2"],
        ["t1", "t2"],
    ]


def test_who_is_not_shown_is_listed_with_the_reason():
    """SAEs without L0, value or result, failures and bad files are below the table; controls are not."""
    failed = sample_result("f", metrics={}, status="failed", reason="boom")
    elsewhere = sample_result("e", {"x": 1.0}, evaluator="other")
    undefined = MetricValue(name="fvu", value=None, status="undefined", reason="no variance")
    results = ResultSet(
        [
            sae("a", 0.1, 8.0),
            sae("b", 0.2, 4.0),
            sae("n", 0.1, None),
            sae("pca", 0.1, None, is_control=True),
            sample_result("u", metrics={}, extra=[undefined]),
            failed,
            elsewhere,
        ],
        [Problem("x.json", "is damaged")],
    )
    table = pareto_table(results, [FVU])

    where = "blocks.2.hook_resid_post"
    assert table.missing == (
        "f: reconstruction failed: boom",
        f"e: no reconstruction.fvu at {where}",
        f"n: no L0 is known, in {where}: fvu and L0",
        f"u: fvu undefined: no variance, in {where}: fvu and L0",
    )
    assert table.problems == ("x.json is damaged",)
