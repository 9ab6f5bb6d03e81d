"""Markdown tables as GitHub reads them: a strict parser sees exactly the cells that were meant."""

import re

import pytest
from markdown_it import MarkdownIt

from darkmatter.printable import printable
from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.results.pareto import pareto_table
from darkmatter.results.pivot import pivot_table
from darkmatter.results.reading import Problem, StoredResult
from darkmatter.results.schema import MetricValue
from darkmatter.testing.results import HOSTILE, sample_result, sample_units
from darkmatter_plugins.reporters import markdown

NAMES = [
    HOSTILE,
    "a|b",
    "a\\|b",
    "a\\",
    "line\nbreak",
    "| --- |",
    "```",
    "``a``",
    "<img src=x>",
    "<!--",
    "&amp;",
    "![i](http://x)",
    "[[1]]",
    "~~a~~",
    "=",
    "- a",
    "1) a",
    "_a_ __b__",
    "http://evil.example",
    "@torvalds",
    "a (@org/team), b",
    "_@a_",
    "a@b.example",
    "12@.example",
    "mailto:a",
    "see https://evil.example now",
    "FTP://evil.example",
    "www.evil.example",
    "_www.evil.example",
    "#123",
    "owner/repo#1",
    "GH-12",
    "$x^2$",
    "$$ a b $$",
    "$`x`$",
    ":+1:",
    "`@a`",
    "``@a",
    "a\\|@b",
    "12. a",
    "[x] done",
    "a #",
    "    a",
]
ACTIVE = {
    "mention": r"(?<!\w)@\w",
    "mail": r"[\w.+-]@[\w.-]*\.\w",
    "issue": r"(?<!&)#\d|(?<![^\W_])gh-\d",
    "link": r"://|(?<![^\W_])(www\.|mailto:|xmpp:)",
    "emoji": r":[\w+-]+:",
    "formula": r"\$",
}
"""What GitHub looks for in a text that is read already, so that no escape can help; code is left alone."""
PLAIN = {"text", "text_special", "strong_open", "strong_close", "hardbreak", "softbreak", "code_inline"}
FVU = ("reconstruction", "fvu")


def named(name, fvu=0.02):
    """An SAE of this name, with an L0 and an undefined metric whose reason is its name."""
    undefined = MetricValue(name="share", value=None, status="undefined", reason=name, primary=True)
    made = sample_result(name, units=sample_units({"fvu": fvu}), extra=[undefined])
    record = made.result.sae.model_copy(update={"l0": 16.0, "metadata": {"architecture": name}})
    return StoredResult(made.result.model_copy(update={"sae": record}), None, made.loader)


def parsed(text):
    """The tokens of a page as GitHub reads it."""
    return MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"]).parse(text)


def tables(text):
    """Every table as rows of the plain text of its cells; markup other than bold and code is a failure."""
    found, row = [], None
    for token in parsed(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            row = []
            found[-1].append(row)
        elif token.type == "tr_close":
            row = None
        elif token.type == "inline":
            kinds = {child.type for child in token.children}
            assert kinds <= PLAIN
            seen = "".join(" " if child.type == "code_inline" else child.content for child in token.children)
            for what, pattern in ACTIVE.items():
                assert not re.search(pattern, seen, re.IGNORECASE), f"a {what} in {seen!r}"
            if row is not None:
                row.append("".join(child.content for child in token.children))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_cell_of_plain_text(name):
    """Pipes, newlines, backticks, HTML and links of a name are its letters, in a table of full rows."""
    (table,) = tables(markdown.render(build_table(ResultSet([named(name), named("plain", 0.03)]))))

    assert {len(row) for row in table} == {3}
    assert printable(name).strip() in {row[0] for row in table}


@pytest.mark.parametrize("name", NAMES)
def test_other_views_are_plain_too(name):
    """The same holds for pivots and Pareto fronts, where names are cells and notes."""
    results = ResultSet([named(name), named("plain", 0.03)])

    (front,) = tables(markdown.render(pareto_table(results, [FVU])))
    assert printable(name).strip() in {row[0] for row in front}
    pivots = tables(markdown.render(pivot_table(results, ("width", "architecture"), FVU)))
    assert all(len(row) == len(pivot[0]) for pivot in pivots for row in pivot)
    assert f"architecture {printable(name)}".strip() in {title for pivot in pivots for title in pivot[0]}


@pytest.mark.parametrize("name", NAMES)
def test_lines_of_a_list_are_plain_too(name):
    """Reasons and paths of files begin no list, box, heading or code block inside the lists of a page."""
    text = markdown.render(build_table(ResultSet([named("a")], [Problem(name, name)])))
    tables(text)
    kinds = [token.type for token in parsed(text)]

    assert not {"ordered_list_open", "code_block", "fence", "hr"} & set(kinds)
    assert kinds.count("heading_open") == 2
    assert not re.search(r"^- \[[ xX]\]", text, re.MULTILINE)


def test_no_html_reaches_the_page():
    """Nothing of a hostile file is an HTML block, a link, an image or code."""
    text = markdown.render(build_table(ResultSet([named(HOSTILE), named("<script>alert(1)</script>", 0.03)])))
    kinds = {token.type for token in parsed(text)}

    assert not kinds & {"html_block", "fence", "code_block", "hr"}
    tables(text)


def test_bold_and_marks_survive():
    """The best value is bold, and the tie keeps its sign."""
    results = ResultSet([named("a"), named("b", 0.020001), named("c", 0.05)])
    text = markdown.render(build_table(results))
    (table,) = tables(text)
    by_name = {row[0]: row[1] for row in table}

    assert text.count("**0.0") == 1
    assert sorted(cell.endswith(" =") for cell in (by_name["a"], by_name["b"])) == [False, True]
    assert not by_name["c"].endswith(" =")
