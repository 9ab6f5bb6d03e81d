"""Two dictionaries, compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from darkmatter_plugins.cosines import cosines_at, nearest, random_max_cosine


@dataclass(frozen=True, eq=False)
class Dictionary:
    """The directions of a dictionary that count.

    Attributes:
        name: what stands in the brackets.
        directions: [n, d], none of them zero.
        width: latents, whether they count or not.
        zero: latents whose decoder row is zero.
        dead: latents that never fire on held-out rows; None where nothing fires (tokens).
    """

    name: str
    directions: Tensor
    width: int
    zero: int
    dead: int | None


@dataclass(frozen=True)
class Matching:
    """The best one-to-one matching of the narrower dictionary into the wider one."""

    share: float
    cosine: float


@dataclass(frozen=True)
class Comparison:
    """What two dictionaries, in the order in which they were given, are to each other.

    ``forth`` is the mean over the first's directions of the largest cosine with one of the second's,
    ``back`` the same from the second to the first; ``forth_random`` and ``back_random`` are expected of
    random directions. ``matching`` is a sentence where there is none.
    """

    forth: float
    back: float
    forth_random: float
    back_random: float
    matching: Matching | str

    def reversed(self) -> Comparison:
        """The same seen from the second."""
        return Comparison(self.back, self.forth, self.back_random, self.forth_random, self.matching)


@dataclass(frozen=True)
class Limits:
    """Up to which size dictionaries are matched, and the cosine above which two latents are the same."""

    narrower: int
    cosines: int
    threshold: float


def compare(one: Tensor, other: Tensor, limits: Limits) -> Comparison:
    """Directions [n, d] and [m, d], none of them zero; all cosines are held only to match them."""
    forth, back = nearest(one, other)
    d = one.shape[1]
    return Comparison(
        float(cosines_at(one, other, forth).mean()),
        float(cosines_at(other, one, back).mean()),
        random_max_cosine(len(other), d),
        random_max_cosine(len(one), d),
        _match(one, other, limits),
    )


def _match(one: Tensor, other: Tensor, limits: Limits) -> Matching | str:
    """The matching whose cosines have the largest sum (Hungarian algorithm)."""
    from scipy.optimize import linear_sum_assignment

    n, m = sorted((len(one), len(other)))
    if n > limits.narrower or n * m > limits.cosines:
        return (
            f"{n} and {m} latents are more than are matched (max_matching = {limits.narrower}, "
            f"max_cosines = {limits.cosines})"
        )
    left, right = (torch.nn.functional.normalize(each.double(), eps=0) for each in (one, other))
    rows, columns = linear_sum_assignment((left @ right.to(left.device).T).cpu().numpy(), maximize=True)
    cosines = cosines_at(left[rows], right[columns], torch.arange(len(rows)))
    return Matching(float((cosines > limits.threshold).double().mean()), float(cosines.mean()))
