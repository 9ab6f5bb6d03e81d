"""Renderers of tables: Markdown, CSV, JSON, LaTeX, HTML, and the page of `darkmatter report`."""

from darkmatter import api

REPORTERS = (
    api.Reporter(
        "md",
        "Markdown with intervals, ties and notes; readable in a terminal",
        "darkmatter_plugins.reporters.markdown:render",
        suffix=".md",
    ),
    api.Reporter(
        "csv",
        "tidy rows, one per SAE, evaluator and metric",
        "darkmatter_plugins.reporters.tidy:render_csv",
        suffix=".csv",
    ),
    api.Reporter(
        "json",
        "tidy rows as a JSON list",
        "darkmatter_plugins.reporters.tidy:render_json",
        suffix=".json",
    ),
    api.Reporter(
        "latex",
        "booktabs tables for a paper",
        "darkmatter_plugins.reporters.latex:render",
        suffix=".tex",
    ),
    api.Reporter(
        "html",
        "one self-contained page without scripts",
        "darkmatter_plugins.reporters.html:render",
        suffix=".html",
    ),
    api.Reporter(
        "page",
        "one self-contained page: summary, sortable tables, interactive figures, every SAE in full",
        "darkmatter_plugins.reporters.page.render:render",
        suffix=".html",
    ),
)
