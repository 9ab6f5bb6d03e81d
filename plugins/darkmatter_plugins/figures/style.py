"""What the figures have in common: colours, names that fit, intervals, and how SAEs are laid out."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from darkmatter import api

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTS = {"error": "#4d4d4d", "linear": "#0072b2", "nonlinear": "#d55e00"}
"""Colours of the error and its parts in every figure (Okabe and Ito: told apart by colour-blind readers)."""
NAMES = {"error": "error e", "linear": "linear error L", "nonlinear": "nonlinear error N"}
SKY, GREEN, GREY, LIGHT = "#56b4e9", "#009e73", "#8c8c8c", "#c8c8c8"

BASELINE_LINES: dict[str, dict[str, Any]] = {
    "pca": {"color": "#202020", "linestyle": "-"},
    "pca_topk": {"color": "#d55e00", "linestyle": "-"},
    "random": {"color": GREY, "linestyle": "-"},
    "mean": {"color": "#e69f00", "linestyle": "-"},
    "identity": {"color": "#cc79a7", "linestyle": "--"},
    "identity_relu": {"color": "#cc79a7", "linestyle": ":"},
    "ica": {"color": GREEN, "linestyle": "-."},
}
"""How baselines are told apart, by name."""

RAISED = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")
"""Exponents without formulas, which are switched off because names may hold their signs."""

HATCH = "////"
"""Controls are hatched."""

INTERVALS = "Lines: 95% intervals."

PER_PANEL = 20
"""SAEs in one panel at most; more go to further pictures."""

_T = TypeVar("_T")


# -- words ------------------------------------------------------------------------------------------


def wrapped(name: str, width: int = 22, lines: int = 3) -> str:
    """A name from a file on a few short lines, cut where it is very long."""
    # Breaks only after what joins the parts of names.
    parts = re.sub(r"([-_./:=,@→])", "\\1\x00", api.printable(name)).split("\x00")
    found = [""]
    for part in (piece for long in parts for piece in textwrap.wrap(long, width) or [""]):
        if found[-1] and len(found[-1]) + len(part) > width:
            found.append("")
        found[-1] += part
    if len(found) > lines:
        found = [*found[: lines - 1], f"…{found[-1]}"[-width:]]
    return "\n".join(found)


def size_text(count: float) -> str:
    """A width as the field writes it: 512, 16k, 1M."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if count >= 10 * unit or (count >= unit and count % unit == 0 and count >= 10_000):
            return f"{count / unit:.3g}{letter}"
    return f"{count:.0f}"


def plural(count: int, what: str) -> str:
    """So many things."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


# -- values -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A value with its interval, which may be missing."""

    value: float
    low: float | None = None
    high: float | None = None


def point(measured: api.Measured, metric: str) -> Point | None:
    """A metric as a point; None where it is undefined or not there."""
    found = measured.metrics.get(metric)
    if found is None or found.value is None:
        return None
    return Point(found.value, found.ci_low, found.ci_high)


def why_undefined(measured: Iterable[api.Measured], *metrics: str) -> str:
    """The first reason why a metric is undefined."""
    for each in measured:
        for name in metrics:
            found = each.metrics.get(name)
            if found is not None and found.reason:
                return f"{name} is undefined: {found.reason}"
    return f"no result has {' or '.join(metrics)}"


def need_some(measured: Sequence[api.Measured], metrics: Sequence[str]) -> None:
    """Raise NothingToDraw, with a reason, where none of the metrics is defined anywhere."""
    if all(each.value(metric) is None for each in measured for metric in metrics):
        raise api.NothingToDraw(why_undefined(measured, *metrics))


def numbers(values: Sequence[float | None]) -> list[float]:
    """For drawing: NaN, which is left out, where there is no value."""
    return [float("nan") if value is None else float(value) for value in values]


def without_controls(measured: Sequence[api.Measured]) -> list[api.Measured]:
    """The SAEs proper; all where there is nothing else."""
    return [each for each in measured if not each.is_control] or list(measured)


def pages(items: Sequence[_T], most: int = PER_PANEL) -> Iterator[tuple[str, Sequence[_T]]]:
    """As few parts of about equal length as fit, each with what its file is called ("" for the only one)."""
    count = -(-len(items) // most)
    for page in range(count):
        start, stop = len(items) * page // count, len(items) * (page + 1) // count
        yield (f"part{page + 1}" if count > 1 else ""), items[start:stop]


# -- pictures ---------------------------------------------------------------------------------------


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches); pyplot, which keeps global state, is not used."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(
    count: int, *, columns: int, size: tuple[float, float], share_x: bool = False, share_y: bool = False
) -> list[Axes]:
    """So many axes of about this size on a grid; the last row may be short."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(columns * size[0], rows * size[1])
    axes: list[Axes] = []
    grid = figure.subplots(rows, columns, squeeze=False, sharex=share_x, sharey=share_y)
    axes.extend(grid.flatten())
    for axis in axes[count:]:
        axis.set_axis_off()
    if share_x:
        for axis in axes[max(0, count - columns) : count]:
            axis.tick_params(labelbottom=True)
    return axes[:count]


def figure_of(axis: Axes) -> Figure:
    """The figure that axes stand in."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    return figure


