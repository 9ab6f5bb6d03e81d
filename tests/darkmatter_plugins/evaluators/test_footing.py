"""What evaluators say of the rows that a regression stands on."""

from __future__ import annotations

import pytest

from darkmatter_plugins.evaluators.footing import few_rows


@pytest.mark.parametrize(
    ("rows", "said"),
    [(500, None), (499, "499 training rows are fewer than 50 x 10 dimensions"), (199, "warning: 199")],
)
def test_few_rows_get_a_note_and_very_few_a_warning(rows, said):
    """Below 50 rows a dimension the bias is named, with its size; below 20 it is a warning."""
    notes = few_rows(rows, 10, "R² is pessimistic")

    if said is None:
        assert notes == []
    else:
        assert notes[0].startswith(said)
        assert f"R² is pessimistic by about d/n = {10 / rows:.2g}; use more contexts" in notes[0]
