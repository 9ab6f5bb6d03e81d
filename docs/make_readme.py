"""Put the real output of ``darkmatter demo`` into README.md: run it, pipe it through this.

    darkmatter demo > demo.md && python docs/make_readme.py demo.md

The blocks of reconstruction and error decomposition are kept whole, the rest is named.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
START, END = "<!-- demo output -->", "<!-- end of demo output -->"
KEPT = ("reconstruction", "error_decomposition", "error_decomposition (continued)")


def blocks(demo: str) -> dict[str, str]:
    """The tables of the demo's first hook point, where most SAEs are, by their titles."""
    first = re.split(r"^## ", demo, flags=re.MULTILINE)[1]
    parts = re.split(r"^\*\*(.+?)\*\*$", first, flags=re.MULTILINE)
    return {title: body.strip() for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def excerpt(demo: str) -> str:
    """What README.md shows: the line on the data and the kept blocks."""
    found = blocks(demo)
    measured = next(line for line in demo.splitlines() if line.startswith("Measured on"))
    tables = [f"**{title}**\n\n{found[title]}" for title in KEPT]
    closing = "(and sixteen more evaluators, three more hook points, notes, and what every column means)"
    return "\n\n".join([measured, *tables, closing])


def main(path: Path) -> None:
    """Rewrite the part of README.md between the markers."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.rpartition(END) if END in rest else ("", "", rest)
    shown = excerpt(path.read_text(encoding="utf-8"))
    README.write_text(f"{before}{START}\n\n{shown}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
