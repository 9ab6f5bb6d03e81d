"""Tables as data: grouping, columns, marks, footnotes and captions."""

from darkmatter.descriptors import Config, Evaluator, Metric
from darkmatter.results.build import MAX_WIDTH, build_table
from darkmatter.results.collection import ResultSet
from darkmatter.results.schema import MetricValue
from darkmatter.results.table import UNDEFINED
from darkmatter.results.ties import PairedUnits, marks
from darkmatter.testing.results import sample_result, sample_units

METRICS = (
    Metric("cosine", "mean cosine.", unit="share", low=-1.0, high=1.0, higher_is_better=True, primary=True),
    Metric("fvu", "unexplained share", higher_is_better=False, primary=True),
    Metric("r2[*]", "explained by a source", primary=True),
)
EVALUATORS = {
    "reconstruction": Evaluator("reconstruction", "", "x:y", config=Config, metrics=METRICS, order=1),
    "density": Evaluator("density", "", "x:y", config=Config, metrics=()),
}


def names(block):
    """The names of a block's rows."""
    return [row.name for row in block.rows]


def cell(table, row, column):
    """One cell by names, from the first section."""
    for block in table.sections[0].blocks:
        titles = [each.metric for each in block.columns]
        for each in block.rows:
            if each.name == row and column in titles:
                return each.cells[titles.index(column)]
    raise AssertionError((row, column))


def test_rows_are_in_natural_order_with_controls_last():
    """Widths sort as numbers, and what is no SAE of interest comes after them."""
    results = [sample_result("a-pca", is_control=True), sample_result("w10240"), sample_result("w512")]
    table = build_table(ResultSet(results))

    assert names(table.sections[0].blocks[0]) == ["w512", "w10240", "a-pca"]
    assert table.sections[0].blocks[0].rows[-1].is_control


def test_a_given_order_wins():
    """The order of the suite is kept."""
    results = ResultSet([sample_result("a"), sample_result("b")], order=["b", "a"])

    assert names(build_table(results).sections[0].blocks[0]) == ["b", "a"]


def test_columns_follow_the_descriptor_and_say_direction_and_unit():
    """The order of metrics is the evaluator's; arrows and units stand in the title."""
    extra = MetricValue(name="cosine", value=0.9, unit="share", higher_is_better=True, primary=True)
    table = build_table(ResultSet([sample_result(extra=[extra])]), evaluators=EVALUATORS)

    titles = [column.title for column in table.sections[0].blocks[0].columns]
    assert titles == ["cosine (share) ↑", "fvu ↓"]


def test_every_column_is_explained_once():
    """Meanings come from the descriptors, one line per pattern."""
    items = [MetricValue(name=f"r2[{i}]", value=0.1, primary=True) for i in (10, 9)]
    table = build_table(ResultSet([sample_result(extra=items)]), evaluators=EVALUATORS)

    assert [column.metric for column in table.sections[0].blocks[0].columns] == ["fvu", "r2[9]", "r2[10]"]
    assert dict(table.meanings) == {
        "reconstruction: fvu": "unexplained share (lower is better).",
        "reconstruction: r2[*]": "explained by a source.",
    }


def test_sections_are_hook_points_in_natural_order():
    """SAEs at several hook points stand in several sections under their own names."""
    results = [sample_result("pca", hook=f"blocks.{i}.hook_resid_post") for i in (10, 2)]
    table = build_table(ResultSet(results))

    assert [section.title for section in table.sections] == [
        "blocks.2.hook_resid_post",
        "blocks.10.hook_resid_post",
    ]
    assert names(table.sections[0].blocks[0]) == ["pca"]
    assert [section.warnings for section in table.sections] == [(), ()]


def test_results_on_other_data_stand_apart_and_say_why():
    """Another seed makes another section, with the reason."""
    results = [
        sample_result("a"),
        sample_result("b", analysis={"seed": 1, "split": "context", "skip_first": 16}),
    ]
    table = build_table(ResultSet(results))

    assert [names(section.blocks[0]) for section in table.sections] == [["a"], ["b"]]
    assert table.sections[1].warnings == ("seed: 0 or 1",)


def test_transcoders_and_saes_that_read_one_hook_point_stand_apart():
    """What explains another activation is another section, whose heading says from where to where."""
    there = "blocks.2.hook_mlp_out"
    table = build_table(ResultSet([sample_result("sae"), sample_result("transcoder", hook_out=there)]))

    assert {section.title: names(section.blocks[0]) for section in table.sections} == {
        "blocks.2.hook_resid_post": ["sae"],
        "blocks.2.hook_resid_post → blocks.2.hook_mlp_out": ["transcoder"],
    }
    assert [section.warnings for section in table.sections] == [(), ()]
    assert {row["sae"]: row["hook_out"] for row in table.rows}["transcoder"] == there


