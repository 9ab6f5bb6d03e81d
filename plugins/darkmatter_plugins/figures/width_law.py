"""FVU over the width: the members of a family, the power law through them, and what it forecasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREY,
    PARTS,
    RAISED,
    Point,
    new_figure,
    numbers,
    plural,
    point,
    whisker,
    why_undefined,
    width_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = {"fvu": ("FVU", "error", "o"), "fvu_nonlinear": ("nonlinear FVU", "nonlinear", "s")}


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture per family."""
    families = results.of("width_scaling_law")
    if not any("law" in family.curves for family in families):
        raise api.NothingToDraw(why_undefined(families, "c"))
    for family in families:
        if "law" in family.curves:
            yield _family(family)


def _family(family: api.Measured) -> api.Drawing:
    figure = new_figure(5.0, 3.6)
    axis = figure.subplots()
    law = family.curves["law"]
    axis.plot(law["x"], numbers(law["y"]), color=PARTS["error"], label=_formula(family), zorder=2)
    if "low" in law and "high" in law:
        axis.fill_between(
            law["x"], numbers(law["low"]), numbers(law["high"]), color=PARTS["error"], alpha=0.15
        )
    _floor(axis, family)
    for kind, (label, part, marker) in KINDS.items():
        _members(axis, family.curves[kind], label, PARTS[part], marker)
    widths = [float(x) for x in family.curves["fvu"]["x"]]
    _forecasts(axis, family, widths[-1])
    width_axis(axis, [*widths, 2 * widths[-1]])
    axis.set_ylabel("FVU ↓")
    axis.set_ylim(bottom=0)
    axis.legend(loc="upper right")
    return api.Drawing(
        figure,
        f"FVU and nonlinear FVU of {plural(len(widths), 'SAE')} of one family over their width, and the "
        f"power law c + a W⁻ᵐ fitted to the FVU. Vertical lines and the shaded c: 95% intervals over "
        f"held-out text for these SAEs; those of other training seeds may lie outside. Diamonds: forecast "
        f"for the widest SAE by the law of the others, and for twice its width by the law of all."
        f"{_slope(family)}",
    )


def _formula(family: api.Measured) -> str:
    """The fitted law in numbers."""
    c, a, m = (family.value(name) for name in ("c", "a", "m"))
    if c is None or a is None or m is None:
        return "fitted law"
    return f"{c:.3g} + {a:.3g} W{f'-{m:.2g}'.translate(RAISED)}"


def _slope(family: api.Measured) -> str:
    slope = point(family, "fvu_nonlinear_slope")
    if slope is None or slope.low is None or slope.high is None:
        return ""
    return (
        f" Slope d log FVU_nonlinear / d log W: {slope.value:.3f} [{slope.low:.3f}, {slope.high:.3f}] "
        f"(0: width leaves the nonlinear error alone)."
    )


def _members(axis: Axes, curve: dict[str, Any], label: str, color: str, marker: str) -> None:
    y = numbers(curve["y"])
    # The circle of the FVU lies on top, as the square of the nonlinear FVU is never above it.
    axis.plot(
        curve["x"], y, marker, color=color, markersize=5.5, markeredgecolor="white", markeredgewidth=0.7,
        label=label, zorder=5 if marker == "o" else 4,
    )  # fmt: skip
    for x, value, low, high in zip(curve["x"], y, curve["low"], curve["high"], strict=True):
        whisker(axis, Point(value, low, high), x, upright=True, color=color)


def _floor(axis: Axes, family: api.Measured) -> None:
    """The law's constant, what no width removes."""
    c = point(family, "c")
    if c is None:
        return
    axis.axhline(c.value, color=GREY, linestyle=":", linewidth=1.2, label="c, its floor", zorder=1)
    if c.low is not None and c.high is not None:
        axis.axhspan(c.low, c.high, color=GREY, alpha=0.13, linewidth=0)


def _forecasts(axis: Axes, family: api.Measured, widest: float) -> None:
    label: str | None = "forecast"
    for metric, place in (("forecast.widest", widest), ("forecast.next", 2 * widest)):
        found = point(family, metric)
        if found is None:
            continue
        axis.plot(
            [place], [found.value], "D", color=PARTS["linear"], markerfacecolor="white", markersize=6,
            label=label, zorder=3,
        )  # fmt: skip
        whisker(axis, found, place, upright=True, color=PARTS["linear"])
        label = None
