"""Put measured numbers into dark-matter.md and interpretable-features.md, between their markers.

    darkmatter demo --out demo && darkmatter table demo --format json --all > embedded.json
    darkmatter table RESULTS --format json --all > tinystories.json
    python docs/make_dark_matter.py embedded.json tinystories.json

A marker names an evaluator, its metrics and SAEs, `*` for anything:
`<!-- numbers: error_decomposition | error_r2, fvu_nonlinear | topk-w*-k16 -->`. Controls are named as
`control:pca-k*`, and a metric `ratio.pca[]` is a family's, once per SAE. A file of rows that is not there
leaves its rows as they are.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from darkmatter.results.numbers import format_value, natural_key

PAGES = [Path(__file__).resolve().parent / f"{name}.md" for name in ("dark-matter", "interpretable-features")]
MARKER = re.compile(r"(<!-- numbers: (.+?) \| (.+?) \| (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
MODELS = ("embedded", "TinyStories")
HOOK = "blocks.2.hook_resid_post"

Rows = Sequence[dict[str, Any]]


def table(rows: dict[str, Rows], evaluator: str, metrics: Sequence[str], saes: str, old: str) -> str:
    """A Markdown table of some metrics over the SAEs of each model at the hook point of the page."""
    lines = [f"| model | SAE | {' | '.join(f'`{metric}`' for metric in metrics)} |"]
    lines += ["|---|---|" + "---|" * len(metrics)]
    for model in MODELS:
        if model not in rows:
            lines += [line for line in old.splitlines() if line.startswith(f"| {model} |")]
            continue
        wanted = [row for row in rows[model] if row["evaluator"] == evaluator and row["hook"] == HOOK]
        if metrics[0].endswith("[]"):
            wanted = [each for row in wanted for each in _per_sae(row)]
        names = {row["sae"] for row in wanted if _is_asked_for(row, saes.split())}
        for name in sorted(names, key=natural_key):
            values = {row["metric"]: row for row in wanted if row["sae"] == name}
            cells = [_cell(values.get(metric)) for metric in metrics]
            label = "all" if name.startswith("family:") else name.removesuffix(f"@{HOOK}")
            lines.append(f"| {model} | {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _per_sae(row: dict[str, Any]) -> list[dict[str, Any]]:
    """A family's metric about one SAE, as a row of that SAE."""
    found = re.fullmatch(r"(.+)\[(.+)\]", row["metric"])
    return [{**row, "metric": f"{found[1]}[]", "sae": found[2]}] if found else []


def _is_asked_for(row: dict[str, Any], patterns: Sequence[str]) -> bool:
    name = row["sae"].removesuffix(f"@{HOOK}")
    return any(fnmatchcase(f"control:{name}" if row["is_control"] else name, each) for each in patterns)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "–"
    return format_value(row["value"], row["ci_low"], row["ci_high"])


def filled(page: str, rows: dict[str, Rows]) -> str:
    """The page with every table made anew."""

    def fill(match: re.Match[str]) -> str:
        opening, evaluator, metrics, saes, old, closing = match.groups()
        made = table(rows, evaluator, [name.strip() for name in metrics.split(",")], saes, old)
        return f"{opening}\n{made}\n\n{closing}"

    return MARKER.sub(fill, page)


def main(files: Sequence[Path]) -> None:
    """Rewrite the pages; the files are the rows of each model in turn."""
    rows = {
        model: json.loads(file.read_text(encoding="utf-8"))
        for model, file in zip(MODELS, files, strict=False)
        if file.exists()
    }
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
