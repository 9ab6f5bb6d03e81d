"""One metric over two traits."""

import re

import pytest

from darkmatter.errors import UsageError
from darkmatter.results.collection import ResultSet
from darkmatter.results.pivot import axes_of, pivot_table
from darkmatter.results.reading import Problem, StoredResult
from darkmatter.testing.results import sample_result, sample_units

FVU = ("reconstruction", "fvu")


def sae(name, fvu, *, width=512, l0=16.0, architecture="topk", **options):
    """An SAE with traits."""
    made = sample_result(name, units=sample_units({"fvu": fvu}), **options)
    traits = {"d_sae": width, "l0": l0, "metadata": {"architecture": architecture}}
    record = made.result.sae.model_copy(update=traits)
    return StoredResult(made.result.model_copy(update={"sae": record}), None, made.loader)


def grid(table, section=0):
    """The cells of a section: row -> column -> cell."""
    (block,) = table.sections[section].blocks
    titles = [column.metric and column.title for column in block.columns]
    return {row.name: dict(zip(titles, row.cells, strict=True)) for row in block.rows}


def test_rows_and_columns_are_traits_in_their_order():
    """Widths sort as numbers; an SAE stands where its traits meet; what is not there is empty."""
    saes = [sae("a", 0.03, width=512), sae("b", 0.02, width=10240), sae("c", 0.04, width=512, l0=8.0)]
    table = pivot_table(ResultSet(saes), ("width", "l0"), FVU)
    cells = grid(table)

    assert list(cells) == ["512", "10240"]
    assert list(cells["512"]) == ["l0 8", "l0 16"]
    assert cells["10240"]["l0 8"].text == ""
    assert cells["10240"]["l0 16"].text.startswith("0.0")
    assert cells["10240"]["l0 16"].mark == "best"


def test_several_saes_in_a_cell_are_counted_and_named_never_averaged():
    """The cell says how many and from where to where; the note has each with its interval."""
    saes = [sae("a", 0.02), sae("b", 0.04), sae("c", 0.03, width=1024)]
    table = pivot_table(ResultSet(saes), ("width", "l0"), FVU)
    cell = grid(table)["512"]["l0 16"]

    assert cell.text.startswith("2 SAEs: 0.0")
    assert " to 0.0" in cell.text
    assert re.fullmatch(r"a: 0\.0\d+ \[.+\]; b: 0\.0\d+ \[.+\]", table.footnotes[cell.notes[0] - 1])
    assert cell.mark == "best"


def test_what_is_said_of_a_metric_stands_with_a_shared_cell_too():
    """A note on a metric, such as another harness's formula, is not lost where SAEs share a cell."""
    noted = []
    for each in (sae("a", 0.02), sae("b", 0.04)):
        (metric,) = each.result.metrics
        said = each.result.model_copy(update={"metrics": (metric.model_copy(update={"reason": "too high"}),)})
        noted.append(StoredResult(said, None, each.loader))
    table = pivot_table(ResultSet(noted), ("width", "l0"), FVU)

    notes = [table.footnotes[note - 1] for note in grid(table)["512"]["l0 16"].notes]
    assert notes[1:] == ["too high"]


def test_nearly_equal_l0s_share_a_column_that_says_so():
    """A JumpReLU's 16.3 stands beside 16, under both."""
    saes = [sae("a", 0.02), sae("b", 0.03, l0=16.3, width=1024), sae("c", 0.03, l0=20.0)]
    cells = grid(pivot_table(ResultSet(saes), ("width", "l0"), FVU))

    assert list(cells["512"]) == ["l0 16 to 16.3", "l0 20"]


def test_controls_are_left_out_and_what_is_unknown_comes_last():
    """A mean has no width; an SAE without a recorded L0 is still shown."""
    saes = [sae("a", 0.02, l0=None), sae("b", 0.03), sae("mean", 0.5, is_control=True, width=9)]
    cells = grid(pivot_table(ResultSet(saes), ("width", "l0"), FVU))

    assert list(cells) == ["512"]
    assert list(cells["512"]) == ["l0 16", "l0 unknown"]


