"""The pages about the papers show numbers that are measured, of metrics that exist."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from darkmatter.cli.main import main
from darkmatter.runs.suite import read_suite
from darkmatter_plugins.evaluators import EVALUATORS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {"dark-matter": 12, "interpretable-features": 12}
"""Pages and how many tables they have."""


def text(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def maker():
    """The script that fills the page."""
    spec = importlib.util.spec_from_file_location("make_dark_matter", DOCS / "make_dark_matter.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def embedded(page: str) -> list[tuple[list[str], list[float]]]:
    """Model, SAE and numbers of each row about the embedded model."""
    rows = [line for line in page.splitlines() if line.startswith("| embedded |")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in rows]
    return [
        (row[:2], [float(n) for cell in row[2:] for n in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", cell)])
        for row in cells
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_marker_names_metrics_of_its_evaluator(maker, page):
    """A renamed metric or evaluator would leave an empty column; each table has rows of both models."""
    found = text(page)
    markers = maker.MARKER.findall(found)
    evaluators = {each.name: each for each in EVALUATORS}

    assert len(markers) == found.count("<!-- numbers:") == found.count("<!-- end -->") == PAGES[page]
    for _, evaluator, metrics, _, shown, _ in markers:
        for metric in metrics.split(","):
            assert evaluators[evaluator].metric(metric.strip()) is not None
        assert "| embedded |" in shown
        assert "| TinyStories |" in shown


def test_tables_are_filled_from_rows_and_keep_what_is_not_given(maker):
    """A model's rows are replaced by what its file says, null shown as –; another model's rows stay."""
    row = {"evaluator": "e", "hook": maker.HOOK, "is_control": False, "ci_low": None, "ci_high": None}
    rows = [
        {**row, "sae": "topk-w20", "metric": "m", "value": 0.25},
        {**row, "sae": "topk-w3", "metric": "m", "value": None},
        {**row, "sae": "other", "metric": "m", "value": 1},
        {**row, "sae": "topk-w1", "metric": "m", "value": 1, "is_control": True},
        {**row, "sae": "topk-w2", "metric": "m", "value": 1, "hook": "elsewhere"},
    ]
    old = "| embedded | old | 9 |\n| TinyStories | kept | 7 |\n"
    page = f"a\n<!-- numbers: e | m | topk-* -->\n{old}<!-- end -->\nb\n"
    made = maker.filled(page, {"embedded": rows})

    lines = [line for line in made.splitlines() if line.startswith("| ")]
    assert lines[1:] == [
        "| embedded | topk-w3 | – |",
        "| embedded | topk-w20 | 0.25 |",
        "| TinyStories | kept | 7 |",
    ]
    assert made.startswith("a\n<!-- numbers: e | m | topk-* -->")
    assert made.endswith("<!-- end -->\nb\n")


@pytest.mark.parametrize("name", PAGES)
def test_pictures_of_both_models_are_there_and_small(maker, name):
    """Every picture that a page shows is committed, under 70 kB, and none lies there unused."""
    (page,) = [each for each in maker.PAGES if each.stem == name]
    text = page.read_text(encoding="utf-8")
    shown = {f"{'-'.join(filter(None, each))}.png" for each in maker.PICTURE.findall(text)}
    committed = {path.name: path.stat().st_size for path in page.with_suffix("").glob("*.png")}

    assert len(shown) == text.count(".png)")
    assert shown == set(committed)
    assert {name.split("-")[0] for name in shown} == {"embedded", "tinystories"}
    assert max(committed.values()) < 70_000


@pytest.mark.parametrize("page", PAGES)
def test_the_suite_of_a_page_is_one(page):
    """The committed suite can be run once its paths are filled in: every field and evaluator exists."""
    suite = read_suite(DOCS / page / "tinystories.yaml")

    assert set(suite.evaluators) <= {each.name for each in EVALUATORS}


def test_controls_and_metrics_per_sae_are_asked_for_by_name(maker):
    """A control's row has no hook point; a family's metric about an SAE stands in that SAE's row."""
    row = {"evaluator": "e", "hook": maker.HOOK, "is_control": False, "ci_low": None, "ci_high": None}
    rows = [
        {**row, "sae": "topk", "metric": "m", "value": 1},
        {**row, "sae": f"pca-k8@{maker.HOOK}", "metric": "m", "value": 2, "is_control": True},
        {**row, "sae": "random", "metric": "m", "value": 3, "is_control": True},
        {**row, "sae": "family:h", "metric": "r.b[topk]", "value": 4},
        {**row, "sae": "family:h", "metric": "area", "value": 5},
    ]
    given = {"embedded": rows, "TinyStories": []}

    asked = maker.table(given, "e", ["m"], "topk* control:pca-k*", "").splitlines()[2:]
    assert asked == ["| embedded | pca-k8 | 2 |", "| embedded | topk | 1 |"]
    assert maker.table(given, "e", ["r.b[]"], "*", "").splitlines()[2:] == ["| embedded | topk | 4 |"]


