"""What taking a concept out achieves, over what it does to unrelated text or, without a model, its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREEN,
    GREY,
    INTERVALS,
    PARTS,
    SKY,
    figure_of,
    need_some,
    pages,
    panels,
    plural,
    point,
    whisker,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHODS = {
    "none": ("no edit", GREY, "x"),
    "latent": ("one latent", PARTS["nonlinear"], "o"),
    "latents": ("several latents", PARTS["nonlinear"], "s"),
    "latent_subtracted": ("latent subtracted", PARTS["nonlinear"], "v"),
    "mean_difference": ("mean difference", PARTS["linear"], "D"),
    "leace": ("LEACE", GREEN, "P"),
    "random": ("random direction", SKY, "*"),
}
"""Name, colour and mark of every method; those of latents share a colour."""

WITH_MODEL = ("kl", "task", "KL on unrelated text (nats)", "P(right answer)")
WITHOUT = ("edit", "probe_auroc_fresh", "mean size of the edit", "AUROC of a fresh probe")

PER_PICTURE = 9


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """A panel per SAE."""
    saes = results.of("concept_erasure")
    measures = WITH_MODEL if any(each.value("task.none") is not None for each in saes) else WITHOUT
    need_some(saes, [f"{measures[1]}.{method}" for method in METHODS])
    for part, page in pages(saes, PER_PICTURE):
        yield _picture(page, measures, part)


def _picture(saes: Sequence[api.Measured], measures: tuple[str, str, str, str], part: str) -> api.Drawing:
    cost, gain, cost_label, gain_label = measures
    axes = panels(len(saes), columns=3, size=(2.9, 2.6), share_x=True, share_y=True)
    for axis, each in zip(axes, saes, strict=True):
        axis.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        for method in METHODS:
            _mark(axis, each, method, cost, gain)
        axis.set_title(wrapped(each.name), fontstyle="italic" if each.is_control else "normal")
        axis.set_xlabel(cost_label)
    axes[0].set_ylabel(gain_label)
    # Most edits cost little and a few much; below the bend the axis is linear, so that 0 has a place.
    axes[0].set_xscale("symlog", linthresh=0.01 if cost == "kl" else 1.0)
    axes[0].set_xlim(left=0)
    for axis in axes:
        # Not matplotlib's own, which writes formulas.
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _legend(axes)
    return api.Drawing(
        figure_of(axes[0]),
        f"{gain_label} on held-out names or contexts (1/2, dotted: the concept is gone) over {cost_label}, "
        f"after each edit, of {plural(len(saes), 'SAE')}. {INTERVALS}",
        part,
    )


def _mark(axis: Axes, each: api.Measured, method: str, cost: str, gain: str) -> None:
    """One method, where both its measures are defined; no edit costs nothing."""
    label, color, marker = METHODS[method]
    x, y = each.value(f"{cost}.{method}"), point(each, f"{gain}.{method}")
    if method == "none":
        x = 0.0
    if x is None or y is None:
        return
    axis.plot([x], [y.value], marker, color=color, markersize=6, label=label, clip_on=False, zorder=6)
    whisker(axis, y, x, upright=True, color=color)


def _legend(axes: Sequence[Axes]) -> None:
    """Every mark that some panel shows, once."""
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    order = [label for label, _, _ in METHODS.values() if label in found]
    handles = [found[label] for label in order]
    columns = min(2 * len(axes), 4)  # wider, it would stand out of a picture of one panel
    figure_of(axes[0]).legend(
        handles=handles, labels=order, loc="outside upper center", ncols=columns, handlelength=1.4
    )
