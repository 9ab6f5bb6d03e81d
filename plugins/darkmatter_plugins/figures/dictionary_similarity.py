"""How much of each dictionary of a family the others have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from darkmatter import api
from darkmatter_plugins.figures.style import figure_of, panels, plural, why_undefined, wrapped

MOST = 16
"""Dictionaries in one picture; further ones stand in the tables."""
MOST_SAES = 12
"""SAEs among them, so that there is room for controls."""
REFERENCE = "random"
"""The control that shows what chance gives comes first."""

Floats = NDArray[np.float64]


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """A heat map of what is beyond chance in the mean largest cosine, with both numbers in every cell."""
    found = results.of("dictionary_similarity")
    known = [each for each in found if not each.is_control]
    if not any(_value(one, "mmcs", other) is not None for one in found for other in known):
        raise api.NothingToDraw(why_undefined(found, "mmcs[others→this]"))
    controls = [each for each in found if each.is_control]
    controls.sort(key=lambda each: not each.name.startswith(REFERENCE))
    columns = known[:MOST_SAES]
    different, same = _different(controls, columns)
    rows = [*columns, *different][:MOST]
    left_out = len(known) + len(different) - len(rows)
    yield _picture(rows, columns, {name: twins for name, twins in same.items() if twins}, left_out)


def _value(one: api.Measured, metric: str, other: api.Measured) -> float | None:
    """What stands in row ``one`` and column ``other``: how much of one's directions the other has."""
    return one.value(f"{metric}[this→{other.name}]")


def _different(
    controls: Sequence[api.Measured], columns: Sequence[api.Measured]
) -> tuple[list[api.Measured], dict[str, list[str]]]:
    """Controls with rows of their own, and by their names those whose directions are the same."""
    first: dict[tuple[float | None, ...], api.Measured] = {}
    same: dict[str, list[str]] = {}
    for each in controls:
        row = tuple(_value(each, "mmcs", other) for other in columns)
        if row == (None,) * len(row):
            continue  # nothing to draw, and nothing to be the same by
        if row in first:
            same[first[row].name].append(each.name)
        else:
            first[row] = each
            same[each.name] = []
    return list(first.values()), same


def _picture(
    rows: Sequence[api.Measured],
    columns: Sequence[api.Measured],
    same: dict[str, list[str]],
    left_out: int,
) -> api.Drawing:
    from matplotlib import colormaps

    (axis,) = panels(1, columns=1, size=(0.5 * len(columns) + 2.4, 0.4 * len(rows) + 1.9))
    whole, excess = (_matrix(rows, columns, metric) for metric in ("mmcs", "mmcs_excess"))
    most = max(0.1, float(np.nanmax(excess)))
    colours = colormaps["Blues"].with_extremes(bad="#eeeeee")
    axis.imshow(np.ma.masked_invalid(excess), vmin=0, vmax=1.25 * most, cmap=colours, aspect="auto")
    for (row, column), value in np.ndenumerate(excess):
        if np.isfinite(value):
            text = f"{whole[row, column]:.2f}\n{round(value, 2) + 0.0:+.2f}"  # no -0.00
            color = "white" if value > 0.75 * most else "#101010"
            axis.text(column, row, text, ha="center", va="center", size=7.5, color=color, linespacing=1.0)
    axis.set_xlabel("… to the nearest of")
    axis.set_xticks(range(len(columns)), [wrapped(each.name) for each in columns], rotation=90, size=8)
    axis.set_ylabel("from the latents of …")
    labels = axis.set_yticks(range(len(rows)), [wrapped(each.name) for each in rows], size=8)
    for tick, each in zip(labels, rows, strict=True):
        tick.label1.set_fontstyle("italic" if each.is_control else "normal")
    axis.grid(visible=False)
    return api.Drawing(
        figure_of(axis),
        f"Mean over the latents of the row of the largest cosine with a latent of the column, of "
        f"{plural(len(rows), 'SAE')} (controls in italics): upper numbers. Lower ones and colour: beyond as "
        f"many random directions. Grey: not compared.{_twins(same)}{_cut(left_out)}",
    )


def _matrix(rows: Sequence[api.Measured], columns: Sequence[api.Measured], metric: str) -> Floats:
    values = [[_value(one, metric, other) for other in columns] for one in rows]
    return np.array([[np.nan if each is None else each for each in row] for row in values], dtype=np.float64)


def _twins(same: dict[str, list[str]]) -> str:
    said = [f"{', '.join(twins)} as {name}" for name, twins in same.items()]
    return f" The same: {'; '.join(said)}." if said else ""


def _cut(left_out: int) -> str:
    return f" In the tables alone: {left_out} more." if left_out else ""
