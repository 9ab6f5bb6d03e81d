"""The paper's Fig. 1: what the FVU of each width is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from darkmatter import api
from darkmatter_plugins.figures.style import GREEN, PARTS, SKY, new_figure, plural, size_text, why_undefined

SHARES = {
    "absent": ("absent features", SKY),
    "linear": ("linear error", PARTS["linear"]),
    "encoder": ("encoder error", GREEN),
    "nonlinear": ("nonlinear error", PARTS["nonlinear"]),
}


def draw(results: api.FigureResults) -> Iterator[api.Drawing]:
    """One picture per family whose shares are all defined."""
    families = results.of("width_scaling_law")
    whole = [family for family in families if _is_whole(family)]
    if not whole:
        raise api.NothingToDraw(why_undefined(families, "share.linear", "share.nonlinear", "c"))
    for family in whole:
        yield _bars(family, results.by_name("gradient_pursuit"))


def _is_whole(family: api.Measured) -> bool:
    table = family.tables.get("accounting", {})
    return table.get("linear") is not None and None not in table.get("absent", [None])


def encoder_share(names: Sequence[str], pursued: dict[str, api.Measured]) -> float | None:
    """Mean of encoder_error over the members; None unless all were pursued and it is no gain of the encoder.

    A negative one cannot be a part of a whole: then the encoder does better than pursuit.
    """
    found = [pursued[name].value("encoder_error") for name in names if name in pursued]
    known = [value for value in found if value is not None]
    if len(known) < len(names) or not known:
        return None
    mean = sum(known) / len(known)
    return mean if mean >= 0 else None


def _bars(family: api.Measured, pursued: dict[str, api.Measured]) -> api.Drawing:
    table: dict[str, Any] = family.tables["accounting"]
    names, widths = table["names"], table["widths"]
    encoder = encoder_share(names, pursued)
    shares: dict[str, list[float]] = {
        "nonlinear": [float(table["nonlinear"]) - (encoder or 0.0)] * len(names),
        "encoder": [encoder or 0.0] * len(names),
        "linear": [float(table["linear"])] * len(names),
        "absent": [float(value) for value in table["absent"]],
    }
    figure = new_figure(5.0, 3.3)
    axis = figure.subplots()
    bottom = [0.0] * len(names)
    for kind, heights in shares.items():
        if kind == "encoder" and encoder is None:
            continue
        label, color = SHARES[kind]
        axis.bar(
            range(len(names)), heights, bottom=bottom, width=0.72, color=color, edgecolor="white", label=label
        )
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axis.plot(range(len(names)), table["fvu"], "_", color="#202020", markersize=22, label="FVU measured")
    axis.set_xticks(range(len(names)), [size_text(width) for width in widths])
    axis.set_xlabel("width (latents)")
    axis.set_ylabel("FVU")
    axis.grid(visible=False, axis="x")
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
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
