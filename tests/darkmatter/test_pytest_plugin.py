"""The fixture ``darkmatter`` in somebody else's tests."""

import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from darkmatter.errors import UsageError
from darkmatter.results.asserting import Asserting
from darkmatter.results.collection import ResultSet
from darkmatter.results.reading import StoredResult
from darkmatter.results.schema import MetricValue
from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result, sample_units

ROOT = Path(__file__).resolve().parents[2]


def write(folder, *entries):
    with ResultStore.open(folder) as store:
        for entry in entries:
            store.write(entry.result, entry.units())


def entry(name="mine", fvu=0.1, **options):
    return sample_result(name, units=sample_units({"fvu": fvu}, n_units=100), **options)


@pytest.fixture
def asserting(tmp_path):
    """What the fixture gives, with an SAE and a control in ``runs/mine``."""
    undefined = MetricValue(name="cosine", value=None, status="undefined", reason="no variance")
    plain = MetricValue(name="dead", value=0.5)
    write(tmp_path / "runs/mine", entry(extra=[undefined, plain]), entry("pca", 0.4, is_control=True))
    return Asserting(tmp_path)


def test_a_value_is_held_between_its_limits(asserting):
    """It returns what it compared, and fails with SAE, metric, value, interval and limit."""
    assert asserting.assert_metric("runs/mine", "fvu", max=0.12, min=0.08) == pytest.approx(0.1, abs=0.02)
    with pytest.raises(AssertionError, match=r"mine: reconstruction\.fvu = 0\.\d+ \[.*is above max=0\.05"):
        asserting.assert_metric("runs/mine", "fvu", max=0.05)
    with pytest.raises(AssertionError, match=r"is below min=0\.2"):
        asserting.assert_metric("runs/mine", "fvu", min=0.2)


def test_a_value_that_does_not_follow_from_its_sums_fails(asserting, tmp_path):
    """A number that was written over an unchanged sidecar is not good enough, however good it looks."""
    made = entry("mine")
    forged = tuple(metric.model_copy(update={"value": 0.01}) for metric in made.result.metrics)
    write(
        tmp_path / "forged",
        StoredResult(made.result.model_copy(update={"metrics": forged}), None, made.loader),
    )

    with pytest.raises(AssertionError, match="does not follow from its sums"):
        asserting.assert_metric("forged", "fvu", max=0.12)


def test_an_end_of_the_interval_can_be_held(asserting):
    """bound="high" asks that even the high end is good enough."""
    low = asserting.assert_metric("runs/mine", "fvu", max=1.0, bound="low")
    value = asserting.assert_metric("runs/mine", "fvu", max=1.0)
    high = asserting.assert_metric("runs/mine", "fvu", max=1.0, bound="high")

    assert low < value < high
    with pytest.raises(AssertionError, match="the high end of its 95% interval"):
        asserting.assert_metric("runs/mine", "fvu", max=value, bound="high")


def test_a_metric_without_value_fails_with_its_reason(asserting):
    """Undefined is no success."""
    with pytest.raises(AssertionError, match="undefined: no variance"):
        asserting.assert_metric("runs/mine", "cosine", max=1.0)


def test_an_evaluator_that_failed_fails_with_its_reason(tmp_path):
    """The reason of a failed result is that of the test."""
    results = ResultSet([sample_result("mine", {}, status="failed", reason="torn file")])
    with pytest.raises(AssertionError, match="failed: torn file"):
        Asserting(tmp_path).assert_metric(results, "fvu", max=1.0)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("runs/mine", "fvv"), {"max": 1}, "'fvu'"),
        (("runs/mine", "fvu"), {"max": 1, "sae": "mime"}, "'mine'"),
        (("runs/mine", "fvu"), {"max": 1, "evaluator": "reconstructoin"}, "'reconstruction'"),
        (("runs/mine", "fvu"), {}, "max="),
        (("runs/mine", "fvu"), {"max": 1, "bound": "hihg"}, "'high'"),
        (("runs/mine", "dead"), {"max": 1, "bound": "high"}, "no 95% interval"),
        (("runs/none", "fvu"), {"max": 1}, "darkmatter run SUITE.yaml --out runs/none"),
        ((".", "fvu"), {"max": 1, "sae": "x"}, "mine, pca"),
    ],
)
def test_wrong_usage_names_the_nearest_and_the_command(asserting, arguments, options, said):
    """A misspelt name is no failed SAE: the message says what there is and what would make it."""
    with pytest.raises(UsageError) as error:
        asserting.assert_metric(*arguments, **options)
    assert said in str(error.value)


