"""How often latents fire: a histogram of log firing rates for every SAE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    PARTS,
    RAISED,
    figure_of,
    pages,
    panels,
    plural,
    without_controls,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE = "log10_rate"


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One panel per SAE."""
    measured = without_controls(results.of("density"))
    saes = [each for each in measured if sum(each.curves.get(CURVE, {}).get("latents", [])) > 0]
    if not saes:
        message = "no latent of any SAE fires on the held-out rows"
        raise api.NothingToDraw(message)
    for part, page in pages(saes, 12):
        yield _picture(page, part)


def _picture(saes: Sequence[api.Measured], file_part: str) -> api.Drawing:
    columns = min(3, len(saes))
    size = (3.8, 2.8) if columns == 1 else (2.4, 1.9)
    axes = panels(len(saes), columns=columns, size=size, share_x=True, share_y=True)
    for axis, each in zip(axes, saes, strict=True):
        _panel(axis, each)
    for axis in axes[-columns:]:
        axis.set_xlabel("firing rate (per token)")
    for axis in axes[::columns]:
        axis.set_ylabel("share of latents")
    return api.Drawing(
        figure_of(axes[0]),
        f"Firing rates of the latents of {plural(len(saes), 'SAE')} over held-out tokens, as shares of all "
        f"latents; those that never fire are counted in the corner.",
        file_part,
    )


def _panel(axis: Axes, each: api.Measured) -> None:
    edges, counts = each.curves[CURVE]["edges"], each.curves[CURVE]["latents"]
    dead = each.value("dead") or 0.0
    every = sum(counts) + dead
    axis.stairs([count / every for count in counts], edges, fill=True, color=PARTS["linear"], alpha=0.85)
    decades = range(-int(edges[-1]), -int(edges[0]) + 1)
    shown = [-decade for decade in decades[:: 2 if len(decades) > 4 else 1]]
    axis.set_xticks(shown, [f"10{str(tick).translate(RAISED)}" if tick else "1" for tick in shown])
    axis.set_title(wrapped(each.name, 26), size=8.5)
    text = f"{dead:.0f} of {every:.0f}\nnever fire"
    axis.text(0.03, 0.95, text, transform=axis.transAxes, va="top", size=7.5)
