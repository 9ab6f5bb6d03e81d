"""The command ``darkmatter plot``."""

import subprocess
import sys

import pytest

from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result

pytest_plugins = ["darkmatter.testing.fixtures"]


@pytest.fixture
def folder(tmp_path):
    """A results folder from which one figure can be drawn."""
    histogram = {"log10_rate": {"edges": [-1.0, -0.5, 0.0], "latents": [3.0, 1.0]}}
    entry = sample_result("mine", {"dead": 4.0}, evaluator="density", curves=histogram)
    with ResultStore.open(tmp_path / "out") as store:
        store.write(entry.result, entry.units())
    return tmp_path / "out"


def test_pictures_go_beside_the_results(run_cli, folder):
    """Both formats, below DIR/plots; files are named on stdout, what is missing on stderr."""
    done = run_cli("plot", folder)
    files = sorted(path.name for path in (folder / "plots").iterdir())

    assert done.status == 0
    assert files == ["density-blocks.2.hook_resid_post.png", "density-blocks.2.hook_resid_post.svg"]
    assert done.stdout.splitlines() == [str(folder / "plots" / name) for name in reversed(files)]
    assert "not drawn: width_law: needs results of width_scaling_law" in done.stderr
    assert run_cli("table", folder).status == 0, "pictures are no results"


def test_folder_formats_and_figures_can_be_chosen(run_cli, folder, tmp_path):
    """--out, --format and --figures say where and what."""
    done = run_cli("plot", folder, "--out", tmp_path / "paper", "--format", "pdf", "--figures", "density")

    assert (done.status, done.stderr) == (0, "")
    assert [path.suffix for path in (tmp_path / "paper").iterdir()] == [".pdf"]
    assert not (folder / "plots").exists()


def test_list_draws_nothing(run_cli, folder):
    """--list names every figure with what it would give or lacks, and writes no file."""
    done = run_cli("plot", folder, "--list")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())

    assert done.status == 0
    assert lines["density"] == "1 picture"
    assert lines["pursuit"] == "needs results of gradient_pursuit"
    assert not (folder / "plots").exists()


def test_nothing_to_draw_is_a_failure(run_cli, tmp_path):
    """Exit status 1 says that no picture came of it."""
    done = run_cli("plot", tmp_path)

    assert (done.status, done.stdout) == (1, "")
    assert "nothing in" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--format", "sgv"], "'svg'"),
        (["--format", ","], "Known: svg, png, pdf"),
        (["--figures", "densty"], "'density'"),
    ],
)
def test_wrong_usage_names_the_nearest(run_cli, folder, arguments, hint):
    """Misspelt formats and figures are usage errors."""
    done = run_cli("plot", folder, *arguments)

    assert done.status == 2
    assert hint in done.stderr


def test_a_missing_folder_is_wrong_usage(run_cli, tmp_path):
    """A folder that does not exist is said to be missing."""
    assert run_cli("plot", tmp_path / "absent").status == 2


def test_a_file_in_the_way_is_wrong_usage(run_cli, folder, tmp_path):
    """--out is a folder."""
    (tmp_path / "file").touch()
    done = run_cli("plot", folder, "--out", tmp_path / "file")

    assert done.status == 2
    assert "is a file" in done.stderr


def test_figures_cost_nothing_until_they_are_drawn():
    """Listing figures imports no matplotlib."""
    code = """import sys
from darkmatter.cli.main import main
main(["list", "figures"])
main(["plot", "--help"])
sys.exit("matplotlib" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "width_law" in done.stdout