def test_every_device_and_precision_is_said_and_of_which_row():
    """Rows that were measured in other precision stand in one table, and none hides it."""
    results = [
        sample_result("a", analysis={"dtype": "float32", "device": "cpu"}),
        *(sample_result(f"b{i}", analysis={"dtype": "bfloat16", "device": "cuda"}) for i in range(6)),
    ]
    data = build_table(ResultSet(results)).sections[0].data

    assert "bfloat16 or float32, on cpu or cuda, " in data
    assert "device=cpu, dtype=float32: a; device=cuda, dtype=bfloat16: b0, b1, b2, b3 and 2 more" in data
    assert "differ" not in build_table(ResultSet(results[1:])).sections[0].data


def test_the_caption_says_what_was_measured():
    """Model, text, contexts, analysis and held-out rows are in the caption; hashes are not."""
    data = build_table(ResultSet([sample_result()])).sections[0].data

    assert data == (
        "model tiny, text stories.jsonl, 150 contexts, split by context, first 16 positions skipped, seed 0, "
        "6000 held-out rows"
    )


def test_other_configurations_are_other_columns():
    """Only what differs between configurations is named."""
    results = [sample_result(config={"bias": bias, "k": 1}, evaluator="ed") for bias in (True, False)]
    columns = build_table(ResultSet(results)).sections[0].blocks[0].columns

    assert {column.evaluator for column in columns} == {"ed (bias=true)", "ed (bias=false)"}


def test_columns_of_one_title_say_whose_they_are():
    """Two columns of a block never have the same title: the evaluator and its options tell them apart."""
    results = [sample_result(config={"bias": bias}, evaluator="ed") for bias in (True, False)]
    blocks = build_table(ResultSet([*results, sample_result("x", {"cosine": 0.9})])).sections[0].blocks

    assert [column.title for column in blocks[0].columns] == [
        "ed (bias=false): fvu ↓",
        "ed (bias=true): fvu ↓",
        "cosine ↑",
    ]


def test_undefined_cells_share_footnotes():
    """A value that does not exist is a dash with the number of its reason."""
    undefined = MetricValue(name="share", value=None, status="undefined", reason="no variance", primary=True)
    table = build_table(ResultSet([sample_result(name, extra=[undefined]) for name in "ab"]))

    assert cell(table, "a", "share").text == UNDEFINED
    assert cell(table, "a", "share").notes == cell(table, "b", "share").notes == (1,)
    assert table.footnotes == ("no variance",)


def test_failures_are_listed_with_one_line_per_reason():
    """Skipped and failed results are in the table or under it, the same reason once."""
    results = [sample_result("a")]
    results += [
        sample_result(name, metrics={}, evaluator=ev, status="skipped", reason="needs a model")
        for name in ("a", "b10", "b9")
        for ev in ("ce", "kl")
    ]
    results.append(sample_result("broken", metrics={}, hook="", status="failed", reason="no such file"))
    table = build_table(ResultSet(results))

    assert table.missing == (
        "a, b9, b10: ce, kl skipped: needs a model",
        "broken: reconstruction failed: no such file",
    )


def test_a_failure_has_the_name_and_older_numbers_say_whose_they_are():
    """Numbers of the weights that an unreadable SAE had before stay, under a name with their fingerprint."""
    good = sample_result("mine")
    bad = sample_result("mine", metrics={}, hook="", key="1" * 32, status="failed", reason="NaN in W_dec")
    table = build_table(ResultSet([good, bad]))
    long_name = f"mine (weights={good.result.sae.fingerprint[:8]})"

    assert table.missing == ("mine: reconstruction failed: NaN in W_dec",)
    assert [row.name for row in table.sections[0].blocks[0].rows] == [long_name]
    assert {row["sae"]: row["status"] for row in table.rows} == {"mine": "failed", long_name: "ok"}


def test_a_failed_sae_beside_others_shows_in_its_row():
    """Where others have numbers, the failed one says so in the cell."""
    failed = sample_result("bad", metrics={}, status="failed", reason="non-finite weights")
    table = build_table(ResultSet([sample_result("good"), failed]))

    assert cell(table, "bad", "fvu").text == "failed"


def test_sections_without_any_number_are_left_out():
    """What only failed is listed, not shown as an empty table."""
    failed = sample_result("bad", metrics={}, hook="", status="failed", reason="cannot be read")

    assert build_table(ResultSet([failed])).sections == ()
    assert build_table(ResultSet([])).sections == ()


def test_wide_tables_are_cut_into_blocks_of_one_evaluator():
    """No block is wider than a terminal, and none mixes evaluators."""
    wide = {f"metric_{i}": 0.1 + i / 100 for i in range(9)}
    table = build_table(ResultSet([sample_result("a", wide), sample_result("a", wide, evaluator="density")]))
    blocks = table.sections[0].blocks

    assert len(blocks) > 2
    for block in blocks:
        assert len({column.evaluator for column in block.columns}) == 1
        assert sum(len(c.text) + 3 for c in block.rows[0].cells) <= MAX_WIDTH


# -- best and ties --------------------------------------------------------------------------------


def with_fvu(name, value, **options):
    """An SAE whose sums are made so that fvu is about ``value``."""
    return sample_result(name, units=sample_units({"fvu": value}, n_units=200, **options))


