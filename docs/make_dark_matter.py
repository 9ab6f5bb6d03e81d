"""Put measured numbers and figures into dark-matter.md and interpretable-features.md, and tables beside them.

    darkmatter demo --out demo
    darkmatter run docs/dark-matter/tinystories.yaml --out tinystories
    darkmatter run docs/interpretable-features/tinystories.yaml --out tinystories-features
    python docs/make_dark_matter.py demo tinystories tinystories-features

A marker names an evaluator, its metrics and SAEs, `*` for anything:
`<!-- numbers: error_decomposition | error_r2, fvu_nonlinear | topk-w*-k16 -->`. Controls are named as
`control:pca-k*`, and a metric `ratio.pca[]` is a family's, once per SAE. Pictures are those that a page
shows, named MODEL-FIGURE or MODEL-FIGURE-SAE. A folder that is not there leaves its model's numbers alone.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import zip_longest
from pathlib import Path
from typing import Any

from darkmatter.figures.plot import plot
from darkmatter.plugins import host
from darkmatter.results.collection import ResultSet
from darkmatter.results.numbers import format_value, natural_key

PAGES = [Path(__file__).resolve().parent / f"{name}.md" for name in ("dark-matter", "interpretable-features")]
"""Each has a folder of its name beside it for its pictures; the first one's holds whole tables too."""
MARKER = re.compile(r"(<!-- numbers: (.+?) \| (.+?) \| (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
MODELS = ("embedded", "TinyStories")
HOOK = "blocks.2.hook_resid_post"
PICTURE = re.compile(r"\((?:dark-matter|interpretable-features)/(\w+?)-(\w+)(?:-([\w.-]+?))?\.png\)")
SMALLER, COLOURS, LARGEST = 0.55, (64, 48, 32, 24, 16), 70_000
"""Pictures in the repository are drawn for a screen, not for print: with as many colours as fit the bytes."""

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


def small(png: bytes) -> bytes:
    """A picture with fewer points and colours."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as whole:
        size = (round(whole.width * SMALLER), round(whole.height * SMALLER))
        shrunk = whole.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    for colours in COLOURS:
        content = io.BytesIO()
        palette = shrunk.quantize(colours, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
        palette.save(content, "PNG", optimize=True)
        if len(content.getvalue()) < LARGEST:
            break
    return content.getvalue()


def draw(page: Path, model: str, results: ResultSet) -> None:
    """Draw the pictures of a model that a page shows."""
    found = PICTURE.findall(page.read_text(encoding="utf-8"))
    shown = {(figure, part) for name, figure, part in found if name == model.lower()}
    figures = {name: each for name, each in host().figures().items() if name in {name for name, _ in shown}}
    drawn: dict[str, bytes] = {}
    for _ in plot(results, figures, ("png",), drawn.__setitem__):
        pass
    for figure, part in shown:
        stem = "-".join(filter(None, (figure, HOOK, part)))
        target = "-".join(filter(None, (model.lower(), figure, part)))
        (page.with_suffix("") / f"{target}.png").write_bytes(small(drawn[f"{stem}.png"]))


def main(embedded: Path, *tinystories: Path) -> None:
    """Rewrite pages, pictures and tables; TinyStories has a folder for each page."""
    for page, other in zip_longest(PAGES, tinystories[: len(PAGES)]):
        rows = {}
        for model, folder in zip(MODELS, (embedded, other), strict=True):
            if folder is not None and folder.exists():
                results = ResultSet.read(folder)
                rows[model] = json.loads(results.table(all=True, format="json"))
                draw(page, model, results)
                if page == PAGES[0]:
                    whole = page.with_suffix("") / f"{model.lower()}.md"
                    whole.write_text(results.table(), encoding="utf-8")
        page.write_text(filled(page.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
