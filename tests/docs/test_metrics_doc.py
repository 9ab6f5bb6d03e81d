"""Pages that are made from the code say what the code says."""

import importlib.util
from pathlib import Path

import pytest

from darkmatter_plugins.evaluators import EVALUATORS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def make_metrics():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("make_metrics", ROOT / "docs" / "make_metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_metrics_page_is_up_to_date(make_metrics):
    """docs/metrics.md is what docs/make_metrics.py writes; run that script after changing a descriptor."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == make_metrics.page(EVALUATORS)


@pytest.mark.parametrize("evaluator", EVALUATORS, ids=lambda evaluator: evaluator.name)
def test_every_metric_stands_on_the_page_once(make_metrics, evaluator):
    """Each metric is one row of its evaluator's table, and no cell breaks the table."""
    rows = [line for line in make_metrics.section(evaluator).splitlines() if line.startswith("| ")][1:]
    names = [row.split("`")[1] for row in rows]
    assert names == [metric.name for metric in evaluator.metrics]
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