def name_rows(axes: Sequence[Axes], names: Sequence[str], controls: Sequence[bool] = ()) -> None:
    """Names along the vertical axis that these panels share, the first on top; controls in grey italics."""
    axes[0].set_yticks(range(len(names)), [wrapped(name) for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    for axis in axes:
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", length=0, labelsize=8.5)
    for label, control in zip(axes[0].get_yticklabels(), controls, strict=False):
        label.set_fontstyle("italic" if control else "normal")
        label.set_color(GREY if control else "#202020")


def row_height(names: Sequence[str], least: float = 0.34) -> float:
    """Inches for rows with these names, so that the lines of none touch the next."""
    lines = max((wrapped(name).count("\n") + 1 for name in names), default=1)
    return len(names) * max(least, 0.155 * lines + 0.08)


def bars(
    axis: Axes,
    places: Sequence[float],
    points: Sequence[Point | None],
    *,
    color: str,
    label: str | None = None,
    height: float = 0.8,
    control: bool = False,
) -> None:
    """Horizontal bars with intervals; what is undefined says so instead of a bar."""
    drawn = [(place, found) for place, found in zip(places, points, strict=True) if found is not None]
    fill = "white" if control else color
    axis.barh(
        [place for place, _ in drawn],
        [each.value for _, each in drawn],
        height=height,
        color=fill,
        edgecolor=color if control else "white",
        hatch=HATCH if control else None,
        linewidth=0.6,
        label=label if drawn else None,
    )
    for place, found in drawn:
        whisker(axis, found, place)
    for place, each in zip(places, points, strict=True):
        if each is None:
            say_undefined(axis, place)


def say_undefined(axis: Axes, place: float) -> None:
    """The word where a bar would begin."""
    axis.annotate(
        "undefined", (0, place), (3, 0), textcoords="offset points", va="center", size=7, color=GREY
    )


def whisker(axis: Axes, each: Point, place: float, *, upright: bool = False, color: str = "#202020") -> None:
    """The interval of a value, along the axis of values."""
    if each.low is None or each.high is None:
        return
    ends, places = [each.low, each.high], [place, place]
    axis.plot(*((places, ends) if upright else (ends, places)), color=color, linewidth=1.1, zorder=5)


def within(axis: Axes, points: Iterable[Point | None], *, low: float, high: float) -> None:
    """Limits of the horizontal axis of bars: 0, the points and their intervals, but nothing beyond low, high.

    So one bad SAE does not hide the others; a bar that reaches further ends at the edge and says its value.
    """
    from matplotlib.patches import Rectangle

    ends = [end for each in points if each is not None for end in (each.value, each.low, each.high)]
    known = [0.0, *(end for end in ends if end is not None)]
    margin = 0.04 * (max(known) - min(known)) or 1.0
    left = max(low, min(known) - margin) if min(known) < 0 else 0.0
    right = min(high, max(known) + margin)
    axis.set_xlim(left, right)
    for bar in axis.patches:
        assert isinstance(bar, Rectangle)
        width, middle = bar.get_width(), bar.get_y() + bar.get_height() / 2
        if left <= width <= right:
            continue
        edge, shift, side = (left, 2, "left") if width < left else (right, -2, "right")
        axis.annotate(
            f"{width:.3g}",
            (edge, middle),
            (shift, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            size=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
            zorder=6,
        )


def width_axis(axis: Axes, widths: Sequence[float]) -> None:
    """A logarithmic axis of widths with a tick at every width that is there."""
    from matplotlib.ticker import NullLocator

    ticks = sorted(set(widths))
    axis.set_xscale("log", base=2)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_ticks(ticks, labels=[size_text(tick) for tick in ticks])
    axis.set_xlabel("width (latents)")


def l0_axis(axis: Axes, low: float, high: float) -> None:
    """A logarithmic axis of L0 with ticks at powers of two."""
    from matplotlib.ticker import NullLocator

    axis.set_xscale("log", base=2)
    axis.set_xlim(low, high)
    ticks = [2**power for power in range(24) if low <= 2**power <= high]
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_ticks(ticks, labels=[size_text(tick) for tick in ticks])
    axis.set_xlabel("L0 (active latents per token)")


def plain_log(axis: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis with numbers such as 0.2, at 1, 2 and 5 of every decade where few are in sight."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axis.set_xscale if which == "x" else axis.set_yscale)("log")
    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    of = axis.xaxis if which == "x" else axis.yaxis
    of.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)))
    of.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    of.set_minor_formatter(NullFormatter())


def few_ticks(axis: Axes) -> None:
    """At most five numbers below a narrow panel."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(4))


def key_above(axes: Sequence[Axes], columns: int) -> None:
    """One legend above all panels, of what the first panel shows."""
    handles, labels = axes[0].get_legend_handles_labels()
    figure_of(axes[0]).legend(handles, labels, loc="outside upper center", ncols=columns, handlelength=1.4)
