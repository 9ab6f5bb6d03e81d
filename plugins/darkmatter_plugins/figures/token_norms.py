"""Error norms of a family on consecutive tokens: the widths fail on the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import PARTS, figure_of, numbers, panels, plural, size_text, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = {"error": "|e|", "linear": "|L|", "nonlinear": "|N|"}

MOST = 6
"""Members that are told apart by their colours."""


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture per family: error, linear and nonlinear norms below one another."""
    drawn = False
    for family in results.of("error_scaling"):
        members = family.tables.get("members", {})
        names = [name for name in members.get("names", []) if f"error_norm[{name}]" in family.curves]
        if names:
            drawn = True
            yield _lines(family, names, dict(zip(members["names"], members["widths"], strict=True)))
    if not drawn:
        message = "the results of error_scaling hold no tokens (option tokens: 0)"
        raise api.NothingToDraw(message)


def _lines(family: api.Measured, names: list[str], widths: dict[str, int]) -> api.Drawing:
    from matplotlib import colormaps

    shown = (
        [names[index * (len(names) - 1) // (MOST - 1)] for index in range(MOST)]
        if len(names) > MOST
        else names
    )
    colors = colormaps["viridis_r"]
    axes = panels(3, columns=1, size=(6.2, 1.55), share_x=True)
    fresh = ""
    distinct = len(set(widths.values())) == len(widths)
    for axis, (part, title) in zip(axes, CURVES.items(), strict=True):
        for index, name in enumerate(shown):
            curve = family.curves[f"{part}_norm[{name}]"]
            axis.plot(
                curve["x"], numbers(curve["y"]), linewidth=1.1,
                color=colors(0.12 + 0.88 * index / max(1, len(shown) - 1)),
                label=size_text(widths[name]) if distinct else wrapped(name, 22),
            )  # fmt: skip
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        axis.margins(x=0.01)
        fresh = _contexts(axis, family.curves[f"{part}_norm[{shown[0]}]"].get("position", []))
    predicted = next((name for name in names if f"predicted_error_norm[{name}]" in family.curves), None)
    if predicted is not None:
        curve = family.curves[f"predicted_error_norm[{predicted}]"]
        axes[0].plot(
            curve["x"], numbers(curve["y"]), "--", color=PARTS["nonlinear"], linewidth=1.1,
            label="widest,\npredicted",
        )  # fmt: skip
    handles, labels = axes[0].get_legend_handles_labels()
    figure_of(axes[0]).legend(
        handles, labels, title="width" if distinct else None, loc="outside right upper", handlelength=1.2
    )
    axes[-1].set_xlabel("held-out token")
    left_out = f" ({len(shown)} of {len(names)} shown)" if len(shown) < len(names) else ""
    return api.Drawing(
        figure_of(axes[0]),
        f"Norms of the error e, its linear part L and its nonlinear part N of {plural(len(names), 'SAE')} of "
        f"one family{left_out} on the same consecutive held-out tokens, in units of the activations. Dashed: "
        f"the norm of the widest SAE as the narrower ones predict it.{fresh}",
    )


def _contexts(axis: Axes, positions: list[int]) -> str:
    """A line where the position within the context falls back, and what the caption says of it."""
    said = ""
    for index, (before, after) in enumerate(pairwise(positions)):
        if after < before:
            axis.axvline(index + 0.5, color="#707070", linewidth=0.9, linestyle=":")
            said = " Vertical dots: a new context begins."
    return said
