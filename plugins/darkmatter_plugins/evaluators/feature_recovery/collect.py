"""What passes over the rows gather: where concepts show, what x is there, and which codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.rows import RowBudget


@dataclass(frozen=True, eq=False)
class ConceptTable:
    """Which concepts tokens show.

    Attributes:
        groups: [C] the group of each concept, ascending.
        names: [C] the concepts' names.
        of_token: [G, V + 1] the concept that a token shows in each group, -1: none; the last column is for
            all tokens beyond.
    """

    group_names: Sequence[str]
    groups: Tensor
    names: Sequence[str]
    of_token: Tensor

    @classmethod
    def of(cls, groups: Mapping[str, Mapping[str, Sequence[int]]]) -> ConceptTable:
        """The table of a dataset's concepts."""
        last = 1 + max(token for each in groups.values() for ids in each.values() for token in ids)
        table = torch.full((len(groups), last + 1), -1, dtype=torch.int64)
        names: list[str] = []
        at: list[int] = []
        for index, concepts in enumerate(groups.values()):
            for name, ids in concepts.items():
                table[index, list(ids)] = len(names)
                names.append(name)
                at.append(index)
        return cls(list(groups), torch.tensor(at), names, table)

    def shown(self, tokens: Tensor) -> Tensor:
        """Concepts [G, n] of tokens [n], -1: none."""
        return self.of_token[:, tokens.cpu().long().clamp(max=self.of_token.shape[1] - 1)]


@dataclass(frozen=True, eq=False)
class ConceptMeans:
    """Sums of the target and counts of rows per concept."""

    table: ConceptTable

    def start(self, info: api.PassInfo) -> ConceptMeansCollector:
        """A fresh collector."""
        size = len(self.table.names)
        zeros = torch.zeros(size, info.d_out, dtype=torch.float64), torch.zeros(size, dtype=torch.int64)
        return ConceptMeansCollector(self.table, *zeros)


@dataclass
class ConceptMeansCollector:
    """Collects ``ConceptMeans``: sums [C, d_out] and counts [C]; ``rows`` show any concept."""

    table: ConceptTable
    sums: Tensor
    counts: Tensor
    rows: int = 0

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows."""
        shown = self.table.shown(_tokens(chunk))
        self.rows += int((shown >= 0).any(dim=0).sum())
        for concept in shown:
            at = (concept >= 0).nonzero().flatten()
            self.sums.index_add_(0, concept[at], chunk.target.cpu()[at].double())
            self.counts += torch.bincount(concept[at], minlength=len(self.counts))

    def merge(self, other: ConceptMeansCollector) -> None:
        """Take in the next shard."""
        self.sums += other.sums
        self.counts += other.counts
        self.rows += other.rows

    def finish(self) -> ConceptMeansCollector:
        """Itself."""
        return self


@dataclass(frozen=True, eq=False)
class ConceptRows:
    """Which concepts rows show, of those that the budget draws; their targets or codes where kept."""

    table: ConceptTable
    budget: RowBudget
    keep: Literal["labels", "targets", "codes"]

    def start(self, info: api.PassInfo) -> ConceptRowsCollector:
        """A fresh collector."""
        del info
        return ConceptRowsCollector(self)


@dataclass
class ConceptRowsCollector:
    """Collects ``ConceptRows``."""

    spec: ConceptRows
    shown: list[Tensor] = field(default_factory=list)
    unit: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    codes: list[api.Codes] = field(default_factory=list)

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:
        """Take in rows."""
        shown = self.spec.table.shown(_tokens(chunk))
        drawn = self.spec.budget.drawn(chunk, rows).cpu()
        drawn = drawn[(shown[:, drawn] >= 0).any(dim=0)]
        if not len(drawn):
            return
        self.shown.append(shown[:, drawn])
        self.unit.append(chunk.unit.cpu()[drawn])
        if self.spec.keep == "codes":
            self.codes.append(chunk.codes.take(drawn.to(chunk.codes.device)).to("cpu"))
        elif self.spec.keep == "targets":
            self.targets.append(chunk.target.cpu()[drawn])

    def merge(self, other: ConceptRowsCollector) -> None:
        """Take in the next shard."""
        self.shown += other.shown
        self.unit += other.unit
        self.targets += other.targets
        self.codes += other.codes

    def finish(self) -> ConceptRowsCollector:
        """Itself."""
        return self


@dataclass(frozen=True)
class SignedLatents:
    """Which latents [d_sae] ever have a negative code."""

    def start(self, info: api.PassInfo) -> SignedLatentsCollector:
        """A fresh collector."""
        return SignedLatentsCollector(torch.zeros(info.d_sae, dtype=torch.bool))


@dataclass
class SignedLatentsCollector:
    """Collects ``SignedLatents``."""

    found: Tensor

    def update(self, chunk: api.Chunk, rows: api.Rows) -> None:  # noqa: ARG002 - the caller chose the side
        """Take in rows."""
        self.found[chunk.codes.indices[chunk.codes.values < 0].cpu()] = True

    def merge(self, other: SignedLatentsCollector) -> None:
        """Take in the next shard."""
        self.found |= other.found

    def finish(self) -> Tensor:
        """The latents."""
        return self.found


def _tokens(chunk: api.Chunk) -> Tensor:
    if chunk.tokens is None:
        message = "concepts are known by their tokens, which these activations come without"
        raise api.ItemError(message)
    return chunk.tokens
