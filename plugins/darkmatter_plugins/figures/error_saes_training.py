"""Training curves of the SAEs of the error: whether the comparison was made after convergence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    NAMES,
    PARTS,
    figure_of,
    key_above,
    numbers,
    pages,
    panels,
    plural,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One panel per SAE, a line per part and seed."""
    saes = [each for each in results.of("error_saes") if any(_of(each, part) for part in PARTS)]
    if not saes:
        message = "the results of error_saes hold no training curves"
        raise api.NothingToDraw(message)
    for part, page in pages(saes, 9):
        yield _picture(page, part)


def _picture(saes: Sequence[api.Measured], file_part: str) -> api.Drawing:
    columns = min(3, len(saes))
    size = (4.4, 3.0) if columns == 1 else (2.5, 2.1)
    axes = panels(len(saes), columns=columns, size=size, share_x=True, share_y=True)
    for axis, each in zip(axes, saes, strict=True):
        _panel(axis, each)
    for axis in axes[::columns]:
        axis.set_ylabel("FVU of batches ↓")
    for axis in axes[-columns:]:
        axis.set_xlabel("step")
    key_above(axes, columns=3)
    return api.Drawing(
        figure_of(axes[0]),
        f"FVU of the training batches of the SAEs trained on the error of {plural(len(saes), 'SAE')} and on "
        f"its parts; a line for every seed.",
        file_part,
    )


def _panel(axis: Axes, each: api.Measured) -> None:
    for part, color in PARTS.items():
        for index, name in enumerate(_of(each, part)):
            curve = each.curves[name]
            label = NAMES[part] if index == 0 else None
            # The whole error is mostly its nonlinear part: both lines must be seen where they coincide.
            over = {"linestyle": "--", "zorder": 3} if part == "error" else {"zorder": 2}
            axis.plot(curve["x"], numbers(curve["y"]), color=color, linewidth=1.2, label=label, **over)
    axis.set_title(wrapped(each.name, 26), size=8.5)
    axis.set_ylim(0, 1.1)


def _of(each: api.Measured, part: str) -> list[str]:
    return [name for name in each.curves if name.startswith(f"training_fvu.{part}.")]
