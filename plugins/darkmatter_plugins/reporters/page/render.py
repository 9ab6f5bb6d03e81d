"""The page: its parts in order, and a policy under which only its own scripts run."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files

from darkmatter import api
from darkmatter_plugins.reporters.page.charts import Chart, charts
from darkmatter_plugins.reporters.page.comparison import TOOLBAR, comparison
from darkmatter_plugins.reporters.page.markup import breakable, bullets, data_block, escape
from darkmatter_plugins.reporters.page.plotting import Library, library
from darkmatter_plugins.reporters.page.provenance import Records
from darkmatter_plugins.reporters.page.saes import saes
from darkmatter_plugins.reporters.page.summary import summary

NO_LIBRARY = (
    "There are no figures on this page: plotly was not installed where it was made. "
    "pip install 'sae-darkmatter[report]' adds them."
)


def render(table: api.Table) -> str:
    """The whole page; the same table gives the same bytes."""
    drawn = [list(charts(section)) for section in table.sections]
    plotting = library() if any(drawn) else None
    scripts = [_asset("page.js"), *([_asset("figures.js")] if plotting else [])]
    hashed = [*scripts, *([plotting.script] if plotting else [])]
    title = escape(table.title)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy(hashed)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>",
            '<a class="skip" href="#main">Skip to the results</a>',
            f"<header>\n<h1>{title}</h1>",
            '<button type="button" id="theme" aria-pressed="false">Dark</button>\n</header>',
            *_body(table, drawn, plotting),
            *_figures(drawn, plotting),
            *(f"<script>{script}</script>" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


def policy(scripts: Sequence[str]) -> str:
    """Nothing is loaded from anywhere, and no script runs but these.

    Styles cannot be hashed: the plotting library writes style attributes of its own. Pictures as data are
    what it makes when a figure is saved.
    """
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _asset(name: str) -> str:
    return (files("darkmatter_plugins.reporters.page") / "assets" / name).read_text(encoding="utf-8")


def _body(table: api.Table, drawn: Sequence[Sequence[Chart]], plotting: Library | None) -> list[str]:
    meanings = dict(table.meanings)
    provenance, conditions = Records("provenance"), Records("conditions")
    compared, figures, single = [], [], []
    for place, (section, mine) in enumerate(zip(table.sections, drawn, strict=True), start=1):
        title = f"<h3>{escape(section.title)}</h3>"
        compared += [title, *_measured(section), comparison(section, meanings)]
        if mine and plotting:
            figures += [title, '<div class="figures">', *_places(place, mine), "</div>"]
        single += [title, saes(section, place, provenance, conditions)]
    if any(drawn) and not plotting:
        figures.append(f'<p class="warning">{escape(NO_LIBRARY)}</p>')
    parts = {
        "Summary": summary(table),
        "Comparison": "\n".join([TOOLBAR, *compared]) if compared else "",
        "Figures": "\n".join(figures),
        "SAEs": "\n".join(single),
        "Not measured": bullets(table.missing),
        "Files that were not used": bullets(table.problems),
        "How to read it": bullets(table.how_to_read) + _legend(table),
        "Where the numbers are from": "\n".join(filter(None, [conditions.section(), provenance.section()])),
    }
    shown = {title: content for title, content in parts.items() if content}
    anchors = {title: title.lower().replace(" ", "-") for title in shown}
    links = "\n".join(f'<a href="#{anchors[title]}">{title}</a>' for title in shown)
    return [
        f'<nav aria-label="Parts of the page">\n{links}\n</nav>\n<main id="main" tabindex="-1">',
        *(
            f'<section id="{anchors[title]}">\n<h2>{title}</h2>\n{content}\n</section>'
            for title, content in shown.items()
        ),
        f"</main>\n{_footer(plotting)}",
    ]


def _measured(section: api.Section) -> list[str]:
    lines = [f'<p class="faint">Measured on: {escape(section.data)}.</p>'] if section.data else []
    if section.warnings:
        reasons = escape("; ".join(section.warnings))
        lines.append(f'<p class="warning">Not comparable with the tables above ({reasons}).</p>')
    return lines


def _places(place: int, mine: Sequence[Chart]) -> list[str]:
    return [
        f'<figure>\n<h4>{escape(chart.title)}</h4>\n<div class="plot" id="figure-{place}-{index}" role="img" '
        f'aria-label="{escape(chart.title)}; the tables above have its numbers"></div>\n'
        f"<figcaption>{escape(chart.caption)}</figcaption>\n</figure>"
        for index, chart in enumerate(mine, start=1)
    ]


def _figures(drawn: Sequence[Sequence[Chart]], plotting: Library | None) -> list[str]:
    """The data of all figures, and the library that draws them."""
    if plotting is None:
        return []
    found = [
        {"id": f"figure-{place}-{index}", **chart.figure}
        for place, mine in enumerate(drawn, start=1)
        for index, chart in enumerate(mine, start=1)
    ]
    return [
        data_block("figures-data", found),
        f'<script type="application/octet-stream" id="plotly">{plotting.packed}</script>',
    ]


def _legend(table: api.Table) -> str:
    items = "\n".join(f"<dt>{breakable(name)}</dt><dd>{_said(text)}</dd>" for name, text in table.meanings)
    notes = "\n".join(
        f'<li id="note-{number}">{escape(text)}</li>' for number, text in enumerate(table.footnotes, start=1)
    )
    return (
        f"\n<details><summary>What the columns mean</summary>\n<dl>\n{items}\n</dl>\n</details>"
        if items
        else ""
    ) + (f"\n<h3>Notes</h3>\n<ol>\n{notes}\n</ol>" if notes else "")


def _said(text: str) -> str:
    """A description with what stands in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _footer(plotting: Library | None) -> str:
    drawn = f" Figures are drawn by plotly {plotting.version} (MIT licence)." if plotting else ""
    return f"<footer><p>Made by darkmatter from result files alone; nothing is loaded.{drawn}</p></footer>"
