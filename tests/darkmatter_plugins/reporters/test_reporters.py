"""The built-in reporters: nothing that a file says can become markup."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest

from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.results.schema import MetricValue
from darkmatter.testing import check_reporter
from darkmatter.testing.results import HOSTILE, sample_result, sample_units
from darkmatter_plugins.reporters import REPORTERS, latex, markdown, tidy
from darkmatter_plugins.reporters import html as html_page


@pytest.mark.parametrize("reporter", REPORTERS, ids=lambda reporter: reporter.name)
def test_reporters_conform(reporter):
    """Every built-in reporter passes the public check."""
    check_reporter(reporter)


@pytest.fixture
def table():
    """Two SAEs, a control, an undefined value and a skipped evaluator."""
    undefined = MetricValue(name="share", value=None, status="undefined", reason="no variance", primary=True)
    return build_table(
        ResultSet(
            [
                sample_result("good", units=sample_units({"fvu": 0.02}), extra=[undefined]),
                sample_result("bad", units=sample_units({"fvu": 0.03})),
                sample_result("pca", units=sample_units({"fvu": 0.1}), is_control=True),
                sample_result("good", metrics={}, evaluator="ce", status="skipped", reason="needs a model"),
            ]
        )
    )


def hostile_table():
    """A table in which every text comes from a hostile file."""
    undefined = MetricValue(name="share", value=None, status="undefined", reason=HOSTILE, primary=True)
    return build_table(
        ResultSet([sample_result(HOSTILE, extra=[undefined], hook=HOSTILE, evaluator=HOSTILE)])
    )


def test_markdown_reads_as_a_table(table):
    """Best in bold, controls marked, footnotes numbered, reasons below."""
    text = markdown.render(table)

    assert re.search(
        r"^\| good +\| +\*\*0\.0\d+ \[0\.0\d+, 0\.0\d+\]\*\* \| +\N{EN DASH} \[1\] \|$", text, re.MULTILINE
    )
    assert "| pca (control) |" in text
    assert "[1] no variance" in text
    assert "- good: ce skipped: needs a model" in text


def test_markdown_rows_keep_their_cells():
    """A pipe in a name does not begin a cell."""
    lines = [line for line in markdown.render(hostile_table()).splitlines() if line.startswith("|")]
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}

    assert len(cells) == 1


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a_b_c", "a_b_c"),
        ("_a_", r"\_a\_"),
        ("`x`", r"\`x\`"),
        ("**x**", r"\*\*x\*\*"),
        ("<script>", "&lt;script&gt;"),
        ("[x](y)", r"[x]\(y)"),
        ("[x](http://y) z", "`[x](http://y)` z"),
        ("blocks.2.hook_resid_post", "blocks.2.hook_resid_post"),
        ("topk-w512-k16", "topk-w512-k16"),
        ("dead at seed 0: 3% (width=512)", "dead at seed 0: 3% (width=512)"),
        ("ask @octocat", "ask `@octocat`"),
        ("of `@a`", "of `` `@a` ``"),
        ("results/a@1-0f.json: is empty", "`results/a@1-0f.json:` is empty"),
        ("see #12", "see `#12`"),
        ("www.a.example", "`www.a.example`"),
        ("$x^2$ :+1:", "`$x^2$` `:+1:`"),
        ("#", r"\#"),
        ("10. item", r"10\. item"),
        ("[x] done", r"\[x] done"),
        ("    code", "code"),
        ("# title", r"\# title"),
        ("1. item", r"1\. item"),
        ("[x]: y", r"\[x]: y"),
        ("0.03 [0.02, 0.04]", "0.03 [0.02, 0.04]"),
        ("a\x1b[31mb\x07", "ab"),
        ("a\nb", "a b"),
    ],
)
def test_markdown_escapes_only_what_is_markup(raw, shown):
    """Names stay readable; what would be markup does not."""
    assert markdown.escape(raw) == shown


def test_csv_cells_are_no_formulas():
    """Text that begins like a formula is quoted; negative numbers stay numbers."""
    results = [
        sample_result("=1+1"),
        sample_result("@cmd", extra=[MetricValue(name="-x", value=-0.5, primary=True)]),
    ]
    rows = list(csv.DictReader(io.StringIO(tidy.render_csv(build_table(ResultSet(results))))))

    assert {row["sae"] for row in rows} == {"'=1+1", "'@cmd"}
    assert rows[-1]["metric"] == "'-x"
    assert float(rows[-1]["value"]) == -0.5
    assert rows[0]["n"] == "6000"


def test_json_is_the_tidy_rows(table):
    """JSON gives the rows with null for what has no value, in plain ASCII."""
    text = tidy.render_json(table)
    rows = json.loads(text)

    assert rows == table.rows
    assert text.isascii()
    assert [row["value"] for row in rows if row["metric"] == "share"] == [None]
    assert json.loads(tidy.render_json(build_table(ResultSet([])))) == []


def test_latex_has_booktabs_and_no_raw_text(table):
    """Rules are booktabs', and special characters of names are escaped."""
    text = latex.render(table)

    assert r"\toprule" in text
    assert r"\textbf{0.0" in text
    assert latex.escape(r"a_b%\input{x}") == r"a\_b\%\textbackslash{}input\{x\}"
    assert r"\footnotesize\textsuperscript{1} no variance" in text


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        for name, _ in attrs:
            self.seen.add(f"@{name}")


def test_html_has_only_our_tags():
    """No script, link, image or event handler can come from a file, and nothing is loaded."""
    tags = Tags()
    text = html_page.render(hostile_table())
    tags.feed(text)

    assert not tags.seen & {"script", "a", "img", "iframe", "link", "@onclick", "@href", "@src"}
    assert "default-src 'none'" in text
    assert "&lt;b&gt;" in text
