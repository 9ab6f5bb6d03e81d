"""How well a simulator predicts the latents of each dictionary from the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREEN,
    GREY,
    PARTS,
    SKY,
    Point,
    bars,
    figure_of,
    key_above,
    name_rows,
    need_some,
    pages,
    panels,
    plural,
    point,
    row_height,
    within,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTROL = PARTS["nonlinear"]
SCORES = {
    "score.top": ("top fragments", PARTS["linear"]),
    "score.random": ("random fragments", SKY),
    "score.both": ("both together", PARTS["error"]),
}

MEASURES = (*SCORES, "detection.auroc")
PER_PICTURE = 12


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """Three bars for every dictionary, the control beside them, and how well firing is detected."""
    found = results.of("autointerp")
    need_some(found, list(SCORES))
    shown = [each for each in found if any(each.value(metric) is not None for metric in MEASURES)]
    without = [each.name for each in found if each not in shown]
    parts = list(_parts(shown))
    for number, page in enumerate(parts, start=1):
        yield _picture(page, without, f"part{number}" if len(parts) > 1 else "")


def _parts(shown: Sequence[api.Measured]) -> Iterator[Sequence[api.Measured]]:
    """All together where they fit in one picture, else SAEs and controls apart."""
    saes = [each for each in shown if not each.is_control]
    controls = [each for each in shown if each.is_control]
    for group in [shown] if len(shown) <= PER_PICTURE else [saes, controls]:
        yield from (page for _, page in pages(group, PER_PICTURE))


def _picture(found: Sequence[api.Measured], without: Sequence[str], file_part: str) -> api.Drawing:
    names = [each.name for each in found]
    height = max(1.3, row_height(names, 0.55)) + 1.05
    axes = panels(2, columns=2, size=(3.4, height), share_y=True)
    scores, detection = axes
    drawn: list[Point | None] = [Point(1.0)]
    for index, (metric, (label, color)) in enumerate(SCORES.items()):
        places = [row + (index - 1) * 0.27 for row in range(len(found))]
        points = [point(each, metric) for each in found]
        bars(scores, places, points, color=color, label=label, height=0.25)
        drawn += points
    drawn += _unrelated(scores, found)
    within(scores, drawn, low=-1.0, high=1.0)
    left, right = scores.get_xlim()
    if left < 0:  # room for diamonds left of 0, which would lie on the frame
        scores.set_xlim(left - 0.06 * (right - left), right)
    scores.set_xlabel("correlation with true activations ↑")
    points = [point(each, "detection.auroc") for each in found]
    bars(detection, range(len(found)), points, color=GREEN, height=0.5)
    detection.set_xlim(0.0, 1.0)
    detection.axvline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    detection.set_xlabel("AUROC of firing fragments ↑")
    name_rows(axes, names, [each.is_control for each in found])
    key_above(axes, columns=4)
    return api.Drawing(
        figure_of(scores),
        f"How well a simulator that saw training text predicts the latents of {plural(len(found), 'SAE')}, "
        f"controls among them, from the text: correlation on held-out fragments, mean over latents. "
        f"Diamonds: the same simulations against another latent. Right: whether the highest prediction tells "
        f"fragments on which a latent fires from others (dotted: by chance). Lines: 95% intervals over "
        f"latents.{_unscored(without)}",
        file_part,
    )


def _unscored(names: Sequence[str]) -> str:
    """Who is left out of the picture."""
    if not names:
        return ""
    some = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f" Nothing to score in {some}."


def _unrelated(axis: Axes, found: Sequence[api.Measured]) -> list[Point | None]:
    """The control as a diamond beside the bars of both."""
    points = [point(each, "score.unrelated") for each in found]
    known = [(each.value, row + 0.27) for row, each in enumerate(points) if each is not None]
    if known:
        x, y = zip(*known, strict=True)
        axis.plot(
            x, y, "D", color=CONTROL, markersize=4, markeredgecolor="white", label="another latent", zorder=6
        )
    return points
