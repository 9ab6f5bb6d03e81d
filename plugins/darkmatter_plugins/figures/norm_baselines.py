"""What predicts the size of the error: the activation, the token, the loss, or simpler things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    HATCH,
    PARTS,
    SKY,
    Point,
    need_some,
    new_figure,
    plural,
    point,
    say_undefined,
    whisker,
    without_controls,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REGRESSORS = {
    "r2.activations": "activation x",
    "r2.norm": "|x|",
    "r2.norm_squared": "|x|²",
    "r2.token": "token id",
    "authors.r2.token": "token id, in sample\n(as the authors)",
    "r2.loss": "loss of the model",
    "r2.l0": "active latents",
    "r2.position": "position",
    "r2.position_means": "position, one mean each",
}


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture: a bar per predictor over all SAEs."""
    saes = without_controls(results.of("error_norm_baselines"))
    need_some(saes, list(REGRESSORS))
    points = {metric: [point(each, metric) for each in saes] for metric in REGRESSORS}
    figure = new_figure(5.2, 3.7)
    axis = figure.subplots()
    lowest = 0.0
    for row, (metric, found) in enumerate(points.items()):
        known = [each for each in found if each is not None]
        _row(axis, row, known, metric)
        lowest = min([lowest, *(each.value for each in known)])
    axis.set_yticks(range(len(REGRESSORS)), list(REGRESSORS.values()))
    axis.set_ylim(len(REGRESSORS) - 0.5, -0.5)
    axis.set_xlim(max(lowest * 1.1, -0.25), 1.0)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("R² of |e|² on held-out tokens")
    bar = "their mean" if len(saes) > 1 else "the same value"
    yield api.Drawing(
        figure,
        f"How well each of these predicts the size of the error, for {plural(len(saes), 'SAE')}: points with "
        f"95% intervals over held-out text, bars {bar}. Hatched: token means over all rows, the predicted "
        f"one among them, for comparison.",
    )


def _row(axis: Axes, row: int, known: list[Point], metric: str) -> None:
    if not known:
        say_undefined(axis, row)
        return
    in_sample = metric.startswith("authors.")
    color = PARTS["linear"] if metric == "r2.activations" else SKY
    axis.barh(
        [row],
        [sum(each.value for each in known) / len(known)],
        height=0.74,
        color="white" if in_sample else color,
        edgecolor=SKY if in_sample else "white",
        hatch=HATCH if in_sample else None,
        alpha=0.75,
    )
    for index, each in enumerate(known):
        place = row + (0.56 * index / (len(known) - 1) - 0.28 if len(known) > 1 else 0.0)
        axis.plot([each.value], [place], "o", color="#202020", markersize=2.4, zorder=5)
        whisker(axis, each, place)
