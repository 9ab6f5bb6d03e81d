"""LaTeX tables with booktabs rules, one per block."""

from __future__ import annotations

import re
from collections.abc import Iterator

from darkmatter import api

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",
    "]": "{]}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\to$",
    "²": r"$^2$",
    "≈": r"$\approx$",
    "\N{EN DASH}": "--",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "−": "$-$",
    "…": r"\ldots{}",
    "`": r"\textasciigrave{}",
}

_LAST_LATIN = 0x17F
"""pdflatex has letters up to here; what lies beyond is written as its code point, so that it compiles."""


def escape(text: str) -> str:
    """Text from a file that stays text in LaTeX."""
    return re.sub("-{2,}|.", lambda found: _escaped(found[0]), api.printable(text))


def _escaped(found: str) -> str:
    """One character, or a run of hyphens, which would become a dash."""
    if len(found) > 1:
        return "{-}" * len(found)
    known = found if ord(found) <= _LAST_LATIN else f"{{[}}U+{ord(found):04X}{{]}}"
    return _SPECIAL.get(found, known)


def render(table: api.Table) -> str:
    r"""The whole table; it needs ``\usepackage{booktabs}`` and nothing else."""
    parts = [r"% needs \usepackage{booktabs}"]
    for section in table.sections:
        parts.extend(_section(section, table))
    lines = [*table.missing, *(f"not used: {problem}" for problem in table.problems)]
    parts.extend(f"% {api.printable(line)}" for line in lines)
    return "\n".join(parts) + "\n"


def _section(section: api.Section, table: api.Table) -> Iterator[str]:
    for block in section.blocks:
        caption = f"{section.title}: {block.title}." + (f" {section.data}." if section.data else "")
        if section.warnings:
            caption += f" Not comparable with the tables before ({'; '.join(section.warnings)})."
        yield "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                r"\footnotesize\setlength{\tabcolsep}{4pt}",
                rf"\caption{{{escape(caption)}}}",
                _tabular(block),
                *_notes(block, table),
                r"\end{table}",
            ]
        )


def _tabular(block: api.Block) -> str:
    import pandas as pd

    headers = [block.heading, *(escape(column.title) for column in block.columns)]
    body = [
        [escape(row.name) + (" (control)" if row.is_control else ""), *(_cell(cell) for cell in row.cells)]
        for row in block.rows
    ]
    aligned = "l" + "".join("l" if column.words else "r" for column in block.columns)
    frame = pd.DataFrame(body, columns=headers)
    return frame.to_latex(index=False, escape=False, column_format=aligned).rstrip()


def _notes(block: api.Block, table: api.Table) -> list[str]:
    """The footnotes this block uses."""
    used = sorted({note for row in block.rows for cell in row.cells for note in cell.notes})
    return [rf"\par\footnotesize\textsuperscript{{{n}}} {escape(table.footnotes[n - 1])}" for n in used]


def _cell(cell: api.Cell) -> str:
    text = escape(cell.text)
    if cell.mark == "best":
        text = rf"\textbf{{{text}}}"
    elif cell.mark == "tie":
        text += " ="
    return text + "".join(rf"\textsuperscript{{{note}}}" for note in cell.notes)
