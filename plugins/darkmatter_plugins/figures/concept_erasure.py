"""What taking a concept out achieves, over what it does to unrelated text or, without a model, its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, log10
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
BEND = {"kl": 0.01, "edit": 1.0}
"""Below it a wide axis of costs is linear, so that 0 has a place; above it logarithmic."""
WIDE = 4.0
"""An axis that goes no further than so many bends is linear throughout."""
STEPS = (1.0, 2.0, 5.0)


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """A panel per SAE."""
    saes = results.of("concept_erasure")
    measures = WITH_MODEL if any(each.value("task.none") is not None for each in saes) else WITHOUT
    need_some(saes, [f"{measures[1]}.{method}" for method in METHODS])
    for part, page in pages(saes, PER_PICTURE):
        yield _picture(page, measures, part)


def _picture(saes: Sequence[api.Measured], measures: tuple[str, str, str, str], part: str) -> api.Drawing:
    cost, gain, cost_label, gain_label = measures
    size = {1: (4.8, 3.0), 2: (3.4, 2.7)}.get(len(saes), (2.9, 2.6))
    axes = panels(len(saes), columns=3, size=size, share_x=True, share_y=True)
    for axis, each in zip(axes, saes, strict=True):
        axis.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        for method in METHODS:
            _mark(axis, each, method, cost, gain)
        axis.set_title(wrapped(each.name), fontstyle="italic" if each.is_control else "normal")
    axes[0].set_ylabel(gain_label)
    bent = _cost_axis(axes, cost, max(_costs(saes, cost), default=0.0))
    for axis in axes:
        axis.tick_params(labelbottom=True)
        axis.set_xlabel(f"{cost_label}\n(logarithmic above {BEND[cost]:g})" if bent else cost_label)
    _legend(axes)
    return api.Drawing(
        figure_of(axes[0]),
        f"{gain_label} on held-out names or contexts (1/2, dotted: the concept is gone) over {cost_label}, "
        f"after each edit, of {plural(len(saes), 'SAE')}.{_sample(saes[0], cost)} {INTERVALS}",
        part,
    )


def _costs(saes: Sequence[api.Measured], cost: str) -> list[float]:
    found = [each.value(f"{cost}.{method}") for each in saes for method in METHODS]
    return [value for value in found if value is not None]


def _cost_axis(axes: Sequence[Axes], cost: str, largest: float) -> bool:
    """From 0 to beyond the largest cost; whether it bends, because most edits cost little and a few much."""
    from matplotlib.ticker import FixedLocator, NullLocator

    bend = BEND[cost]
    bent = largest > WIDE * bend
    if bent:
        axes[0].set_xscale("symlog", linthresh=bend)
        decades = range(ceil(log10(largest / bend)) + 1)
        far = [bend * 10**decade * step for decade in decades for step in STEPS]
        # Where there are several decades, numbers at all their steps would touch.
        far = [each for each in far if each <= 1.3 * largest]
        kept = far if len(far) <= len(STEPS) + 1 else [bend * 10**decade for decade in decades]
        for axis in axes:
            axis.xaxis.set_major_locator(FixedLocator([0.0, bend / 2, *kept]))
            axis.xaxis.set_minor_locator(NullLocator())
    axes[0].set_xlim(0, 1.3 * largest if largest > 0 else 1.0)
    for axis in axes:
        # Not matplotlib's own, which writes formulas.
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return bent


def _sample(each: api.Measured, cost: str) -> str:
    """How many prompts and names it was measured on, the same for all SAEs; nothing without a model."""
    sample = each.tables.get("sample", {})
    prompts, units, kind = (sample.get(key) for key in ("held_out_prompts", "held_out_units", "units"))
    if cost != "kl" or not (isinstance(prompts, int) and isinstance(units, int)):
        return ""
    beside = each.metrics.get("kl.random")
    rows = f"; KL over {beside.n} rows of held-out text" if beside is not None and beside.n else ""
    return f" {prompts} held-out prompts of {units} {api.printable(str(kind))}{rows}."


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
    columns = 3 if len(axes) == 1 else 4  # wider, it would stand out of a picture of one panel
    figure_of(axes[0]).legend(
        handles=handles, labels=order, loc="outside upper center", ncols=columns, handlelength=1.4
    )
