"""Turn a set of results into text with one of the installed reporters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from darkmatter.plugins import host
from darkmatter.results.build import build_table

if TYPE_CHECKING:
    from darkmatter.results.collection import ResultSet
    from darkmatter.results.table import Table


def render(results: ResultSet, reporter: str, *, all_metrics: bool = False) -> str:
    """The results in a reporter's format; an unknown reporter names the nearest."""
    # Looked up first: a misspelt reporter shall not cost the making of the table.
    implementation = host().get("reporters", reporter).descriptor.resolve()
    table = build_table(results, all_metrics=all_metrics, evaluators=host().evaluators())
    return str(implementation(table))


def render_table(table: Table, reporter: str) -> str:
    """A table in a reporter's format."""
    return str(host().get("reporters", reporter).descriptor.resolve()(table))