def test_a_folder_without_results_says_what_makes_them(tmp_path):
    """The folder of an SAE that was never evaluated is the likeliest mistake."""
    (tmp_path / "sae").mkdir()
    with pytest.raises(UsageError, match="holds no results"):
        Asserting(tmp_path).assert_metric("sae", "fvu", max=1)


def test_several_saes_or_evaluators_must_be_chosen_from(tmp_path):
    """Nothing is taken by chance where a name means two things."""
    two = ResultSet([entry("a"), entry("b"), entry("a", evaluator="other")])
    with pytest.raises(UsageError, match="sae='a' or sae='b'"):
        Asserting(tmp_path).assert_metric(two, "fvu", max=1)
    with pytest.raises(UsageError, match="evaluator='other' or evaluator='reconstruction'"):
        Asserting(tmp_path).assert_metric(two, "fvu", max=1, sae="a")
    Asserting(tmp_path).assert_metric(two, "fvu", max=1, sae="a", evaluator="other")


def test_the_headline_metric_is_meant(tmp_path):
    """Evaluators repeat others' numbers on fewer rows: the one in the table is taken unless one is named."""
    aside = sample_result("mine", {}, evaluator="other", extra=[MetricValue(name="fvu", value=0.9)])
    results, asserting = ResultSet([aside, entry()]), Asserting(tmp_path)

    assert asserting.assert_metric(results, "fvu", max=1) < 0.2
    assert asserting.assert_metric(results, "fvu", max=1, evaluator="other") == 0.9


def test_a_damaged_file_is_no_result(asserting):
    """A folder in which a file was changed by hand is not trusted."""
    next((asserting.root / "runs/mine/mine").glob("*.json")).write_text("{}")
    with pytest.raises(UsageError, match="no darkmatter result"):
        asserting.assert_metric("runs/mine", "fvu", max=1)


def test_the_fixture_works_in_a_project_of_its_own(tmp_path):
    """The test of the manual passes and fails in a fresh pytest, with no traceback of ours."""
    write(tmp_path / "runs/my_sae", entry())
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent("""\
            def test_good(darkmatter):
                darkmatter.assert_metric("runs/my_sae", "fvu", max=0.2)

            def test_bad(darkmatter):
                darkmatter.assert_metric("runs/my_sae", "fvu", max=0.01)
        """)
    )
    # By name, whether or not this environment knows the entry point.
    options = [
        "-p",
        "no:randomly",
        "-p",
        "no:darkmatter",
        "-p",
        "darkmatter.pytest_plugin",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options], cwd=tmp_path, capture_output=True, text=True
    )

    assert "1 failed, 1 passed" in done.stdout
    assert "is above max=0.01" in done.stdout
    assert "asserting.py" not in done.stdout.partition("short test summary")[0].partition("AssertionError")[0]


def test_pytest_finds_it_and_starting_costs_nothing():
    """The entry point names the module, which imports pytest and the empty package alone."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    code = (
        "import sys, pytest; before = set(sys.modules); import darkmatter.pytest_plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert scripts["pytest11"] == {"darkmatter": "darkmatter.pytest_plugin"}
    assert done.stdout.strip() == "['darkmatter', 'darkmatter.pytest_plugin']"
