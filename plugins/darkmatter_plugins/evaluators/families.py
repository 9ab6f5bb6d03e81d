"""What the evaluators of families share: the order of members, and all their errors on the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from darkmatter import api
from darkmatter.stats import LinearMap


def by_width(family: Sequence[api.EncodedSAE]) -> list[api.EncodedSAE]:
    """Members that reconstruct, from narrow to wide; those of one width by L0, then by name."""
    members = [each for each in family if each.sae.reconstructs]
    return sorted(members, key=lambda each: (each.sae.d_sae, each.l0, each.name))


@dataclass(frozen=True, eq=False)
class Errors:
    """Splits the error of every member on a chunk; ``maps`` holds b* of each in the members' order.

    ``subject`` is the member that the chunk speaks of, the others stand in ``chunk.beside``.
    """

    subject: str
    maps: dict[str, LinearMap]

    @classmethod
    def of(cls, ctx: api.EvalContext, members: Sequence[api.EncodedSAE]) -> Errors:
        """With b* and its intercept fitted on the training rows, as everywhere."""
        return cls(ctx.subject.name, {each.name: each.error_map() for each in members})

    def parts(self, chunk: api.Chunk) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """e, L = b*x + c and N = e - L of each member [n, d_out], float64."""
        for name, linear in self.maps.items():
            error = (chunk if name == self.subject else chunk.beside[name]).error
            predicted = linear(chunk.x)
            yield error, predicted, error - predicted


def beside(ctx: api.EvalContext, members: Sequence[api.EncodedSAE]) -> list[api.EncodedSAE]:
    """The members that a pass over the subject's rows needs to be given."""
    return [each for each in members if each.name != ctx.subject.name]
