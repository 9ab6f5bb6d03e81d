"""Figures as the plotting library's JSON, from the results of one section."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from darkmatter import api

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#e69f00", "#009e73", "#8c8c8c"
"""Colours that stay apart for colour-blind readers, on light and on dark."""

LEAST = 1e-9
"""Less is what rounding leaves of 0, which has no place on a logarithmic axis."""
FEW_DECADES = 5
"""An axis over at most so many has ticks at 2 and 5, too."""

LONG = 26
"""Characters of a name beside an axis; the pointer shows all of it."""


@dataclass(frozen=True)
class Chart:
    """One figure: ``figure`` has the library's ``data`` and ``layout``."""

    title: str
    caption: str
    figure: Mapping[str, Any]


@dataclass(frozen=True)
class _Point:
    """One SAE in a figure."""

    name: str
    is_control: bool
    width: int
    l0: float | None
    metrics: Mapping[str, api.MetricValue]

    def value(self, name: str) -> float | None:
        """``evaluator: metric``, None where it has no value."""
        metric = self.metrics.get(name)
        return None if metric is None else metric.value


def charts(section: api.Section) -> Iterator[Chart]:
    """Every figure for which the section has the numbers, one for each configuration of what it shows."""
    order = list(dict.fromkeys(row.name for block in section.blocks for row in block.rows))
    single = [entry for entry in section.results if not entry[1].sae.members]
    for evaluators, draw in FIGURES:
        for each in api.configurations(single, evaluators):
            for chart in draw(_points(order, each.results)):
                yield replace(chart, title=f"{chart.title}: {each.options}") if each.options else chart


def _points(order: Sequence[str], results: Sequence[tuple[str, api.Result]]) -> list[_Point]:
    """SAEs in the order of the rows, with the metrics of one configuration."""
    by_name: dict[str, list[api.Result]] = {name: [] for name in order}
    for name, result in results:
        if name in by_name:
            by_name[name].append(result)
    points = []
    for name, found in by_name.items():
        metrics = {
            f"{result.evaluator.name}: {metric.name}": metric for result in found for metric in result.metrics
        }
        if found:
            sae = found[0].sae
            l0 = metrics.get("reconstruction: l0")
            points.append(_Point(name, sae.is_control, sae.d_sae, l0.value if l0 else sae.l0, metrics))
    return points


# -- the figures --------------------------------------------------------------------------------------


def _frontier(points: Sequence[_Point], metric: str, name: str) -> Iterator[Chart]:
    """Error over L0 with the line of SAEs that no other beats in both."""
    from darkmatter.stats import dominated  # here: it loads torch, which an import of the page does not need

    known = [point for point in points if point.value(metric) is not None and point.l0 is not None]
    every = _saes(known)
    behind = dominated([point.l0 or 0.0 for point in every], [_of(point, metric) for point in every])
    front = [point for point, better in zip(every, behind, strict=True) if better is None]
    # What is 0 has no place on a logarithmic axis, but dominates all the same.
    shown = [point for point in known if (point.value(metric) or 0) > LEAST and (point.l0 or 0) > 0]
    saes, best = _saes(shown), [point for point in front if point in shown]
    if len(saes) < 2:
        return
    best.sort(key=lambda point: (point.l0, point.value(metric)))
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "frontier",
            "x": [point.l0 for point in best],
            "y": [point.value(metric) for point in best],
            "line": {"shape": "hv", "color": BLUE, "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
        },
        _scatter("SAEs", saes, metric, BLUE),
    ]
    controls = [point for point in shown if point.is_control]
    if controls:
        data.append({**_scatter("controls", controls, metric, GREY, "x"), "meta": "control"})
    yield Chart(
        f"{name} over L0",
        f"{name} ↓ against active latents per token; both axes are logarithmic, bars are 95% intervals. The "
        "dotted line joins SAEs that no other dominates, by their values alone: neighbours may tie. "
        "What has no value, or 0, cannot be drawn here.",
        {"data": data, "layout": _log_layout(data, f"{name} ↓", "L0 (latents per token)")},
    )


