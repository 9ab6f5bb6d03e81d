"""``darkmatter check`` as a CI job meets it."""

import json
from xml.etree import ElementTree as ET

import pytest
import yaml

from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result, sample_units
from darkmatter_plugins.world.catalogue import SAES, model_path, sae_path
from darkmatter_plugins.world.demo import write_stories


def write(folder, *entries):
    """A results folder."""
    with ResultStore.open(folder) as store:
        for entry in entries:
            store.write(entry.result, entry.units())
    return folder


def entry(fvu=0.02, name="mine"):
    return sample_result(name, units=sample_units({"fvu": fvu}, n_units=100))


@pytest.fixture
def baseline(tmp_path):
    return write(tmp_path / "baseline", entry())


def test_green_and_red_are_the_exit_status(call, baseline, tmp_path):
    """0 where nothing became worse, 1 where something did, with the reason on stdout."""
    worse = write(tmp_path / "worse", entry(0.03))

    status, out, _ = call("check", "--results", baseline, "--baseline", baseline)
    assert (status, out.splitlines()[0]) == (
        0,
        "# darkmatter check: green, 1 checked, none worse than allowed",
    )
    status, out, _ = call("check", "--results", worse, "--baseline", baseline)
    assert status == 1
    assert "worse by more than 2%, beyond chance" in out
    assert call("check", "--results", worse, "--baseline", baseline, "--max-regression", "90%")[0] == 0
    named = ["--metric", "reconstruction.fvu=90%"]
    assert call("check", "--results", worse, "--baseline", baseline, *named)[0] == 0


def test_files_and_json_say_the_same(call, baseline, tmp_path):
    """JUnit, summary and JSON are written whether it passes or not, and folders are made for them."""
    worse = write(tmp_path / "worse", entry(0.03))
    files = {"--junit": tmp_path / "new/j.xml", "--summary": tmp_path / "new/s.md"}
    options = [part for option in files.items() for part in option]
    status, out, err = call("check", "--results", worse, "--baseline", baseline, "--json", *options)
    made = json.loads(out)

    assert (status, err, made["passed"]) == (1, "", False)
    assert [metric["verdict"] for metric in made["metrics"]] == ["red"]
    assert ET.parse(files["--junit"]).getroot().get("failures") == "1"
    assert files["--summary"].read_text().startswith("# darkmatter check: red")


def test_a_thinned_baseline_is_counted_or_red(call, tmp_path):
    """What the baseline lacks stands in the first line of every report, and --require-all makes it red."""
    baseline = write(tmp_path / "baseline", entry())
    now = write(tmp_path / "now", entry(), entry(name="other"))
    junit = tmp_path / "j.xml"
    words = ["check", "--results", now, "--baseline", baseline, "--junit", junit]
    counted = "1 checked, none worse than allowed; 1 not compared: 1 SAE not in the baseline"
    status, out, _ = call(*words)

    assert (status, out.splitlines()[0]) == (0, f"# darkmatter check: green, {counted}")
    assert counted in junit.read_text()
    assert call(*words, "--require-all")[0] == 1
    assert ET.parse(junit).getroot().get("failures") == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "SUITE.yaml"),
        (["suite.yaml", "--results", "x"], "not both"),
        (["--results", "x", "--max-regression", "0.02"], "write 2%"),
        (["--results", "x", "--metric", "fvu"], "EVALUATOR.METRIC=LIMIT"),
    ],
)
def test_wrong_usage_is_said_before_anything_runs(call, baseline, arguments, said):
    """Options are checked first: no hour of evaluation ends in a misspelt limit."""
    status, _, err = call("check", *arguments, "--baseline", baseline)

    assert status == 2
    assert said in err


def test_a_run_into_the_baseline_is_refused(call, baseline, tmp_path):
    """It would compare the new results with themselves."""
    status, _, err = call("check", tmp_path / "suite.yaml", "--baseline", baseline, "--out", baseline)

    assert status == 2
    assert "same folder" in err


def test_a_baseline_that_is_not_there_is_wrong_usage(call, tmp_path):
    """The message says which command writes results."""
    status, _, err = call("check", "--results", tmp_path, "--baseline", tmp_path / "none")

    assert status == 2
    assert "darkmatter run" in err


@pytest.mark.slow
def test_another_seed_is_green_and_a_worse_sae_is_red(call, tmp_path, monkeypatch):
    """The embedded SAE trained with another seed passes at the default; with half its latents it does not.

    The same holds the other way round, and the same SAE passes.
    """
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    paths = {sae.name: str(sae_path(sae)) for sae in SAES}
    first, second = paths["topk-w1024-k16"], paths["topk-w1024-k16-seed1"]
    stories = write_stories(tmp_path / "stories.jsonl", 700, latents=False)

    def suite(name, reference):
        fields = {
            "model": str(model_path()),
            "text": {"path": str(stories), "context_length": 128, "contexts": 400},
            "saes": {"mine": reference},
            "evaluators": {
                "reconstruction": {},
                "error_decomposition": {},
                "ce_attribution": {"contexts": 48},
            },
        }
        (tmp_path / name).write_text(yaml.safe_dump(fields))
        return tmp_path / name

    def check(name, reference, baseline):
        options = ["--baseline", tmp_path / baseline, "--out", tmp_path / f"out-{name}", "--json"]
        status, out, _ = call("check", suite(f"{name}.yaml", reference), *options)
        verdicts = {metric["metric"]: metric["verdict"] for metric in json.loads(out)["metrics"]}
        return status, {metric for metric, verdict in verdicts.items() if verdict in {"red", "error"}}

    assert call("run", suite("suite.yaml", first), "--out", tmp_path / "baseline")[0] == 0

    assert check("same", first, "baseline") == (0, set())
    assert check("seed", second, "baseline") == (0, set())
    assert check("back", first, "out-seed") == (0, set())
    status, red = check("worse", {"ref": first, "k": 12}, "baseline")
    assert status == 1
    assert red >= {"fvu", "fvu_nonlinear"}
