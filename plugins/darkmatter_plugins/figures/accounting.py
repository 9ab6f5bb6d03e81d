"""The paper's Fig. 1: what the FVU of each width is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from darkmatter import api
from darkmatter_plugins.figures.style import (
    GREEN,
    HATCH,
    INTERVALS,
    PARTS,
    SKY,
    Point,
    new_figure,
    numbers,
    plural,
    size_text,
    whisker,
    why_undefined,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHARES = {
    "absent": ("absent features", SKY),
    "linear": ("linear error", PARTS["linear"]),
    "encoder": ("encoder error", GREEN),
    "nonlinear": ("nonlinear error", PARTS["nonlinear"]),
}

NOT_PURSUED = "nonlinear error,\nencoder's included"


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture per family: the paper's shares where they are defined, else what was measured alone."""
    families = [each for each in results.of("width_scaling_law") if "accounting" in each.tables]
    if not families:
        raise api.NothingToDraw(why_undefined(results.of("width_scaling_law"), "share.linear", "c"))
    pursued = results.by_name("gradient_pursuit")
    for family in families:
        yield _shares(family, pursued) if _is_whole(family) else _measured(family, pursued)


def _is_whole(family: api.Measured) -> bool:
    table = family.tables["accounting"]
    return table.get("linear") is not None and None not in table.get("absent", [None])


def encoder_errors(names: Sequence[str], pursued: Mapping[str, api.Measured]) -> list[float | None]:
    """encoder_error of each member; None where it was not pursued, or where its encoder does better.

    A negative one cannot be a part of a whole.
    """
    found = [pursued[name].value("encoder_error") if name in pursued else None for name in names]
    return [value if value is not None and value >= 0 else None for value in found]


# -- the paper's shares -----------------------------------------------------------------------------


def _shares(family: api.Measured, pursued: Mapping[str, api.Measured]) -> api.Drawing:
    table: dict[str, Any] = family.tables["accounting"]
    names = table["names"]
    known = [each for each in encoder_errors(names, pursued) if each is not None]
    encoder = sum(known) / len(known) if len(known) == len(names) else None
    stacks = {
        "nonlinear": [float(table["nonlinear"]) - (encoder or 0.0)] * len(names),
        "encoder": [] if encoder is None else [encoder] * len(names),
        "linear": [float(table["linear"])] * len(names),
        "absent": [float(value) for value in table["absent"]],
    }
    figure, axis = _axes(table["widths"])
    bottom = [0.0] * len(names)
    for kind, heights in stacks.items():
        if heights:
            bottom = _stack(axis, bottom, heights, *SHARES[kind])
    axis.plot(range(len(names)), table["fvu"], "_", color="#202020", markersize=22, label="FVU measured")
    _key(axis)
    how = (
        f"encoder: mean of encoder_error over the {len(names)} SAEs (gradient pursuit)"
        if encoder is not None
        else "the encoder's share, which takes gradient pursuit of all members, is part of nonlinear"
    )
    return api.Drawing(
        figure,
        f"What the FVU of {plural(len(names), 'SAE')} of one family is made of. Absent: FVU above the "
        f"constant c of the power law; linear: c less the mean nonlinear FVU; {how}. Intervals of the shares "
        f"stand in the tables.",
    )


# -- what holds without them ------------------------------------------------------------------------


def _measured(family: api.Measured, pursued: Mapping[str, api.Measured]) -> api.Drawing:
    """Each SAE's own parts: the paper's shares take one nonlinear FVU for all widths, and need not add up."""
    names = family.tables["accounting"]["names"]
    fvu, nonlinear = (numbers(family.curves[kind]["y"]) for kind in ("fvu", "fvu_nonlinear"))
    encoder = encoder_errors(names, pursued)
    figure, axis = _axes(family.tables["accounting"]["widths"])
    rest = [whole - (part or 0.0) for whole, part in zip(nonlinear, encoder, strict=True)]
    some = [index for index, part in enumerate(encoder) if part is not None]
    bottom = _stack(axis, [0.0] * len(names), rest, *SHARES["nonlinear"])
    for index in set(range(len(names))) - set(some):
        axis.patches[index].set(hatch=HATCH, facecolor="white", edgecolor=PARTS["nonlinear"])
    if some:
        bottom = _stack(axis, bottom, [part or 0.0 for part in encoder], *SHARES["encoder"])
    _stack(axis, bottom, [a - b for a, b in zip(fvu, nonlinear, strict=True)], *SHARES["linear"])
    _ends(axis, family)
    _constant(axis, family)
    _key(axis, hatched=len(some) < len(names), plain=bool(some))
    pursuit = (" Encoder: what codes by gradient pursuit save of the nonlinear FVU." if some else "") + (
        " Hatched: not pursued." if len(some) < len(names) else ""
    )
    return api.Drawing(
        figure,
        f"What the FVU of {plural(len(names), 'SAE')} of one family is made of, each measured for itself. "
        f"The paper's division into absent features and constants is undefined here "
        f"({why_undefined([family], 'share.linear', 'c')}).{pursuit} {INTERVALS}",
    )


def _ends(axis: Axes, family: api.Measured) -> None:
    """Intervals of FVU and, beside them, of nonlinear FVU, where their stretches of the bars end."""
    for kind, shift in (("fvu", 0.0), ("fvu_nonlinear", 0.12)):
        curve = family.curves[kind]
        for place, each in enumerate(zip(numbers(curve["y"]), curve["low"], curve["high"], strict=True)):
            whisker(axis, Point(*each), place + shift, upright=True)


def _constant(axis: Axes, family: api.Measured) -> None:
    """The law's constant, which would have to lie above all nonlinear error."""
    c = family.value("c")
    if c is not None:
        axis.axhline(c, color="#202020", linestyle=":", linewidth=1.2, label="c, the law's floor", zorder=4)


# -- the picture ------------------------------------------------------------------------------------


def _axes(widths: Sequence[float]) -> tuple[Figure, Axes]:
    figure = new_figure(5.4, 3.3)
    axis = figure.subplots()
    axis.set_xticks(range(len(widths)), [size_text(width) for width in widths])
    axis.set_xlabel("width (latents)")
    axis.set_ylabel("FVU ↓")
    axis.grid(visible=False, axis="x")
    return figure, axis


def _stack(
    axis: Axes, bottom: Sequence[float], heights: Sequence[float], label: str, color: str
) -> list[float]:
    """Bars on top of others; returns where they end."""
    axis.bar(
        range(len(heights)), heights, bottom=bottom, width=0.72, color=color, edgecolor="white", label=label
    )
    return [low + height for low, height in zip(bottom, heights, strict=True)]


def _key(axis: Axes, *, hatched: bool = False, plain: bool = True) -> None:
    """A legend in the order of the stack, the top first."""
    from matplotlib.patches import Patch

    handles, labels = axis.get_legend_handles_labels()
    shown = [pair for pair in zip(handles, labels, strict=True) if plain or pair[1] != SHARES["nonlinear"][0]]
    shown.reverse()
    if hatched:
        empty = Patch(hatch=HATCH, facecolor="white", edgecolor=PARTS["nonlinear"])
        place = next((i for i, (_, label) in enumerate(shown) if label.startswith("c, ")), len(shown))
        shown.insert(place, (empty, NOT_PURSUED))
    axis.legend(*zip(*shown, strict=True), loc="upper left", bbox_to_anchor=(1.0, 1.0))
