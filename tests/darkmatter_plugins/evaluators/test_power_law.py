"""The fit of c + a W^-m alone: exact on noiseless data, the optimum on noisy ones, NaN where undecided."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit, nnls

from darkmatter_plugins.evaluators.width_scaling_law.power_law import fit_power_law

PAPER = 2.0 ** np.arange(14, 21)
SMALL = 2.0 ** np.arange(8, 13)


def noisy(widths: np.ndarray, n: int, noise: float, seed: int = 0) -> np.ndarray:
    """Laws of every kind [n, widths]: much floor and none, steep and shallow."""
    rng = np.random.default_rng(seed)
    floor, m = rng.uniform(0, 1, (n, 1)) * (rng.random((n, 1)) < 0.7), rng.uniform(0.05, 2.5, (n, 1))
    law = rng.uniform(0.01, 0.3, (n, 1)) * (floor + (widths / widths[0]) ** -m)
    return law * (1 + noise * rng.standard_normal((n, len(widths))))


def squared_error(law, widths: np.ndarray, y: np.ndarray) -> np.ndarray:
    fitted = np.stack([law.at(width) for width in widths], axis=1)
    return ((fitted - y) ** 2).sum(axis=1)


def test_c2_noiseless_points_give_the_law_back():
    """Seven widths from 2^14 to 2^20 of c = .12, a = 6, m = .35: exact, far within 1e-6, 1e-3, 1e-5."""
    law = fit_power_law(PAPER, (0.12 + 6 * PAPER**-0.35)[None])

    assert law.c[0] == pytest.approx(0.12, abs=1e-10)
    assert law.a[0] == pytest.approx(6, rel=1e-9)
    assert law.m[0] == pytest.approx(0.35, abs=1e-10)
    assert law.at(2.0**21)[0] == pytest.approx(0.12 + 6 * 2.0 ** (-0.35 * 21), rel=1e-10)


@pytest.mark.parametrize("widths", [PAPER, SMALL], ids=["paper", "small"])
def test_no_other_optimiser_does_better_on_noisy_points(widths):
    """Neither scipy's curve_fit nor non-negative least squares over a fine grid of m finds a better law."""
    y = noisy(widths, 40, 0.02)
    law = fit_power_law(widths, y)
    found = squared_error(law, widths, y)
    u = widths / np.exp(np.log(widths).mean())
    for row, mine in zip(y, found, strict=True):
        grid = [nnls(np.stack([np.ones_like(u), u**-m], axis=1), row)[1] for m in np.geomspace(1e-3, 10, 400)]
        bounds = ([0, 0, 1e-3], [np.inf, np.inf, 10])
        start = [row.min() / 2, row.mean() / 2, 0.5]
        others = [min(grid) ** 2]
        (c, a, m), _ = curve_fit(lambda w, c, a, m: c + a * w**-m, u, row, p0=start, bounds=bounds)
        others.append(((c + a * u**-m - row) ** 2).sum())
        if np.isfinite(mine):
            assert mine <= min(others) * (1 + 1e-8)

    assert np.isfinite(found).mean() > 0.8


def test_many_fits_at_once_are_the_fits_one_by_one():
    """Rows do not meet each other, whatever the block they are searched in."""
    y = noisy(SMALL, 600, 0.05)
    together = fit_power_law(SMALL, y)
    for index in (0, 255, 256, 599):
        alone = fit_power_law(SMALL, y[index : index + 1])
        for name in ("c", "a", "m"):
            assert getattr(alone, name)[0] == pytest.approx(
                getattr(together, name)[index], rel=1e-9, nan_ok=True
            )


def test_points_that_do_not_fall_have_a_constant_and_no_exponent():
    """A flat or rising FVU: a = 0, c the mean, m undefined; c and a are never negative."""
    flat, rising = np.full(5, 0.3), np.linspace(0.2, 0.4, 5)
    law = fit_power_law(SMALL, np.stack([flat, rising, np.zeros(5)]))

    assert law.c == pytest.approx([0.3, 0.3, 0])
    assert law.a.tolist() == [0, 0, 0]
    assert np.isnan(law.m).all()
    assert law.at(1e6) == pytest.approx([0.3, 0.3, 0])


def test_a_law_without_a_floor_lies_on_the_bound():
    """A line in W would need a negative constant: c stays 0, and the best pure power law is found."""
    line = np.linspace(0.4, 0.3, 5)
    law = fit_power_law(SMALL, line[None])

    assert law.c[0] == 0
    assert law.a[0] > 0
    assert law.m[0] == pytest.approx(0.1, abs=0.05)


def test_an_exponent_at_the_edge_is_no_exponent():
    """One step and then nothing: any steep law fits, and none is claimed."""
    law = fit_power_law(SMALL, np.array([[0.4, 0.3, 0.3, 0.3, 0.3]]))

    assert np.isnan([law.c[0], law.a[0], law.m[0]]).all()
