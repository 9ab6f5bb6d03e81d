"""The page without a browser: what it says, what it escapes, what its policy lets run."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from html.parser import HTMLParser

import pytest

from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.testing.results import sample_result
from darkmatter_plugins.reporters.page import markup, plotting, render
from darkmatter_plugins.reporters.page.charts import charts


class Reader(HTMLParser):
    """Elements with their attributes, and the text of scripts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.scripts, self.text, self._script = [], [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._script = dict(attrs) if tag == "script" else None

    def handle_data(self, data):
        if self._script is None:
            self.text.append(data)
        else:
            self.scripts.append((self._script, data))

    def handle_endtag(self, tag):
        self._script = None if tag == "script" else self._script

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def run_scripts(reader):
    """Scripts that a browser runs, against data blocks, which it does not."""
    return [text for attributes, text in reader.scripts if "type" not in attributes]


def block(reader, name):
    return next(text for attributes, text in reader.scripts if attributes.get("id") == name)


def policy(reader):
    return next(each["content"] for each in reader.of("meta") if "http-equiv" in each)


def sha256(text):
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_names_the_hash_of_every_script_and_nothing_else(table):
    """What is not one of the page's own scripts cannot run, and nothing can be loaded."""
    pytest.importorskip("plotly", reason="the extra [report] is not installed")
    reader = Reader(render.render(table))
    library = gzip.decompress(b64decode(block(reader, "plotly"))).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy(reader).split(";"))

    assert rules.pop("script-src").split() == [sha256(text) for text in [*run_scripts(reader), library]]
    assert rules["default-src"] == "'none'"
    assert "unsafe-eval" not in policy(reader)
    assert rules.pop("style-src") == "'unsafe-inline'"
    assert rules.pop("img-src") == "data: blob:"
    assert set(rules.values()) == {"'none'"}


def test_nothing_on_the_page_points_anywhere_else(table):
    """The page is one file: its links are its own anchors, and each exists once."""
    reader = Reader(render.render(table))
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    links = [attributes["href"] for attributes in reader.of("a")]

    assert [link for link in links if link.removeprefix("#") not in ids] == []
    assert len(ids) == len(set(ids))
    assert [tag for tag, attributes in reader.elements if "src" in attributes or tag == "link"] == []


def test_the_same_results_give_the_same_bytes(results):
    """A page holds no clock and no order of chance."""
    again = ResultSet(results.stored, results.problems)

    assert render.render(build_table(results)) == render.render(build_table(again))


def test_hostile_text_stays_text(hostile):
    """Whatever a name, note, reason or path holds, it makes no element, attribute or script."""
    page = render.render(hostile)
    reader = Reader(page)
    allowed = {"class", "id", "data-name", "title", "tabindex", "role", "aria-label", "scope", "href"}
    rows = [attributes for attributes in reader.of("tr") if "data-name" in attributes]

    assert {name for row in rows for name in row} <= allowed
    assert reader.of("img") == []
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)
    assert "hacked" not in "".join(run_scripts(reader))
    assert "<script>window.hacked=1</script>" in "".join(reader.text)
    assert not any(char in page for char in "\x1b\x07\u202e")


def test_names_in_figures_are_no_markup_of_the_library(hostile):
    """The plotting library reads tags in text, and the data block ends where it ends."""
    pytest.importorskip("plotly", reason="the extra [report] is not installed")
    text = block(Reader(render.render(hostile)), "figures-data")
    figures = json.loads(text)
    shown = [str(line) for figure in figures for trace in figure["data"] for line in trace.get("text", ())]

    assert figures
    assert not any(char in text for char in "<>&")
    assert any("&lt;script&gt;" in line for line in shown)
    assert not any(re.search(r"<(?!br>)", line) for line in shown)


