"""Put measured numbers and figures into dark-matter.md, and the tables beside it.

    darkmatter demo --out demo
    darkmatter run tinystories.yaml --out tinystories
    python docs/make_dark_matter.py demo tinystories

A marker names an evaluator, its metrics and SAEs, `*` for anything:
`<!-- numbers: error_decomposition | error_r2, fvu_nonlinear | topk-w*-k16 -->`. Pictures are those that the
page shows, named MODEL-FIGURE or MODEL-FIGURE-SAE. A folder that is not there leaves its model as it is.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from darkmatter.figures.plot import plot
from darkmatter.plugins import host
from darkmatter.results.collection import ResultSet
from darkmatter.results.numbers import format_value, natural_key

PAGE = Path(__file__).resolve().parent / "dark-matter.md"
BESIDE = PAGE.with_suffix("")
"""Folder of the pictures and of whole tables."""
MARKER = re.compile(r"(<!-- numbers: (.+?) \| (.+?) \| (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
MODELS = ("embedded", "TinyStories")
HOOK = "blocks.2.hook_resid_post"
PICTURE = re.compile(r"\(dark-matter/(\w+?)-(\w+)(?:-([\w.-]+?))?\.png\)")
SMALLER, COLOURS = 0.55, 64
"""Pictures in the repository are drawn for a screen, not for print."""

Rows = Sequence[dict[str, Any]]


def table(rows: dict[str, Rows], evaluator: str, metrics: Sequence[str], saes: str, old: str) -> str:
    """A Markdown table of some metrics over the SAEs of each model at the hook point of the page."""
    lines = [f"| model | SAE | {' | '.join(f'`{metric}`' for metric in metrics)} |"]
    lines += ["|---|---|" + "---|" * len(metrics)]
    for model in MODELS:
        if model not in rows:
            lines += [line for line in old.splitlines() if line.startswith(f"| {model} |")]
            continue
        wanted = [
            row
            for row in rows[model]
            if row["evaluator"] == evaluator and row["hook"] == HOOK and not row["is_control"]
        ]
        names = {row["sae"] for row in wanted if any(fnmatchcase(row["sae"], each) for each in saes.split())}
        for name in sorted(names, key=natural_key):
            values = {row["metric"]: row for row in wanted if row["sae"] == name}
            cells = [_cell(values.get(metric)) for metric in metrics]
            label = "all" if name.startswith("family:") else name
            lines.append(f"| {model} | {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


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


def small(png: bytes) -> bytes:
    """A picture with fewer points and colours."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as whole:
        size = (round(whole.width * SMALLER), round(whole.height * SMALLER))
        shrunk = whole.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    content = io.BytesIO()
    shrunk.quantize(COLOURS, method=Image.Quantize.MEDIANCUT).save(content, "PNG", optimize=True)
    return content.getvalue()


def draw(page: str, model: str, results: ResultSet) -> None:
    """Draw the pictures of a model that the page shows."""
    shown = {(figure, part) for name, figure, part in PICTURE.findall(page) if name == model.lower()}
    figures = {name: each for name, each in host().figures().items() if name in {name for name, _ in shown}}
    drawn: dict[str, bytes] = {}
    for _ in plot(results, figures, ("png",), drawn.__setitem__):
        pass
    for figure, part in shown:
        stem = "-".join(filter(None, (figure, HOOK, part)))
        target = "-".join(filter(None, (model.lower(), figure, part)))
        (BESIDE / f"{target}.png").write_bytes(small(drawn[f"{stem}.png"]))


def main(folders: Sequence[Path]) -> None:
    """Rewrite the page, its pictures and the tables; the folders hold the results of each model in turn."""
    page, rows = PAGE.read_text(encoding="utf-8"), {}
    for model, folder in zip(MODELS, folders, strict=False):
        if folder.exists():
            results = ResultSet.read(folder)
            rows[model] = json.loads(results.table(all=True, format="json"))
            (BESIDE / f"{model.lower()}.md").write_text(results.table(), encoding="utf-8")
            draw(page, model, results)
    PAGE.write_text(filled(page, rows), encoding="utf-8")


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
