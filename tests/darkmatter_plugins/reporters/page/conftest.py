"""Result files from which pages are made."""

from __future__ import annotations

import pytest

from darkmatter.results.build import build_table
from darkmatter.results.collection import ResultSet
from darkmatter.results.reading import Problem
from darkmatter.results.schema import MetricValue
from darkmatter.testing.results import sample_result, sample_units

HOSTILE_NAMES = (
    "<script>window.hacked=1</script>",
    "</script><img src=x onerror=window.hacked=1>",
    '"\' onmouseover=window.hacked=1 x="',
    "\x1b[31mred\x07\u202e **bold** [link](javascript:window.hacked=1) %{x} <b>no</b> &lt;",
)


def undefined(name, reason):
    """A headline metric without a value."""
    return MetricValue(name=name, value=None, status="undefined", reason=reason, primary=True)


def results_of(values, *, is_control=False, names=None):
    """Reconstruction and decomposition of SAEs: name -> (fvu, share of it that is linear, l0)."""
    made = []
    for name, (fvu, linear, l0) in values.items():
        shape = sample_units({"fvu": fvu, "l0": l0})
        parts = sample_units({"fvu_linear": fvu * linear, "fvu_nonlinear": fvu * (1 - linear)})
        made.append(sample_result(name, units=shape, is_control=is_control))
        made.append(sample_result(name, units=parts, is_control=is_control, evaluator="error_decomposition"))
    return made


@pytest.fixture
def results():
    """Three SAEs, a control, an undefined value, a skipped evaluator, latents, and a damaged file."""
    latents = {"latents": [{"latent": 7, "explanation": "names & <places>", "top": 0.5, "empty": None}]}
    return ResultSet(
        [
            *results_of({"small": (0.03, 0.1, 8.0), "wide10": (0.01, 0.1, 32.0), "wide9": (0.02, 0.1, 16.0)}),
            *results_of({"pca": (0.4, 1.0, 16.0)}, is_control=True),
            sample_result("small", {"score": 0.5}, evaluator="autointerp", tables=latents),
            sample_result("small", metrics={}, evaluator="share", extra=[undefined("part", "no variance")]),
            sample_result("wide9", metrics={}, evaluator="ce", status="skipped", reason="needs a model"),
        ],
        [Problem("forged.json", "has another checksum")],
    )


@pytest.fixture
def table(results):
    """The same as a table."""
    return build_table(results)


@pytest.fixture
def hostile():
    """SAEs whose names try to become markup or script."""
    values = {name: (0.01 * (row + 1), 0.2, 8.0) for row, name in enumerate(HOSTILE_NAMES)}
    notes = {"notes": HOSTILE_NAMES, "reason": HOSTILE_NAMES[0]}
    return build_table(
        ResultSet(
            [
                *results_of(values),
                sample_result("plain", metrics={}, evaluator="ce", status="failed", **notes),
            ],
            [Problem(name, name) for name in HOSTILE_NAMES],
        )
    )