def test_the_summary_says_what_is_best_and_what_is_missing(table):
    """Its sentences follow from the marks of the table: best, ties, counts, what failed."""
    page = render.render(table)
    said = " ".join("".join(Reader(page.partition("<h2>Comparison")[0]).text).split())

    assert "Highest fvu_nonlinear (error_decomposition) of 3: small, 0.0" in said, "as its result says it"
    assert "3 SAEs and families and 1 control, measured by 5 evaluators" in said
    assert "1 result skipped, listed below with reasons." in said
    assert "Not trusted and not used: 1 file" in said


def test_the_best_and_its_ties_are_in_words():
    """A best value is named with its interval, and what cannot be told apart from it beside it."""
    from darkmatter.results.table import Block, Cell, Column, Section, Table, TableRow
    from darkmatter_plugins.reporters.page.summary import summary

    rows = (
        TableRow("a", False, (Cell("0.1 [0.0, 0.2]", "best", value=0.1),)),
        TableRow("b", False, (Cell("0.2", "tie", value=0.2),)),
        TableRow("c", False, (Cell("\u2013", notes=(1,)),)),
        TableRow("identity", True, (Cell("0", value=0.0),)),
    )
    section = Section("hook", "", (Block("r", (Column("r", "fvu", "fvu ↓"),), rows),))
    said = "".join(Reader(summary(Table("t", (section,)))).text)

    assert "Lowest fvu (r) of 2: a, 0.1 [0.0, 0.2]. Cannot be told apart: b. Without a value: 1." in said
    assert "Nothing failed, nothing was skipped, and every file was used." in said


def test_every_sae_has_its_anatomy_latents_and_provenance(table):
    """A part of an SAE says how its error splits, the control of its L0, its latents, its key."""
    page = render.render(table)
    part = page[page.index('data-name="wide9">\n<summary') :].partition('<details class="sae')[0]
    text = " ".join(" ".join(Reader(part).text).split())

    assert re.search(r"linear part [\d.]+ \[[\d., ]+\] 10\.0%", text)
    assert re.search(r"control pca: missed in all l0 16\S* ", text)
    assert "skipped: needs a model" in text
    assert 'href="#conditions-1"' in part
    assert re.search(r"key <code>[0-9a-f]{32}</code>", part)
    assert "names &amp; &lt;places&gt;" in page
    assert ">empty<" not in page


def test_without_the_library_the_page_says_so(table, monkeypatch):
    """Without the extra [report] the page has everything but figures, and says why."""
    monkeypatch.setattr(render, "library", lambda: None)
    page = render.render(table)

    assert "pip install &#x27;sae-darkmatter[report]&#x27;" in page
    assert 'id="plotly"' not in page
    assert sha256(run_scripts(Reader(page))[0]) in policy(Reader(page))


def test_long_text_is_cut(table):
    """A file cannot fill the page with one value."""
    from darkmatter_plugins.reporters.page.markup import MAX_TEXT, escape

    assert len(escape("x" * 10 * MAX_TEXT)) < MAX_TEXT + 20


def test_tables_of_latents_may_be_rows_or_columns_and_damaged_ones_are_left_out():
    """What an evaluator keeps by latent is shown; anything else in a result's tables is not, and no crash."""
    from darkmatter.testing.results import sample_result
    from darkmatter_plugins.reporters.page.latents import MOST_ROWS, latent_tables

    tables = {
        "columns": {"latent": [3, 4], "score": [0.5, None], "odd": [1]},
        "rows": [{"latent": row} for row in range(MOST_ROWS + 5)],
        "bad": [{"latent": 1}, 7],
        "other": {"levels": [1.0]},
        "number": 3,
        "infinite": [{"latent": 1, "score": float("inf"), "pairs": [{"to": "<b>"}], "text": "words"}],
    }
    shown = list(latent_tables(sample_result(tables=tables).result))

    assert len(shown) == 3
    assert "<td>3</td><td>0.5</td>" in shown[0]
    assert "odd" not in shown[0]
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 5} rows" in shown[1]
    assert shown[1].count("<tr>") == MOST_ROWS + 1
    assert '<span class="words">words</span></td><td>inf</td>' in shown[2]
    assert "&lt;b&gt;" in shown[2]


