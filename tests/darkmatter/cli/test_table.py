"""``darkmatter table``: views and choices, from the command line to the text."""

import json
from pathlib import Path

import pytest

from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue
from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result, sample_units

SAMPLES = Path(__file__).parents[1] / "results" / "saebench_samples"


def sae(name, fvu, l0, **options):
    """An SAE with two errors at an L0."""
    units = sample_units({"fvu": fvu, "fvu_nonlinear": fvu / 2})
    made = sample_result(name, units=units, extra=[MetricValue(name="l0", value=l0)], **options)
    record = made.result.sae.model_copy(update={"l0": l0})
    return StoredResult(made.result.model_copy(update={"sae": record}), None, made.loader)


@pytest.fixture
def folder(tmp_path):
    """A results folder with three SAEs and a control."""
    entries = [
        sae("narrow", 0.05, 8.0),
        sae("middle", 0.04, 16.0),
        sae("wide", 0.02, 16.0),
        sae("pca", 0.3, 16.0, is_control=True),
    ]
    with ResultStore.open(tmp_path / "out") as store:
        for entry in entries:
            store.write(entry.result, entry.units())
    return tmp_path / "out"


def names(text):
    """The names of the rows of Markdown tables."""
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]


def test_rows_are_chosen_and_sorted(call, folder):
    """--sort, --sae, --no-controls and --metrics together."""
    status, out, err = call(
        "table", folder, "--sort", "l0:desc", "--sae", "*[rd]*", "--no-controls", "--metrics", "fvu"
    )

    assert (status, err) == (0, "")
    assert names(out) == ["middle", "wide", "narrow"]
    assert "fvu_nonlinear" not in out


def test_metrics_beyond_the_headlines_need_no_all(call, folder):
    """Naming a metric shows it, and the rows of other formats are the chosen ones."""
    rows = json.loads(call("table", folder, "--metrics", "l0,fvu", "--format", "json")[1])

    assert {row["metric"] for row in rows} == {"l0", "fvu"}


def test_pivot_and_pareto_in_every_format(call, folder):
    """Both views render through every reporter; the tidy formats have one row per SAE and metric."""
    for reporter in ("md", "csv", "json", "latex", "html"):
        status, pivot, _ = call("table", folder, "--pivot", "width", "--metrics", "fvu", "--format", reporter)
        assert status == 0
        assert "width" in pivot
        status, front, _ = call("table", folder, "--pareto", "--format", reporter)
        assert status == 0
        assert "wide" in front
    assert {row["front"] for row in json.loads(call("table", folder, "--pareto", "--format", "json")[1])} == {
        "front",
        "dominated",
    }


def test_pareto_is_of_both_errors_or_of_what_is_named(call, folder):
    """FVU and nonlinear FVU where nothing else is named."""
    both = call("table", folder, "--pareto")[1]
    one = call("table", folder, "--pareto", "--metrics", "fvu_nonlinear")[1]

    assert both.count("## ") == 2
    assert "dominated by wide" in both
    assert "fvu and L0" not in one
    assert "fvu_nonlinear and L0" in one


def test_saebench_stands_beside_our_results(call, folder, tmp_path):
    """Its metrics are in the same table under its names; a wrong file is named and the status is 1."""
    status, out, err = call("table", folder, "--saebench", SAMPLES)
    assert (status, err) == (0, "")
    assert "blocks.4.hook_resid_post (SAEBench)" in out
    assert "1.001 [" in out
    assert "above 1 or below 0" in out

    rows = json.loads(call("table", folder, "--saebench", SAMPLES, "--format", "json")[1])
    assert ("saebench.core", "explained_variance", 1.0013) in {
        (row["evaluator"], row["metric"], row["value"]) for row in rows
    }

    (tmp_path / "wrong.json").write_text("{}", encoding="utf-8")
    status, out, err = call("table", "--saebench", tmp_path / "wrong.json")
    assert status == 1
    assert "no result of SAEBench" in err


def test_unknown_fields_of_saebench_are_listed(call, tmp_path):
    """What a newer SAEBench writes beside what is known is said on stderr."""
    record = json.loads((SAMPLES / "ravel.json").read_text(encoding="utf-8"))
    (tmp_path / "a.json").write_text(json.dumps({**record, "surprise": 1}), encoding="utf-8")
    status, _, err = call("table", "--saebench", tmp_path)

    assert status == 0
    assert "surprise" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a results folder, or --saebench"),
        (["DIR", "--pivot", "width", "--pareto"], "choose one"),
        (["DIR", "--pivot", "width"], "--metrics fvu"),
        (["DIR", "--pivot", "widht", "--metrics", "fvu"], "Did you mean 'width'"),
        (["DIR", "--metrics", "fvvu"], "Did you mean 'fvu'"),
        (["DIR", "--sort", "fvu:up"], "no direction"),
        (["DIR", "--sae", "wied"], "Did you mean 'wide'"),
        (["DIR", "--saebench", "nothing.json"], "no such file"),
    ],
)
def test_wrong_usage_says_what_to_do(call, folder, arguments, said):
    """Each mistake has status 2 and a sentence with the way on."""
    status, out, err = call("table", *[folder if each == "DIR" else each for each in arguments])

    assert (status, out) == (2, "")
    assert said in err


def test_compare_takes_a_pattern(call, folder):
    """The second SAE of --sae may name several."""
    status, out, _ = call("compare", "--sae", "narrow", "*", folder)

    assert status == 0
    assert "narrow and middle" in out
    assert "narrow and wide" in out