def test_layers_meet_in_one_table_without_a_best():
    """Layers of one kind of hook point are rows of one table, other kinds stand apart."""
    hooks = ("blocks.2.hook_resid_post", "blocks.10.hook_resid_post", "blocks.2.hook_mlp_out")
    saes = [sae(f"s{i}", 0.02 + i / 100, hook=hook) for i, hook in enumerate(hooks)]
    table = pivot_table(ResultSet(saes), ("layer", "architecture"), FVU)

    assert [section.title for section in table.sections] == [
        "blocks.*.hook_mlp_out",
        "blocks.*.hook_resid_post",
    ]
    assert list(grid(table, 1)) == ["2", "10"]
    assert {cell.mark for row in grid(table, 1).values() for cell in row.values()} == {""}


def test_data_versions_and_options_do_not_mix():
    """What was measured on other text, or otherwise configured, is no cell of the same grid."""
    saes = [sae("a", 0.02), sae("b", 0.03, cache={"key": "other"}), sae("c", 0.03, config={"k": 1})]

    assert len(pivot_table(ResultSet(saes), ("width", "l0"), FVU).sections) == 3


def test_rows_are_one_per_sae():
    """CSV and JSON have the SAEs with their traits, not the rendered cells."""
    table = pivot_table(ResultSet([sae("a", 0.02), sae("b", 0.04)]), ("width", "l0"), FVU)

    assert [(row["sae"], row["width"], row["metric"]) for row in table.rows] == [
        ("a", "512", "fvu"),
        ("b", "512", "fvu"),
    ]


@pytest.mark.parametrize(
    ("text", "axes"),
    [("width", ("width", "l0")), ("l0", ("l0", "width")), ("layer, architecture", ("layer", "architecture"))],
)
def test_axes(text, axes):
    """Columns are L0 where they are not named."""
    assert axes_of(text) == axes


@pytest.mark.parametrize(
    ("text", "said"), [("widht", "'width'"), ("width,depth", "'depth'"), ("l0,l0", "same")]
)
def test_wrong_axes_are_wrong_usage(text, said):
    """An unknown trait names the nearest, twice the same is refused."""
    with pytest.raises(UsageError, match=said):
        axes_of(text)


def test_many_columns_are_cut_to_the_width_of_a_terminal():
    """A sweep of L0s becomes several blocks with all rows that have something there."""
    saes = [sae(f"s{l0}", 0.02, l0=float(l0)) for l0 in (8, 16, 32, 64, 128, 256, 512)]
    (section,) = pivot_table(ResultSet(saes), ("width", "l0"), FVU).sections

    assert len(section.blocks) > 1
    assert sum(len(block.columns) for block in section.blocks) == 7
    assert {block.heading for block in section.blocks} == {"width"}


def test_failures_and_bad_files_stand_below():
    """Nothing is dropped without a word."""
    failed = sample_result("f", metrics={}, status="failed", reason="boom")
    results = ResultSet([sample_result("a"), failed], [Problem("x.json", "is damaged")])
    table = pivot_table(results, ("width", "l0"), ("reconstruction", "fvu"))

    assert table.missing == ("f: reconstruction failed: boom",)
    assert table.problems == ("x.json is damaged",)


def test_transcoders_are_laid_out_apart():
    """An SAE and a transcoder of one width are two tables, over layers too."""
    both = [sample_result("s"), sample_result("t", hook_out="blocks.2.hook_mlp_out")]
    for axes, title in (
        (("width", "l0"), "blocks.2.hook_resid_post"),
        (("layer", "l0"), "blocks.*.hook_resid_post"),
    ):
        sections = pivot_table(ResultSet(both), axes, ("reconstruction", "fvu")).sections
        assert sections[0].title == title
        assert "hook_mlp_out" in sections[1].title
