"""The read-only commands on fabricated results."""

import json
import re

import pytest

from darkmatter.cli.main import main
from darkmatter.results.rows import ROW_COLUMNS
from darkmatter.results.schema import MetricValue
from darkmatter.results.store import ResultStore
from darkmatter.sae.overrides import Overrides
from darkmatter.testing.results import HOSTILE, sample_result, sample_units


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    """Every test has an empty cache of its own."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """A results folder with two SAEs, a control and a skipped evaluator."""
    secondary = MetricValue(name="mse", value=1.0)
    entries = [
        sample_result("small", units=sample_units({"fvu": 0.03}), extra=[secondary]),
        sample_result("large", units=sample_units({"fvu": 0.02})),
        sample_result("pca", units=sample_units({"fvu": 0.1}), is_control=True),
        sample_result("small", metrics={}, evaluator="ce", status="skipped", reason="needs a model"),
    ]
    with ResultStore.open(tmp_path / "out") as store:
        for entry in entries:
            store.write(entry.result, entry.units())
    return tmp_path / "out"


def run(arguments, capsys):
    """Exit status, stdout and stderr of one command line."""
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_table_prints_markdown(folder, capsys):
    """The default is Markdown with SAEs, controls and what was skipped."""
    status, out, err = run(["table", folder], capsys)

    assert (status, err) == (0, "")
    assert "| large" in out
    assert "pca (control)" in out
    assert "small: ce skipped: needs a model" in out


def test_table_json_is_rows_and_nothing_else(folder, capsys):
    """JSON output parses, has the documented columns, and shows headline metrics."""
    rows = json.loads(run(["table", folder, "--format", "json"], capsys)[1])
    every = json.loads(run(["table", folder, "--format", "json", "--all"], capsys)[1])

    assert all(list(row) == list(ROW_COLUMNS) for row in rows)
    assert {row["metric"] for row in rows} == {"fvu", None}
    assert {row["metric"] for row in every} == {"fvu", "mse", None}


@pytest.mark.parametrize("reporter", ["csv", "latex", "html"])
def test_table_knows_the_other_formats(folder, capsys, reporter):
    """Every built-in reporter is a format."""
    status, out, _ = run(["table", folder, "--format", reporter], capsys)

    assert status == 0
    assert "large" in out


def test_table_of_an_unknown_format_is_usage(folder, capsys):
    """A misspelt format names the nearest."""
    status, out, err = run(["table", folder, "--format", "latx"], capsys)

    assert (status, out) == (2, "")
    assert "'latex'" in err


def test_table_tells_damaged_files_and_shows_the_rest(folder, capsys):
    """A damaged file is named on stderr, the table is printed, the status is 1."""
    victim = next((folder / "large").glob("*.json"))
    victim.write_text("{")
    status, out, err = run(["table", folder, "--format", "json"], capsys)

    assert status == 1
    assert {row["sae"] for row in json.loads(out)} == {"small", "pca"}
    assert str(victim) in err


def test_table_of_an_empty_folder_says_so(tmp_path, capsys):
    """No results is no error, but it is said."""
    status, _, err = run(["table", tmp_path], capsys)

    assert status == 0
    assert "no results below" in err


def test_hostile_names_do_not_reach_the_terminal(tmp_path, capsys):
    """Names from files cannot move the cursor or change direction."""
    entry = sample_result(HOSTILE)
    with ResultStore.open(tmp_path / "out") as store:
        store.write(entry.result, entry.units())
    out = run(["table", tmp_path / "out"], capsys)[1]

    assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_compare_two_saes_and_two_folders(folder, capsys):
    """Both forms print a verdict per metric."""
    status, out, _ = run(["compare", "--sae", "small", "large", folder], capsys)
    assert status == 0
    assert "better" in out

    rows = json.loads(run(["compare", folder, folder, "--format", "json"], capsys)[1])
    assert {row["verdict"] for row in rows} == {"tie"}
    assert "value_a" in run(["compare", folder, folder, "--format", "csv"], capsys)[1]


@pytest.mark.parametrize(
    "arguments", [["compare", "x"], ["compare", "x", "y", "z"], ["compare", "--sae", "a", "b", "x", "y"]]
)
def test_compare_needs_the_right_number_of_folders(arguments, capsys):
    """Too few or too many folders are usage errors."""
    assert run(arguments, capsys)[0] == 2


def test_schema_is_a_json_schema(capsys):
    """The printed schema describes result files."""
    schema = json.loads(run(["schema"], capsys)[1])

    assert schema["title"] == "Result"
    assert {"key", "metrics", "units"} <= set(schema["properties"])


def test_list_and_describe(capsys):
    """What is listed can be described, as text and as JSON."""
    everything = json.loads(run(["list", "--json"], capsys)[1])
    reporters = json.loads(run(["list", "reporters", "--json"], capsys)[1])

    assert everything["reporters"] == reporters
    assert {"md", "csv", "json", "latex", "html"} <= {reporter["name"] for reporter in reporters}
    assert "local" in run(["list", "executors"], capsys)[1]
    (described,) = json.loads(run(["describe", "reconstruction", "--json"], capsys)[1])
    assert described["kind"] == "evaluator"
    assert "fvu" in [metric["name"] for metric in described["metrics"]]
    assert "share of the activations' variance" in run(["describe", "reconstruction"], capsys)[1]
    status, _, err = run(["describe", "reconstuction"], capsys)
    assert status == 2
    assert "'reconstruction'" in err


def test_plugins_exits_with_0(capsys):
    """Loaded plugins are listed with their distribution and hooks."""
    status, out, _ = run(["plugins", "--json"], capsys)
    (builtin,) = [plugin for plugin in json.loads(out) if plugin["name"] == "builtin"]

    assert status == 0
    assert builtin["distribution"] == "sae-darkmatter"
    assert "darkmatter_reporters" in builtin["hooks"]
    assert "builtin" in run(["plugins"], capsys)[1]


def test_doctor_reports_the_installation(capsys, tmp_path):
    """Versions, cache and plugins are in the report."""
    status, out, _ = run(["doctor", "--json"], capsys)
    found = json.loads(out)

    assert found["packages"]["torch"]
    assert found["cache"]["folder"] == str(tmp_path / "cache")
    assert "builtin" in found["plugins"]["loaded"]
    assert status == bool(found["advice"])
    assert "torch" in run(["doctor"], capsys)[1]


def test_what_runs_only_where_named_says_so(capsys):
    """The list and the description tell which evaluators a run without names leaves out."""
    assert main(["list", "evaluators"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["feature_editing"].endswith("Only where named.")
    assert "Only where named" not in lines["reconstruction"]
    assert main(["describe", "feature_editing"]) == 0
    assert "runs only where it is named" in capsys.readouterr().out


def test_an_empty_cache_can_be_listed_and_verified(capsys):
    """No entries is no error; removing needs a name or --all."""
    assert "0 entries" in run(["cache", "ls"], capsys)[1]
    assert json.loads(run(["cache", "ls", "--json"], capsys)[1]) == []
    assert run(["cache", "verify"], capsys)[0] == 0
    assert run(["cache", "rm"], capsys)[0] == 2
    assert run(["cache", "rm", "--all"], capsys)[0] == 0
    assert run(["cache", "rm", "abc"], capsys)[0] == 1


def test_inspect_says_why_a_folder_is_no_sae(tmp_path, capsys):
    """A folder that no adapter claims exits with 1 and lists the reasons."""
    (tmp_path / "empty").mkdir()
    status, out, err = run(["inspect", tmp_path / "empty"], capsys)

    assert status == 1
    assert out or err


def test_a_wrong_kind_names_the_nearest(capsys):
    """`list adapter` and `list formats` lead to the adapters."""
    for word in ("adapter", "formats"):
        status, _, err = run(["list", word], capsys)
        assert status == 2
        assert "Did you mean 'adapters'" in err


def test_an_adapter_is_described_with_its_layouts(capsys):
    """Files, architectures, where it is known from and the traps, as text and as JSON."""
    text = run(["describe", "openai"], capsys)[1]
    (described,) = json.loads(run(["describe", "openai", "--json"], capsys)[1])

    (layout,) = described["layouts"]
    for said in (*layout["files"], *layout["traps"], layout["known_from"]):
        assert said in text


def test_an_adapter_is_described_with_what_can_be_stated(capsys):
    """The overrides that its SAEs can follow, and no k where its files always say it."""
    (qwen,) = json.loads(run(["describe", "qwen_scope", "--json"], capsys)[1])
    (openai,) = json.loads(run(["describe", "openai", "--json"], capsys)[1])
    text = run(["describe", "openai"], capsys)[1]

    assert set(qwen["overrides"]) == set(Overrides.model_fields)
    assert set(qwen["overrides"]) - set(openai["overrides"]) == {"k", "orientation"}
    for name, meaning in openai["overrides"].items():
        assert re.search(rf"^  {name} +{re.escape(meaning)}$", text, re.MULTILINE), name


@pytest.mark.parametrize("command", ["inspect", "run", "plan", "convert"])
def test_the_overrides_are_listed_in_the_help(command, capsys):
    """Every field that --override takes stands in the help of the commands that have it."""
    text = run([command, "--help"], capsys)[1]
    for name in Overrides.model_fields:
        assert re.search(rf"^    {name} +\S", text, re.MULTILINE), name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("ioi", "Options (--set feature_editing.dataset=ioi,FIELD=VALUE)"),
        ("word_lists", "Options (--set feature_recovery.concepts=word_lists,FIELD=VALUE)"),
        ("endpoint", "Options (--set autointerp.simulator=endpoint,FIELD=VALUE)"),
        ("token", "used as --set autointerp.simulator=token\n"),
        ("pca", "Options (--sae baseline:pca,FIELD=VALUE)"),
        ("density", "Options (--set density.FIELD=VALUE)"),
    ],
)
def test_a_description_says_how_options_are_written(capsys, name, written):
    """Datasets and simulators are options of evaluators that take their kind, not baselines."""
    assert main(["describe", name]) == 0
    assert written in capsys.readouterr().out
