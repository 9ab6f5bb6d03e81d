"""Which members of a family one law can be fitted to: one per width, at about one L0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from darkmatter import api
from darkmatter_plugins.evaluators.families import by_width
from darkmatter_plugins.evaluators.width_scaling_law.descriptor import WidthScalingLawConfig


@dataclass(frozen=True)
class Taken:
    """``members`` from narrow to wide, of different widths; ``left_out``: why each other is not."""

    l0: float
    members: list[api.EncodedSAE]
    left_out: dict[str, str]


def take(family: Sequence[api.EncodedSAE], config: WidthScalingLawConfig) -> Taken:
    """The members whose L0 is within the tolerance of one value, and of each width the nearest to it.

    Without an L0 in the options, the L0 of every member is tried: the one with the most widths about
    it wins, then the one to which the members lie nearest, then the smallest.
    """
    candidates = by_width([each for each in family if each.sae.d_sae > 0])
    centres = [config.l0] if config.l0 is not None else sorted({each.l0 for each in candidates})
    tried = [_about(centre, candidates, config.l0_tolerance) for centre in centres]
    best = max(tried, key=lambda taken: (len(taken.members), -_spread(taken)), default=Taken(0.0, [], {}))
    without = {each.name: "it has no latents" for each in family if each.sae.d_sae == 0}
    return Taken(best.l0, best.members, best.left_out | without)


def _about(l0: float, candidates: Sequence[api.EncodedSAE], tolerance: float) -> Taken:
    chosen: dict[int, api.EncodedSAE] = {}
    left_out = {}
    for each in candidates:
        width = each.sae.d_sae
        if abs(each.l0 - l0) > tolerance * l0:
            left_out[each.name] = f"its L0 is {each.l0:.4g}"
        elif width not in chosen:
            chosen[width] = each
        else:
            far, near = each, chosen[width]
            if _distance(each, l0) < _distance(near, l0):
                far, near = near, each
            chosen[width] = near
            left_out[far.name] = f"{near.name} has its width and is no farther from that L0"
    return Taken(l0, [chosen[width] for width in sorted(chosen)], left_out)


def _distance(each: api.EncodedSAE, l0: float) -> float:
    return abs(math.log(each.l0 / l0)) if each.l0 > 0 and l0 > 0 else abs(each.l0 - l0)


def _spread(taken: Taken) -> float:
    return sum(_distance(each, taken.l0) for each in taken.members)
