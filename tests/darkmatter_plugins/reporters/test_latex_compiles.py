"""LaTeX tables: a syntax check that needs no TeX, and a compilation where there is one."""

import re
import shutil
import subprocess

import pytest

from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.results.schema import MetricValue
from darkmatter.testing.results import HOSTILE, sample_result, sample_units
from darkmatter_plugins.reporters import latex

SPECIAL = r"\{}$&#%_^~"
KNOWN = set(
    re.findall(
        r"\w+",
        """begin end centering caption footnotesize setlength tabcolsep toprule midrule bottomrule par textbf
        textsuperscript textbackslash textasciicircum textasciitilde textasciigrave textless textgreater
        textbar uparrow downarrow to approx times cdot le ge ldots""",
    )
)
"""Every command that a table may use: LaTeX's own and the three rules of booktabs."""

NAMES = [
    SPECIAL,
    HOSTILE,
    "a--b---c",
    "名前",
    "\N{ROCKET}",
    "`quoted'",
    r"\input{x}",
    "%",
    "\\\\ & x",
    "e\u0301",
]


def page(names=NAMES):
    """A table in which every text is hostile."""
    entries = []
    for index, name in enumerate(names):
        undefined = MetricValue(name=name, value=None, status="undefined", reason=name, primary=True)
        units = sample_units({"fvu": 0.02 + index / 100})
        entries.append(sample_result(name, units=units, extra=[undefined], hook=name, is_control=index == 1))
    entries.append(sample_result("skipped", metrics={}, status="skipped", reason="\n".join(names)))
    return latex.render(build_table(ResultSet(entries)))


def check_syntax(text):
    """Raise AssertionError where LaTeX would stop: commands, special characters, braces, cells."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    commands = re.findall(r"\\([A-Za-z]+|.)", body.replace(r"\\", ""))
    assert {name for name in commands if name.isalpha()} <= KNOWN
    assert {name for name in commands if not name.isalpha()} <= set("{}$&#%_")
    plain = re.sub(r"\\[{}$&#%_]", "", body.replace(r"\\", "\n"))
    assert not set(plain) & set('#%^~_"<>|`')
    depth = 0
    for char in plain:
        depth += {"{": 1, "}": -1}.get(char, 0)
        assert depth >= 0
    assert depth == 0
    assert plain.count("$") % 2 == 0
    assert all(ord(char) <= 0x17F for char in plain)
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    found = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.DOTALL)
    assert found
    for columns, content in found:
        rows = re.sub(r"\\(top|mid|bottom)rule", "", content).strip().split(r"\\")
        assert rows.pop().strip() == ""
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}


def test_hostile_tables_have_correct_syntax():
    """Whatever names hold, the file keeps LaTeX's rules."""
    check_syntax(page())


@pytest.mark.parametrize(
    "broken", [r"\begin{table}", "{", "a & b", "$", "#", r"\input{x}", "_", "名", r"\end{table}", r"\cline"]
)
def test_the_check_finds_what_is_wrong(broken):
    """Each kind of damage is noticed, so that the check can fail."""
    text = page(["plain"])
    check_syntax(text)
    with pytest.raises((AssertionError, IndexError)):
        check_syntax(text.replace(r"\midrule", rf"\midrule {broken}", 1))


def test_letters_beyond_latin_are_written_as_code_points():
    """They would stop pdflatex; the code point says which letter it was."""
    assert latex.escape("é名") == "é{[}U+540D{]}"


def test_runs_of_hyphens_stay_hyphens():
    """TeX would make a dash of them; a single hyphen stays as it is."""
    assert latex.escape("a-b--c") == "a-b{-}{-}c"


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("tectonic") or shutil.which("pdflatex")), reason="neither tectonic nor pdflatex is here"
)
def test_hostile_tables_compile(tmp_path):
    """A real TeX makes a PDF of it."""
    source = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{page()}\end{{document}}"
    (tmp_path / "t.tex").write_text(source, encoding="utf-8")
    tectonic = shutil.which("tectonic")
    command = [tectonic] if tectonic else ["pdflatex", "-no-shell-escape", "-halt-on-error"]
    done = subprocess.run([*command, "t.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000
