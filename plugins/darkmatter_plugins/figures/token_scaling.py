"""Whether the error norms of narrow SAEs predict those of wide ones, token by token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from darkmatter import api
from darkmatter_plugins.figures.style import figure_of, panels, plural, size_text, why_undefined, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAPS = {
    "r2": "R² of |eⱼ| from |eᵢ|",
    "r2_gain_nonlinear": "FVU of it that |Nᵢ| removes (%)",
}

MOST_NUMBERS = 12
"""Members beyond which the cells hold no numbers."""


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture per family, with both matrices."""
    families = [family for family in results.of("error_scaling") if "r2" in family.tables]
    if not any(_matrix(family.tables["r2"]).size for family in families):
        raise api.NothingToDraw(why_undefined(results.of("error_scaling"), "r2.mean"))
    for family in families:
        count = len(family.tables["r2"]["names"])
        size = max(2.9, 0.38 * count + 1.3)
        axes = panels(2, columns=2, size=(size, size), share_y=True)
        for axis, (kind, title) in zip(axes, MAPS.items(), strict=True):
            _heat(axis, family.tables[kind])
            axis.set_title(title)
        axes[0].set_ylabel("predictor i")
        yield api.Drawing(
            figure_of(axes[0]),
            f"Error norms of {plural(count, 'SAE')} of one family on the same held-out tokens. Left: share "
            f"of the variance of |e| of SAE j that |e| of SAE i predicts. Right: percent of what is left "
            f"that goes when the norm of SAE i's nonlinear error joins. Intervals stand in the tables.",
        )


def _matrix(table: dict[str, Any]) -> np.ndarray:
    """Values [predictor, predicted], NaN where there is none."""
    return np.array(
        [[np.nan if value is None else value for value in row] for row in table["values"]], dtype=np.float64
    )


def _heat(axis: Axes, table: dict[str, Any]) -> None:
    # The last SAE predicts none, the first is predicted by none.
    values = _matrix(table)[:-1, 1:]
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    image = axis.imshow(values, cmap="cividis", aspect="auto", vmin=low, vmax=high)
    labels = _labels(table)
    axis.set_xticks(range(len(labels) - 1), labels[1:], rotation=90 if max(map(len, labels)) > 5 else 0)
    axis.set_yticks(range(len(labels) - 1), labels[:-1])
    axis.set_xlabel("predicted j")
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0, labelsize=8)
    figure_of(axis).colorbar(image, ax=axis, orientation="horizontal", shrink=0.8, format="%.3g", pad=0.02)
    if len(labels) > MOST_NUMBERS:
        return
    decimals = 2 if max(abs(low), abs(high)) < 3 else 1
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = f"{round(float(value), decimals) + 0.0:.{decimals}f}"  # + 0.0: no "-0.0"
            color = "white" if value < low + 0.55 * (high - low) else "black"
            axis.text(column, row, text, ha="center", va="center", size=7.5, color=color)


def _labels(table: dict[str, Any]) -> list[str]:
    """Widths where they tell the members apart, else names."""
    widths = table["widths"]
    if len(set(widths)) == len(widths):
        return [size_text(width) for width in widths]
    return [wrapped(name, 24, 1) for name in table["names"]]
