"""Sums of a number by the group that its row belongs to, such as its token id."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def _numbers() -> Tensor:
    return torch.zeros(0, dtype=torch.float64)


@dataclass
class GroupSums:
    """Rows and Σ y per group: ``ids`` [groups] int64 ascending, ``count`` and ``total`` float64.

    Memory is two numbers and an id for each group that occurs, so a vocabulary bounds it.
    """

    ids: Tensor
    count: Tensor
    total: Tensor

    @classmethod
    def empty(cls) -> GroupSums:
        """No groups yet."""
        return cls(torch.zeros(0, dtype=torch.int64), _numbers(), _numbers())

    def add(self, ids: Tensor, y: Tensor) -> None:
        """Take in rows: the group ``ids`` [n] of each and its number ``y`` [n]."""
        found, inverse = torch.unique(ids.to("cpu", torch.int64), return_inverse=True)
        sums = torch.zeros(2, len(found), dtype=torch.float64)
        sums.index_add_(1, inverse, torch.stack([torch.ones(len(y), dtype=torch.float64), y.cpu()]))
        self.merge(GroupSums(found, sums[0], sums[1]))

    def merge(self, other: GroupSums) -> None:
        """Take in the groups of further rows."""
        ids = torch.unique(torch.cat([self.ids, other.ids]))
        count, total = torch.zeros(2, len(ids), dtype=torch.float64)
        for part in (self, other):
            place = torch.searchsorted(ids, part.ids)
            count[place] += part.count
            total[place] += part.total
        self.ids, self.count, self.total = ids, count, total

    def place(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Where each of ``ids`` [n] stands, and whether it is there."""
        ids = ids.to("cpu", torch.int64)
        place = torch.searchsorted(self.ids, ids).clamp(max=max(len(self.ids) - 1, 0))
        return place, self.ids[place] == ids

    def predicted(self, ids: Tensor, otherwise: float, shrinkage: float) -> Tensor:
        """(Σ y + k·otherwise) / (n + k) for each of ``ids`` [n]; ``otherwise`` for ids without rows."""
        means = (self.total + shrinkage * otherwise) / (self.count + shrinkage)
        place, known = self.place(ids)
        return torch.where(known, means[place], otherwise)

    def between(self) -> float:
        """Σ over rows of (mean of the row's group - mean of all rows)²."""
        mean = self.total.sum() / self.count.sum()
        return float((self.count * (self.total / self.count - mean).square()).sum())
