"""Numbers of a row against those that its sidecar gives."""

from __future__ import annotations

import numpy as np
import pytest

from darkmatter import api
from darkmatter.leaderboard.board import BoardRow
from darkmatter.leaderboard.sums import sums_findings
from darkmatter.output import EvalOutput
from darkmatter.results.reading import StoredResult
from darkmatter.results.units import Units
from darkmatter.stats.resample import Influence, Resampler
from darkmatter.testing.results import sample_result

METRICS = (api.Metric("share", "a share", low=0, high=1),)
EVALUATOR = api.Evaluator("e", "Shares.", "m:o", config=api.Config, metrics=METRICS)


def row_of_few_units() -> BoardRow:
    """A row as a run makes it, over units so few that an end of its interval reaches beyond the range."""
    output = EvalOutput(EVALUATOR, Resampler(4, seed=0), n_rows=40)
    output.add_columns({"some": np.array([10.0, 10.0, 9.0, 4.0]), "all": np.full(4, 10.0)})
    output.ratio("share", "some", "all")
    units = Units("contexts", np.arange(4), output.columns, output.estimators)
    result = sample_result("mine").result
    made = result.model_copy(update={"metrics": tuple(output.metrics), "analysis": {"seed": 0}})
    return BoardRow("row.json", StoredResult.in_memory(made, units))


def test_an_interval_is_made_again_inside_its_metrics_range():
    """Runs cut intervals to the range, and so does the check: honest rows of few units pass."""
    row = row_of_few_units()

    assert row.result.metrics[0].ci_high == 1.0
    assert list(sums_findings(row, {row.result.evaluator.name: EVALUATOR})) == []
    # Without the range the check would fault it, so the first assertion is no accident.
    assert "its interval is" in next(sums_findings(row, {})).reason


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_contributions_that_were_scaled_are_found(factor):
    """Contributions add up to zero at any scale, and decide what two SAEs differ by: the interval tells."""
    contributions = np.random.default_rng(0).normal(size=60) / 600
    linear = Influence(0.5, contributions - contributions.mean())
    output = EvalOutput(EVALUATOR, Resampler(60, seed=0), n_rows=600)
    output.statistic("share", linear, linear)

    def found(columns):
        units = Units("contexts", np.arange(60), columns, output.estimators)
        made = sample_result("mine").result.model_copy(
            update={"metrics": tuple(output.metrics), "analysis": {"seed": 0}}
        )
        row = BoardRow("row.json", StoredResult.in_memory(made, units))
        return [finding.reason for finding in sums_findings(row, {made.evaluator.name: EVALUATOR})]

    assert found(output.columns) == []
    (reason,) = found({name: factor * column for name, column in output.columns.items()})
    assert "wide, by its sidecar" in reason
