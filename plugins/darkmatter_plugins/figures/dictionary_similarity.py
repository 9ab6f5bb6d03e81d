"""How much of each dictionary of a family the others have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from darkmatter import api
from darkmatter_plugins.figures.style import figure_of, panels, plural, why_undefined, wrapped

MOST = 16
"""Dictionaries in one picture; further ones stand in the tables."""


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """Two heat maps: the mean largest cosine, and what of it is beyond chance."""
    found = results.of("dictionary_similarity")
    known = [each for each in found if not each.is_control]
    controls = [each for each in found if each.is_control]
    if not any(_value(one, "mmcs", other) is not None for one in found for other in known):
        raise api.NothingToDraw(why_undefined(found, "mmcs[others→this]"))
    rows = [*sorted(known, key=lambda each: each.name), *controls]
    yield _picture(rows[:MOST], [each for each in rows if not each.is_control][:MOST], len(rows))


def _value(one: api.Measured, metric: str, other: api.Measured) -> float | None:
    """What stands in row ``one`` and column ``other``: how much of one's directions the other has."""
    return one.value(f"{metric}[this→{other.name}]")


def _picture(rows: Sequence[api.Measured], columns: Sequence[api.Measured], count: int) -> api.Drawing:
    height = 0.42 * len(rows) + 2.0
    axes = panels(2, columns=2, size=(0.42 * len(columns) + 2.2, height), share_y=True)
    for axis, metric, title in zip(axes, ("mmcs", "mmcs_excess"), ("mmcs", "beyond chance"), strict=True):
        values = np.array(
            [[_number(_value(one, metric, other)) for other in columns] for one in rows], dtype=np.float64
        )
        axis.imshow(np.ma.masked_invalid(values), vmin=0, vmax=1, cmap="cividis", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                color = "white" if value < 0.6 else "black"
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", size=6, color=color)
        axis.set_title(title)
        axis.set_xlabel("… to the nearest of")
        axis.set_xticks(range(len(columns)), [wrapped(each.name) for each in columns], rotation=90, size=7)
        axis.grid(visible=False)
    axes[0].set_ylabel("from the latents of …")
    axes[0].set_yticks(range(len(rows)), [wrapped(each.name) for each in rows], size=7)
    cut = f" {count - len(rows)} further stand in the tables." if count > len(rows) else ""
    return api.Drawing(
        figure_of(axes[0]),
        f"Mean over the latents of the row of the largest cosine with a latent of the column, of "
        f"{plural(len(rows), 'SAE')}, and what of it is beyond that of as many random directions. Empty: not "
        f"compared.{cut}",
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