def _widths(points: Sequence[_Point]) -> Iterator[Chart]:
    saes = _saes(points)
    parts = (
        ("FVU", "reconstruction: fvu", BLUE, "circle"),
        ("nonlinear", "error_decomposition: fvu_nonlinear", ORANGE, "square"),
        ("linear", "error_decomposition: fvu_linear", GREEN, "diamond"),
    )
    data = []
    for name, metric, colour, symbol in parts:
        shown = [point for point in saes if (point.value(metric) or 0) > LEAST and point.width > 0]
        if shown:
            data.append(_scatter(name, shown, metric, colour, symbol, across="width"))
    if data and len({point.width for point in saes}) > 1:
        yield Chart(
            "FVU over width",
            "FVU and its linear and nonlinear parts against the number of latents; both axes are "
            "logarithmic, bars are 95% intervals. SAEs of one width may differ in L0: the pointer says it.",
            {"data": data, "layout": _log_layout(data, "share of variance ↓", "width (latents)")},
        )


def _anatomy(points: Sequence[_Point]) -> Iterator[Chart]:
    linear, nonlinear = "error_decomposition: fvu_linear", "error_decomposition: fvu_nonlinear"
    encoder = "gradient_pursuit: encoder_error"
    shown = [
        point
        for point in _saes(points)
        if point.value(linear) is not None and point.value(nonlinear) is not None
    ]
    if not shown:
        return
    data: list[dict[str, Any]] = [
        _bars("linear", shown, linear, GREEN),
        _bars("nonlinear", shown, nonlinear, ORANGE),
    ]
    pursued = [(row, point) for row, point in enumerate(shown) if point.value(encoder) is not None]
    if pursued:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "encoder",
                "x": [point.value(encoder) for _, point in pursued],
                "y": [row for row, _ in pursued],
                "error_x": _errors([point for _, point in pursued], encoder),
                "text": [_hover(point, encoder) for _, point in pursued],
                "hoverinfo": "text",
                "marker": {"symbol": "diamond", "size": 9, "color": BLUE},
            }
        )
    ending = (
        " Diamonds: the nonlinear error that better codes of the same L0 avoid (gradient pursuit, on a "
        "sample of the rows): the encoder's part."
        if pursued
        else ""
    )
    layout = _bar_layout(shown, "FVU, as its parts")
    yield Chart(
        "Anatomy of the error",
        "FVU split into the part that a linear map of the activation predicts and the rest, the dark "
        f"matter.{ending} Controls stand in the tables.",
        {"data": data, "layout": {**layout, "barmode": "relative"}},
    )


def _ce_shares(points: Sequence[_Point]) -> Iterator[Chart]:
    linear, nonlinear = "ce_attribution: share.ce.linear", "ce_attribution: share.ce.nonlinear"
    shown = [
        point
        for point in _saes(points)
        if point.value(linear) is not None or point.value(nonlinear) is not None
    ]
    if not shown:
        return
    data = [
        {**_bars(name, shown, metric, colour), "error_x": _errors(shown, metric)}
        for name, metric, colour in (("linear", linear, GREEN), ("nonlinear", nonlinear, ORANGE))
    ]
    layout = _bar_layout(shown, "% of the CE increase")
    yield Chart(
        "Shares of the cross-entropy increase",
        "Share of the increase in the model's loss that goes when the linear or the nonlinear error is added "
        "back to the reconstruction; bars are 95% intervals. SAEs without a value are left out.",
        {"data": data, "layout": {**layout, "barmode": "group"}},
    )


FIGURES: tuple[tuple[tuple[str, ...], Callable[[Sequence[_Point]], Iterator[Chart]]], ...] = (
    (("reconstruction",), partial(_frontier, metric="reconstruction: fvu", name="FVU")),
    (
        ("error_decomposition", "reconstruction"),
        partial(_frontier, metric="error_decomposition: fvu_nonlinear", name="nonlinear FVU"),
    ),
    (("reconstruction", "error_decomposition"), _widths),
    (("error_decomposition", "gradient_pursuit", "reconstruction"), _anatomy),
    (("ce_attribution", "reconstruction"), _ce_shares),
)
"""The figures and the evaluators whose numbers they show; ``reconstruction`` has the L0 of all."""