def marks_of(table, *rows):
    """The marks of some rows in the column fvu."""
    return [cell(table, row, "fvu").mark for row in rows]


def test_the_best_is_marked_in_its_direction_and_ties_with_it():
    """Lower FVU is best; what cannot be told apart ties; controls never compete."""
    entries = [
        with_fvu("best", 0.0200),
        with_fvu("near", 0.020003),
        with_fvu("far", 0.0300),
        sample_result("control", units=sample_units({"fvu": 0.001}), is_control=True),
    ]
    table = build_table(ResultSet(entries))

    assert sorted(marks_of(table, "best", "near")) == ["best", "tie"]
    assert marks_of(table, "far", "control") == ["", ""]


def test_pairing_decides_not_overlap():
    """Intervals that overlap widely are no tie where the paired difference is clear."""
    table = build_table(ResultSet([with_fvu("a", 0.0200), with_fvu("b", 0.0201)]))
    first, second = (cell(table, name, "fvu").text for name in "ab")

    assert float(first.split("[")[1].split(", ")[1][:-1]) > float(second.split("[")[1].split(", ")[0])
    assert marks_of(table, "a", "b") == ["best", ""]


def test_without_an_interval_nothing_is_won():
    """Where no difference could be tested, the best value is no tested best; the legend says so."""
    entries = [with_fvu("a", 0.02), with_fvu("b", 0.09, first_id=7)]
    table = build_table(ResultSet(entries))

    assert marks_of(table, "a", "b") == ["", ""]
    assert "A column without any such interval has no best" in " ".join(table.how_to_read)


def test_what_could_not_be_tested_ties_with_the_tested_best():
    """One SAE without sums neither loses unheard nor takes the mark from those that were tested."""
    bare = with_fvu("bare", 0.09).result
    table = build_table(ResultSet([with_fvu("a", 0.02), with_fvu("b", 0.03), bare]))

    assert marks_of(table, "a", "b", "bare") == ["best", "", "tie"]


def test_the_best_is_picked_from_all_pairs():
    """The more SAEs there are to pick the best from, the more a difference must show to count."""
    pair = [with_fvu("a", 0.02), with_fvu("near", 0.02002)]
    many = [*pair, *(with_fvu(f"far{i}", 0.05) for i in range(10))]

    assert marks_of(build_table(ResultSet(pair)), "a", "near") == ["best", ""]
    assert marks_of(build_table(ResultSet(many)), "a", "near", "far0") == ["best", "tie", ""]


def test_a_comparison_keeps_no_replicates():
    """What was computed for a column is freed once it is marked: large folders fit in memory."""
    paired = PairedUnits()
    column = {
        entry.result.sae.name: (entry, entry.result.metrics[0]) for entry in map(with_fvu, "ab", (0.1, 0.2))
    }

    assert marks(column, paired) == {"a": "best"}
    assert not paired._spreads


def test_a_column_of_equal_values_has_no_best():
    """Where all are equal nothing is marked."""
    same = MetricValue(name="l0", value=16.0, higher_is_better=False, primary=True)
    table = build_table(ResultSet([sample_result(name, extra=[same]) for name in "ab"]))

    assert cell(table, "a", "l0").mark == cell(table, "b", "l0").mark == ""


def test_one_sae_has_no_rival():
    """A single SAE is not called best."""
    assert marks_of(build_table(ResultSet([with_fvu("a", 0.02)])), "a") == [""]


def test_long_names_do_not_make_a_block_of_every_column():
    """A name wider than the table costs width, not legibility: columns stay beside each other."""
    extra = [MetricValue(name=f"m{i}", value=0.5, primary=True) for i in range(4)]
    table = build_table(ResultSet([sample_result("n" * MAX_WIDTH, extra=extra)]))

    assert len(table.sections[0].blocks) == 1


def test_blocks_are_as_wide_as_their_own_rows():
    """The long name of an SAE that has nothing in a block does not narrow it."""
    extra = [MetricValue(name=f"metric_number_{i}", value=0.5, primary=True) for i in range(5)]
    long = sample_result("n" * 60, evaluator="other", metrics={"x": 0.5})
    table = build_table(ResultSet([sample_result("a", metrics={}, extra=extra), long]))

    assert [len(block.columns) for block in table.sections[0].blocks] == [1, 5]


def test_a_value_may_carry_a_note():
    """A reason beside a value is a footnote, so that a doubtful number never stands without its doubt."""
    noted = MetricValue(name="ev", value=1.1, reason="may exceed 1", primary=True)
    table = build_table(ResultSet([sample_result(extra=[noted])]))

    assert cell(table, "mine", "ev").text == "1.1"
    assert table.footnotes[cell(table, "mine", "ev").notes[0] - 1] == "may exceed 1"


def test_a_given_order_of_results_wins():
    """What was sorted is shown as it was sorted."""
    results = ResultSet([sample_result("b"), sample_result("a")], keep_order=True)

    assert names(build_table(results).sections[0].blocks[0]) == ["b", "a"]
