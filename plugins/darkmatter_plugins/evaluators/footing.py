"""On what footing numbers stand: which variances are rounding, and how many rows are few."""

from __future__ import annotations

VARIANCE_FLOOR = 1e-10
"""An error variance below this share of the total variance of the activations is round-off."""

SQUARED_NORM_FLOOR = 1e-20
"""The same for the variance of squared norms, as a share of the squared total variance."""

ROUNDING = 1e-13
"""Variance below this share of the mean square is what float32 leaves of constant rows."""

FEW, VERY_FEW = 50, 20
"""Training rows per dimension below which a regression gets a note, and a warning."""

OF_NONLINEAR = "the nonlinear error is overestimated"


def few_rows(n_train: int, d: int, effect: str) -> list[str]:
    """The note, if any, on least squares with d regressors; ``effect`` is what d/n does to its figures."""
    if n_train >= FEW * d:
        return []
    least, word = (VERY_FEW, "warning: ") if n_train < VERY_FEW * d else (FEW, "")
    note = (
        f"{word}{n_train} training rows are fewer than {least} x {d} dimensions: {effect} by about "
        f"d/n = {d / max(n_train, 1):.2g}; use more contexts, or a larger max_rows where there is one"
    )
    return [note]