def _saes(points: Sequence[_Point]) -> list[_Point]:
    return [point for point in points if not point.is_control]


# -- their parts --------------------------------------------------------------------------------------


def _scatter(
    name: str, points: Sequence[_Point], metric: str, colour: str, symbol: str = "circle", across: str = "l0"
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [point.l0 if across == "l0" else point.width for point in points],
        "y": [point.value(metric) for point in points],
        "error_y": _errors(points, metric),
        "text": [_hover(point, metric) for point in points],
        "hoverinfo": "text",
        "marker": {"symbol": symbol, "size": 9, "color": colour},
    }


def _bars(name: str, points: Sequence[_Point], metric: str, colour: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [point.value(metric) for point in points],
        "y": list(range(len(points))),
        "text": [_hover(point, metric) for point in points],
        "textposition": "none",
        "hoverinfo": "text",
        "marker": {"color": colour},
    }


def _errors(points: Sequence[_Point], metric: str) -> dict[str, Any]:
    """Distances from the value to the ends of its interval; 0 where there is none."""
    above, below = [], []
    for point in points:
        found = point.metrics.get(metric)
        known = found is not None and None not in (found.value, found.ci_low, found.ci_high)
        above.append(found.ci_high - found.value if known else 0.0)  # type: ignore[operator, union-attr]
        below.append(found.value - found.ci_low if known else 0.0)  # type: ignore[operator, union-attr]
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "thickness": 1,
        "width": 2,
        "color": GREY,
    }


def _hover(point: _Point, metric: str) -> str:
    """What the pointer shows; the library reads simple markup, so names are escaped."""
    found = point.metrics[metric]
    if found.value is None:
        return ""
    shown = api.format_value(found.value, found.ci_low, found.ci_high)
    l0 = "" if point.l0 is None else f", L0 {api.format_value(point.l0)}"
    return f"{_text(point.name)}<br>{_text(metric)} {shown}<br>width {point.width}{l0}"


def _text(name: str) -> str:
    return html.escape(api.printable(name), quote=False)


def _short(name: str) -> str:
    shown = api.printable(name)
    return _text(shown if len(shown) <= LONG else f"{shown[: LONG - 1]}…")


def _log_layout(data: Sequence[Mapping[str, Any]], y: str, x: str) -> dict[str, Any]:
    layout = _layout()
    for axis, title in (("x", x), ("y", y)):
        ticks = _ticks([value for trace in data for value in trace[axis]])
        layout[f"{axis}axis"] = {
            "title": {"text": title},
            "type": "log",
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
        }
    return layout


def _ticks(values: Sequence[float]) -> list[float]:
    """1, 2, 5 of every decade about the values; of many decades 1 alone."""
    low, high = math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values))) + 1
    steps = (1, 2, 5) if high - low <= FEW_DECADES else (1,)
    return [float(f"{step}e{power}") for power in range(low, high + 1) for step in steps]


def _layout() -> dict[str, Any]:
    return {
        "height": 380,
        "margin": {"l": 64, "r": 16, "t": 36, "b": 52},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
        "dragmode": False,
    }


def _bar_layout(points: Sequence[_Point], x: str) -> dict[str, Any]:
    layout = _layout()
    layout["height"] = 170 + 26 * len(points)
    layout["xaxis"] = {"title": {"text": x}}
    layout["yaxis"] = {
        "tickvals": list(range(len(points))),
        "ticktext": [_short(point.name) for point in points],
        "range": [len(points) - 0.5, -0.5],
        "automargin": True,
        "zeroline": False,
    }
    return layout


def _of(point: _Point, metric: str) -> float:
    value = point.value(metric)
    assert value is not None
    return value
