"""The command ``darkmatter report``."""

import pytest

from darkmatter.results.store import ResultStore
from darkmatter.testing.results import sample_result

pytest_plugins = ["darkmatter.testing.fixtures"]


@pytest.fixture
def folder(tmp_path):
    """A results folder with one result."""
    entry = sample_result("mine", {"fvu": 0.02})
    with ResultStore.open(tmp_path / "out") as store:
        store.write(entry.result, entry.units())
    return tmp_path / "out"


def test_it_writes_one_page_twice_the_same(run_cli, folder, tmp_path):
    """The page is where -o says, its size is said, and the same results give the same bytes."""
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    done = run_cli("report", folder, "-o", first)

    assert (done.status, run_cli("report", folder, folder, "-o", second).status) == (0, 0)
    assert done.stdout.startswith(f"{first} (")
    assert "opens offline" in done.stdout
    assert first.read_bytes() == second.read_bytes()
    assert b"mine" in first.read_bytes()


def test_a_file_that_is_no_result_is_said_on_the_page_and_by_the_status(run_cli, folder, tmp_path):
    """Exit status 1, the reason on stderr and in the page."""
    (folder / "mine" / "forged.json").write_text('{"schema_version": 1}')
    done = run_cli("report", folder, "-o", tmp_path / "page.html")

    assert done.status == 1
    assert "not used:" in done.stderr
    assert "forged.json" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_wrong_targets_are_refused_before_anything_is_read(run_cli, folder, tmp_path):
    """-o takes an HTML file; the message names one, and a results folder is not overwritten."""
    done = run_cli("report", folder, "-o", tmp_path / "page.md")

    assert done.status == 2
    assert "page.html" in done.stderr
    assert run_cli("report", folder).status == 2
    assert run_cli("report", tmp_path / "absent", "-o", tmp_path / "page.html").status == 2


def test_a_folder_without_results_makes_no_page(run_cli, tmp_path):
    """Nothing is written, and the next command is named."""
    (tmp_path / "empty").mkdir()
    done = run_cli("report", tmp_path / "empty", "-o", tmp_path / "page.html")

    assert done.status == 1
    assert "darkmatter run" in done.stderr
    assert not (tmp_path / "page.html").exists()


def test_without_plotly_the_page_comes_without_figures(run_cli, folder, tmp_path, monkeypatch):
    """The extra is named on stderr; the page is written all the same."""
    monkeypatch.setattr("darkmatter.cli.commands.report.find_spec", lambda _name: None)
    done = run_cli("report", folder, "-o", tmp_path / "page.html")

    assert done.status == 0
    assert "sae-darkmatter[report]" in done.stderr
    assert (tmp_path / "page.html").exists()