def test_plotly_is_read_and_not_imported():
    """The extra costs nothing until a page is made, and then only the reading of its script."""
    pytest.importorskip("plotly", reason="the extra [report] is not installed")
    code = (
        "import sys; from darkmatter_plugins.reporters.page import render, plotting; plotting.library();"
        "print('plotly' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]


def test_a_page_stays_small(table):
    """The plotting library is packed: a page is a file that one can send."""
    pytest.importorskip("plotly", reason="the extra [report] is not installed")

    assert len(render.render(table).encode()) < 3 << 20
    assert plotting.library() is plotting.library()


def test_no_share_mixes_two_configurations():
    """An SAE whose error was split in two ways has an anatomy and a figure for each, with its own numbers."""
    entries = [sample_result("a", {"fvu": 0.02, "l0": 16.0})]
    for bias, linear in ((False, 0.005), (True, 0.015)):
        parts = {"fvu_linear": linear, "fvu_nonlinear": 0.02 - linear}
        entries.append(sample_result("a", parts, evaluator="error_decomposition", config={"bias": bias}))
    made = build_table(ResultSet(entries))
    text = " ".join(Reader(render.render(made)).text)

    for bias, linear in (("false", 25), ("true", 75)):
        titled = f"Anatomy of the error: error_decomposition (bias={bias})"
        assert titled in text
        said = text.split(titled)[-1].split("linear part")[1]
        assert abs(float(re.search(r"([\d.]+)%", said)[1]) - linear) < 3
    assert [chart.title for chart in charts(made.sections[0]) if "Anatomy" in chart.title] == [
        "Anatomy of the error: error_decomposition (bias=false)",
        "Anatomy of the error: error_decomposition (bias=true)",
    ]
    assert "error_decomposition (bias=true), v1" in text


def test_the_line_of_a_closed_sae_says_which_configuration_its_numbers_are_of():
    """Two values of FVU stand beside each other, not the first of them alone."""
    entries = [sample_result("a", {"fvu": c / 100}, config={"c": c}) for c in (2, 4)]
    text = " ".join(Reader(render.render(build_table(ResultSet(entries)))).text)

    assert re.search(r"reconstruction \(c=2\): fvu 0\.0\d+, reconstruction \(c=4\): fvu 0\.0\d+", text)


def test_controls_beside_an_anatomy_are_of_its_configuration():
    """A control that was measured with other options is no yardstick for these numbers."""
    entries = [
        sample_result(name, {"fvu": fvu * c, "l0": 16.0}, config={"c": c}, is_control=name == "pca")
        for c in (1, 2)
        for name, fvu in (("a", 0.02), ("pca", 0.3))
    ]
    text = " ".join(Reader(render.render(build_table(ResultSet(entries)))).text)

    for c, fvu in ((1, 0.3), (2, 0.6)):
        said = text.split(f"Anatomy of the error: reconstruction (c={c})")[1]
        found = re.search(r"pca: missed in all\s+l0 \S+\s+([\d.]+)", said)
        assert float(found[1]) == pytest.approx(fvu, rel=0.05)


def test_equal_saes_share_the_front_of_the_figure():
    """The line of a figure joins whom `table --pareto` calls the front."""
    entries = [sample_result(name, {"fvu": 0.02, "l0": 16.0}) for name in ("a", "b", "c")]
    (front, *_) = charts(build_table(ResultSet(entries)).sections[0])

    assert len(front.figure["data"][0]["x"]) == 3


def test_names_break_between_their_parts():
    """On a phone a name goes on in the next line where a part of it begins; numbers are not cut."""
    assert markup.breakable("family:blocks.2.hook_out@x") == (
        "family:<wbr>blocks.2.<wbr>hook_<wbr>out@<wbr>x"
    )
    assert markup.breakable("0.0005") == "0.0005"
    assert markup.breakable("a_<b>") == "a_&lt;b&gt;"