def test_each_page_has_tinystories_results_of_its_own(maker, tmp_path, monkeypatch):
    """The embedded numbers are one run's, those of TinyStories each page's own run's."""
    folders = {name: tmp_path / name for name in ("demo", "first", "second")}
    for value, folder in enumerate(folders.values()):
        folder.mkdir()
        row = {"evaluator": "e", "hook": maker.HOOK, "is_control": False, "ci_low": None, "ci_high": None}
        rows = [{**row, "sae": "topk", "metric": "m", "value": value}]
        (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    pages = [tmp_path / "a.md", tmp_path / "b.md"]
    for page in pages:
        page.with_suffix("").mkdir()
        page.write_text("<!-- numbers: e | m | topk -->\n<!-- end -->\n", encoding="utf-8")
    read = SimpleNamespace(
        read=lambda folder: SimpleNamespace(table=lambda **_: (folder / "rows.json").read_text("utf-8"))
    )
    monkeypatch.setattr(maker, "ResultSet", read)
    monkeypatch.setattr(maker, "PAGES", pages)
    monkeypatch.setattr(maker, "draw", lambda *_: None)
    maker.main(*folders.values())

    shown = [re.findall(r"\| (\d) \|", page.read_text(encoding="utf-8")) for page in pages]
    assert shown == [["0", "1"], ["0", "2"]]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_numbers_of_the_embedded_model_are_what_the_demo_gives(maker, page, demo, capsys):
    """Every row about the embedded model is reproduced by the demo, to 1% of the value."""
    assert main(["table", str(demo[1]), "--format", "json", "--all"]) == 0
    again = embedded(maker.filled(text(page), {"embedded": json.loads(capsys.readouterr().out)}))
    shown = embedded(text(page))

    assert [name for name, _ in again] == [name for name, _ in shown]
    for (name, now), (_, before) in zip(again, shown, strict=True):
        assert now == pytest.approx(before, rel=1e-2, abs=2e-3), name


def test_prose_about_live_latents_says_what_the_table_says():
    """Counts and kurtosis in the words below the table of `density` are those of its rows."""
    page = text("interpretable-features")
    below = page.partition("<!-- numbers: density")[2].partition("## ")[0]
    rows = [
        line.strip("| ").split(" | ") for line in below.splitlines() if line.startswith("| TinyStories |")
    ]
    found = {row[1]: [float(cell) for cell in row[2:]] for row in rows}
    narrow, wide = found["topk-w128-k16"], found["topk-w2048-k16"]
    prose = below.partition("**Dead latents grow")[2]

    assert f"{narrow[0]:.0f} of 128 latents fire, {wide[0]:,.0f} of 2,048 do" in prose
    assert f"{wide[0] - wide[1]:.0f} of the {wide[0]:,.0f} fire ten times or fewer" in prose
    assert f"from {narrow[5]:.0f} at width 128 to {wide[5]:.0f} at 2048" in prose


def test_the_suite_of_known_names_is_one():
    """The suite that recovers names can be run as it stands, at the layer where the page says so."""
    suite = read_suite(DOCS / "interpretable-features" / "names.yaml")

    assert set(suite.evaluators) == {"feature_recovery"}
    assert suite.saes["layer1-topk-w1024-k16"].ref == "demo:layer1-topk-w1024-k16"
    assert "write_stories" in text("interpretable-features")
