"""Turn a set of results into text with one of the installed reporters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from darkmatter.plugins import host
from darkmatter.results.build import build_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from darkmatter.descriptors import Evaluator
    from darkmatter.results.collection import ResultSet
    from darkmatter.results.table import Table


def render(
    results: ResultSet,
    reporter: str,
    *,
    all_metrics: bool = False,
    described: Mapping[str, Evaluator] | None = None,
) -> str:
    """The results in a reporter's format; an unknown reporter names the nearest.

    ``described`` are descriptors beside those of the plugins, for what they did not measure.
    """
    # Looked up first: a misspelt reporter shall not cost the making of the table.
    implementation = host().get("reporters", reporter).descriptor.resolve()
    evaluators = {**host().evaluators(), **(described or {})}
    return str(implementation(build_table(results, all_metrics=all_metrics, evaluators=evaluators)))


def render_table(table: Table, reporter: str) -> str:
    """A table in a reporter's format."""
    return str(host().get("reporters", reporter).descriptor.resolve()(table))
