"""FVU over L0: the SAEs of a family as points, baselines as lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    BASELINE_LINES,
    Point,
    figure_of,
    l0_axis,
    new_figure,
    numbers,
    plain_log,
    plural,
    point,
    size_text,
    whisker,
    why_undefined,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^DvPX"
ROOM = 2.0
"""The horizontal axis goes so many times beyond the L0s of the family."""


@dataclass(frozen=True)
class Spot:
    """One SAE."""

    l0: float
    fvu: Point


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture per family."""
    families = results.of("fvu_l0_curve")
    drawn = [(family, spots) for family in families if (spots := _spots(family))]
    if not drawn:
        raise api.NothingToDraw(why_undefined(families, "fvu", "area.pca"))
    for family, spots in drawn:
        yield _picture(family, spots)


def _spots(family: api.Measured) -> dict[tuple[str, int], list[Spot]]:
    """SAEs that have a place on logarithmic axes, by architecture and width, of ascending L0."""
    members = family.tables.get("members", {})
    found = defaultdict(list)
    columns = (members.get(key, []) for key in ("names", "architectures", "widths", "l0s"))
    for name, architecture, width, l0 in zip(*columns, strict=True):
        fvu = point(family, f"fvu[{name}]")
        if fvu is not None and fvu.value > 0 and l0 > 0:
            found[str(architecture), int(width)].append(Spot(float(l0), fvu))
    return {key: sorted(found[key], key=lambda spot: spot.l0) for key in sorted(found)}


def _picture(family: api.Measured, groups: dict[tuple[str, int], list[Spot]]) -> api.Drawing:
    axis = new_figure(5.6, 3.8).subplots()
    spots = [spot for group in groups.values() for spot in group]
    low, high = min(spot.l0 for spot in spots) / ROOM, max(spot.l0 for spot in spots) * ROOM
    for name, curve in family.curves.items():
        _baseline(axis, name, curve)
    _members(axis, groups)
    l0_axis(axis, low, high)
    axis.set_ylabel("FVU ↓")
    axis.set_ylim(min(spot.fvu.value for spot in spots) / 1.4, 1.3)
    plain_log(axis, "y")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5)
    return api.Drawing(
        figure_of(axis),
        f"FVU over L0 of {plural(len(spots), 'SAE')}, those of one architecture and width joined, and of "
        f"baselines fitted on the same training rows and measured on the same held-out rows at every L0. "
        f"Below a line: better than that baseline at the same L0. Both axes are logarithmic. "
        f"Vertical lines: 95% intervals.{_areas(family)}",
    )


def _baseline(axis: Axes, name: str, curve: dict[str, list[float]]) -> None:
    style = BASELINE_LINES.get(name, BASELINE_LINES["pca"])
    axis.plot(
        numbers(curve["x"]), [y if y > 0 else float("nan") for y in numbers(curve["y"])],
        label=wrapped(name), linewidth=1.3, zorder=2, **style,
    )  # fmt: skip


def _members(axis: Axes, groups: dict[tuple[str, int], list[Spot]]) -> None:
    """A colour for every width, from dark to light, and a marker for every architecture."""
    from matplotlib import colormaps

    widths = sorted({width for _, width in groups})
    architectures = list(dict.fromkeys(architecture for architecture, _ in groups))
    for (architecture, width), spots in groups.items():
        color = colormaps["viridis"](0.9 * widths.index(width) / max(1, len(widths) - 1))
        marker = MARKERS[architectures.index(architecture) % len(MARKERS)]
        label = wrapped(f"{architecture} {size_text(width)}")
        x, y = [spot.l0 for spot in spots], [spot.fvu.value for spot in spots]
        axis.plot(x, y, marker=marker, color=color, markersize=5, label=label, zorder=4)
        for spot in spots:
            whisker(axis, spot.fvu, spot.l0, upright=True)


def _areas(family: api.Measured) -> str:
    found = [(name, point(family, f"area.{name}")) for name in family.curves]
    said = [
        f"{name} {area.value:.3g} [{area.low:.3g}, {area.high:.3g}]"
        for name, area in found
        if area is not None and area.low is not None and area.high is not None
    ]
    return f" Mean FVU above the family's frontier, over log L0: {', '.join(said)}." if said else ""
