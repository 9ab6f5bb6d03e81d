"""FVU and nonlinear FVU over width and L0, interpolated between the SAEs that are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from darkmatter import api
from darkmatter_plugins.figures.style import figure_of, panels, plural, size_text, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.tri import Triangulation

LEAST = 5
"""Places at fewer than these make no map."""

SAME = 0.05
"""L0s that differ by less, relative, are one place of the map."""


APART = 1.3
"""A map spans at least this ratio in width and in L0."""


@dataclass(frozen=True)
class Spot:
    """One SAE on the map."""

    name: str
    width: int
    l0: float
    values: tuple[float, float]
    """FVU and nonlinear FVU."""


@dataclass(frozen=True)
class Place:
    """SAEs of one width and about one L0 (seeds, architectures) share a place."""

    spots: Sequence[Spot]

    @property
    def at(self) -> tuple[float, float]:
        """Logarithms of L0 (base 10) and width (base 2)."""
        return float(np.mean([np.log10(spot.l0) for spot in self.spots])), float(np.log2(self.spots[0].width))

    def value(self, which: int) -> float:
        """The mean of FVU (0) or nonlinear FVU (1)."""
        return float(np.mean([spot.values[which] for spot in self.spots]))

    def label(self, which: int, *, named: bool) -> str:
        """The value, or from where to where several range."""
        found = [spot.values[which] for spot in self.spots]
        text = f"{found[0]:.3g}" if len(found) == 1 else f"{min(found):.3g} to {max(found):.3g}"
        names = "\n".join(wrapped(spot.name, 16, 2) for spot in self.spots[:2])
        return f"{names}\n{text}" if named else text


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture with both maps on one scale of colours."""
    spots = _spots(results)
    if len(spots) < 2:
        message = "needs two or more SAEs with a width, an L0, fvu and fvu_nonlinear"
        raise api.NothingToDraw(message)
    places = _places(spots)
    triangles = _triangles([place.at for place in places])
    every = [value for spot in spots for value in spot.values]
    scale = (min(every), max(every) if max(every) > min(every) else min(every) + 1.0)
    axes = panels(2, columns=2, size=(3.7, 3.2), share_y=True)
    for which, (axis, title) in enumerate(zip(axes, ("FVU ↓", "nonlinear FVU ↓"), strict=True)):
        _map(axis, spots, places, which, scale, triangles)
        axis.set_title(title)
        axis.set_xlabel("L0 (latents per token)")
    axes[0].set_ylabel("width (latents)")
    figure = figure_of(axes[0])
    figure.colorbar(axes[0].collections[0], ax=axes, label="share of variance", shrink=0.9, format="%.3g")
    how = (
        "Colours between the points are interpolated, linearly in the logarithms of width and L0."
        if triangles is not None
        else "Too few SAEs, or all on one line: nothing is interpolated."
    )
    yield api.Drawing(
        figure,
        f"FVU, and what stays of it when the linear error is added back, of {plural(len(spots), 'SAE')} "
        f"(points; numbers are values, of SAEs of the same width and L0 the least and the largest). {how} "
        f"Intervals stand in the tables.",
    )


def _spots(results: api.FigureResults) -> list[Spot]:
    decomposed = results.by_name("error_decomposition")
    found = []
    for each in results.of("reconstruction"):
        other = decomposed.get(each.name)
        if each.is_control or other is None or not each.width or not each.l0:
            continue
        fvu, nonlinear = each.value("fvu"), other.value("fvu_nonlinear")
        if fvu is not None and nonlinear is not None:
            found.append(Spot(each.name, each.width, each.l0, (fvu, nonlinear)))
    return found


def _places(spots: Sequence[Spot]) -> list[Place]:
    """SAEs by place: a chain of L0s, each near the one before, is one."""
    found: list[Place] = []
    ordered = sorted(spots, key=lambda spot: (spot.width, spot.l0))
    for _, same_width in groupby(ordered, key=lambda spot: spot.width):
        chain: list[Spot] = []
        for spot in same_width:
            if chain and spot.l0 > chain[-1].l0 * (1 + SAME):
                found.append(Place(chain))
                chain = []
            chain.append(spot)
        found.append(Place(chain))
    return found


def _triangles(where: Sequence[tuple[float, float]]) -> Triangulation | None:
    """Triangles between places; None where there are too few or all lie on one line."""
    from matplotlib.tri import Triangulation

    at = np.array(where)
    extent = np.ptp(at, axis=0)
    if len(at) < LEAST or (extent < (np.log10(APART), np.log2(APART))).any():
        return None
    scaled = (at - at.mean(axis=0)) / extent
    if np.linalg.svd(scaled, compute_uv=False)[1] < 0.1:
        return None
    # Delaunay's triangles depend on the units of the axes: those of the picture are taken.
    return Triangulation(at[:, 0], at[:, 1], Triangulation(scaled[:, 0], scaled[:, 1]).triangles)


def _map(
    axis: Axes,
    spots: Sequence[Spot],
    places: Sequence[Place],
    which: int,
    scale: tuple[float, float],
    triangles: Triangulation | None,
) -> None:
    """Points, colours between them and values, in logarithmic coordinates."""
    from matplotlib.patheffects import withStroke

    x, y = np.log10([spot.l0 for spot in spots]), np.log2([spot.width for spot in spots])
    low, high = scale
    axis.scatter(
        x,
        y,
        c=[spot.values[which] for spot in spots],
        s=36,
        edgecolors="white",
        linewidths=0.9,
        zorder=3,
        cmap="cividis",
        vmin=low,
        vmax=high,
    )
    if triangles is not None:
        heights = [place.value(which) for place in places]
        levels = np.linspace(low, high, 13)
        axis.tricontourf(triangles, heights, levels=levels, cmap="cividis", alpha=0.85, zorder=1)
    for place in places:
        axis.annotate(
            place.label(which, named=triangles is None),
            place.at,
            (0, 6),
            textcoords="offset points",
            ha="center",
            size=7,
            zorder=4,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
    axis.use_sticky_edges = False
    axis.margins(0.2 if triangles is None else 0.14)
    if np.ptp(x) < np.log10(APART):
        axis.set_xlim(x.mean() - np.log10(2), x.mean() + np.log10(2))
    axis.set_xticks(*_ticks([10 ** place.at[0] for place in places], np.log10))
    axis.set_yticks(*_ticks([spot.width for spot in spots], np.log2))


def _ticks(values: Sequence[float], log: np.ufunc) -> tuple[list[float], list[str]]:
    """Places and labels of values that lie at least a sixth apart."""
    kept: list[float] = []
    for value in sorted(values):
        if not kept or value > kept[-1] * 7 / 6:
            kept.append(value)
    labels = [size_text(value) if value >= 100 else f"{value:.3g}" for value in kept]
    return [float(log(value)) for value in kept], labels
