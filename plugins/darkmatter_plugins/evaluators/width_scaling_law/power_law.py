"""Fit y = c + a W^-m with c, a >= 0 by variable projection, many data sets at a time.

For a given m the best c and a are a closed form (least squares on the quarter plane), which leaves a
function of m alone. It is searched on a grid, and its stationary point beside the best grid point is
found by bisecting its derivative, which is sharp to rounding where the function itself is flat. All
steps run over the rows of y [fits, widths] at once, so that two thousand resamples take milliseconds.

An exponent is undefined (NaN) where the data decide none: where y does not fall with W (then a = 0 and
c is the mean), and where the best m lies at an edge of the grid (m = 10: only the smallest width
differs from the rest; then c and a are NaN too).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXPONENTS = np.geomspace(1e-3, 10.0, 81)
BISECTIONS = 45
"""Halvings of two steps of the grid: the exponent is then sharp to 1e-14 of itself."""

BLOCK = 256
"""Fits that are searched on the grid together; bounds memory."""

FLAT = 1e-12
"""A fit that lowers the sum of squares by less than this share of Σ y² has found no fall."""


@dataclass(frozen=True)
class PowerLaw:
    """Fits [fits] of c + a W^-m; NaN where the data decide no value."""

    c: Floats
    a: Floats
    m: Floats

    def at(self, width: float) -> Floats:
        """The law's value at a width [fits]."""
        return np.where(self.a == 0, self.c, self.c + self.a * width ** -np.where(self.a == 0, 1, self.m))


def fit_power_law(widths: Floats, y: Floats) -> PowerLaw:
    """The least-squares law of each row of y [fits, widths]; y >= 0, at least three widths."""
    log_width = np.log(widths)
    centre = log_width.mean()
    u = log_width - centre
    index = _best_on_grid(u, y)
    m = _refined(u, y, index)
    c, a = _plane(np.exp(-m[:, None] * u), y)
    undecided = (index == 0) | (index == len(EXPONENTS) - 1)
    constant = ~(a > 0)
    a_at_one = np.where(constant, 0.0, a * np.exp(m * centre))
    return PowerLaw(
        np.where(undecided & ~constant, np.nan, c),
        np.where(undecided & ~constant, np.nan, a_at_one),
        np.where(undecided | constant, np.nan, m),
    )


def _plane(phi: Floats, y: Floats) -> tuple[Floats, Floats]:
    """c, a >= 0 minimising Σ(y - c - a phi)² along the last axis (broadcast)."""
    phi_mean, y_mean = phi.mean(axis=-1), y.mean(axis=-1)
    spread = phi - phi_mean[..., None]
    a = (spread * y).sum(axis=-1) / (spread**2).sum(axis=-1)
    c = y_mean - a * phi_mean
    through_zero = (phi * y).sum(axis=-1) / (phi**2).sum(axis=-1)
    # The best point of a convex bowl over the quarter plane lies on the side it was pushed over.
    a, c = np.where(c < 0, through_zero, a), np.where(c < 0, 0.0, c)
    fall = a**2 * (spread**2).sum(axis=-1)
    rising = (a <= 0) | ((c > 0) & (fall <= FLAT * (y**2).sum(axis=-1)))
    return np.where(rising, y_mean, c), np.where(rising, 0.0, a)


def _best_on_grid(u: Floats, y: Floats) -> NDArray[np.intp]:
    """Which exponent of the grid fits each row best."""
    phi = np.exp(-EXPONENTS[:, None] * u)
    best = np.zeros(len(y), dtype=np.intp)
    for start in range(0, len(y), BLOCK):
        rows = y[start : start + BLOCK, None, :]
        c, a = _plane(phi, rows)
        missed = ((rows - c[..., None] - a[..., None] * phi) ** 2).sum(axis=-1)
        best[start : start + BLOCK] = missed.argmin(axis=-1)
    return best


def _refined(u: Floats, y: Floats, index: NDArray[np.intp]) -> Floats:
    """The stationary exponent between a grid point's neighbours."""
    low = EXPONENTS[np.maximum(index - 1, 0)]
    high = EXPONENTS[np.minimum(index + 1, len(EXPONENTS) - 1)]
    for _ in range(BISECTIONS):
        m = (low + high) / 2
        phi = np.exp(-m[:, None] * u)
        c, a = _plane(phi, y)
        # c and a are best for this m, so the derivative of Σ residual² is the partial one (sign only).
        residual = y - c[:, None] - a[:, None] * phi
        falls = (residual * phi * u).sum(axis=1) < 0
        low, high = np.where(falls, m, low), np.where(falls, high, m)
    return np.asarray((low + high) / 2, dtype=np.float64)
