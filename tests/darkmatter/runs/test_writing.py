"""From what an evaluator gave to a result and its sidecar."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from darkmatter import api
from darkmatter.output import EvalOutput
from darkmatter.plugins import Owned
from darkmatter.runs.chosen import Chosen
from darkmatter.runs.writing import Draft, ResultDraft, finished_result
from darkmatter.stats.resample import Resampler

EVALUATOR = api.Evaluator(
    "e", "Scores.", "m:o", config=api.Config, metrics=(api.Metric("score", "a ratio", low=0, high=1),)
)


def drafted() -> ResultDraft:
    """The draft of a result."""
    chosen = Chosen(Owned(EVALUATOR, "test", "test", "1"), api.Config(), None)
    draft = Draft("mine", "mine", "", is_control=False, assumptions=())
    return draft.of(("here", "here"), "0" * 32, "1" * 32, chosen, d_in=2, d_sae=4)


def test_what_no_reader_takes_is_not_written():
    """Tables nested deeper than a result file may be fail their evaluator, not every later table."""
    output = EvalOutput(EVALUATOR, Resampler(12, seed=0), n_rows=12)
    nested: dict[str, Any] = {}
    for _ in range(100):
        nested = {"deeper": nested}
    output.tables["deep"] = nested

    with pytest.raises(ValueError, match="levels deep"):
        finished_result(drafted(), output)


def test_a_sidecar_names_the_units_that_the_evaluator_resampled():
    """Pairs of prompts are not the documents of the cache, and comparisons print what they are over."""
    output = EvalOutput(EVALUATOR, Resampler(12, seed=0, unit="pairs"), n_rows=12)
    output.add_columns({"right": np.ones(12), "pairs": np.full(12, 2.0)})
    output.ratio("score", "right", "pairs")
    stored = finished_result(drafted(), output)

    assert stored.units().kind == "pairs"
    assert len(stored.units()) == 12
