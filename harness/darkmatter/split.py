"""Which rows count, which of them train and which test, and what is resampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from darkmatter.activations import ActivationStore
from darkmatter.errors import UsageError
from darkmatter.shuffle import permutation

if TYPE_CHECKING:
    from torch import Tensor

TRAIN_SHARE = 0.6
MOST_UNITS = 4096
"""Resampling units at most; more contexts are taken together in blocks."""

SplitKind = Literal["context", "token"]

_NONE, _TRAIN, _TEST = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Split:
    """Training and test rows of a store.

    Attributes:
        kind: what was assigned to the sides.
        role: 0 left out, 1 training, 2 test: [C] int8, or [C, P] where tokens were assigned.
        rows: rows that count [C, P] bool.
        n_dropped: contexts left out between the sides, so that no document stands on both (mostly 0
            or 1).
        n_train, n_test: rows that count on each side.
        unit_of_context: [C] int64, resampling unit of each context with test rows, ascending; -1
            for the others.
        n_units: resampling units.
        unit: what one unit is: "context", "row", "block of 3 contexts", ...
    """

    kind: SplitKind
    role: Tensor
    rows: Tensor
    n_dropped: int
    n_train: int
    n_test: int
    unit_of_context: Tensor
    n_units: int
    unit: str

    def train(self, start: int, stop: int) -> Tensor:
        """Training rows among contexts ``start:stop`` [contexts, P] bool."""
        return self._side(_TRAIN, start, stop)

    def test(self, start: int, stop: int) -> Tensor:
        """Test rows among contexts ``start:stop`` [contexts, P] bool."""
        return self._side(_TEST, start, stop)

    def _side(self, side: int, start: int, stop: int) -> Tensor:
        chosen = self.role[start:stop] == side
        return self.rows[start:stop] & (chosen if chosen.ndim == 2 else chosen.unsqueeze(1))


def row_mask(store: ActivationStore, skip_first: int | None = None, skip_last: int | None = None) -> Tensor:
    """Rows that count [C, P] bool: inside the position range and not at a special token.

    ``None`` takes the store's defaults.
    """
    import torch

    first = store.default_skip_first if skip_first is None else skip_first
    last = store.default_skip_last if skip_last is None else skip_last
    if min(first, last) < 0:
        message = f"skip_first {first} and skip_last {last} count positions and cannot be negative."
        raise UsageError(message)
    position = torch.arange(store.n_positions)
    rows = ((position >= first) & (position < store.n_positions - last)).expand(store.n_contexts, -1)
    mask = store.mask()
    rows = rows.clone() if mask is None else rows & mask
    if not rows.any():
        message = (
            f"No row is left: {store.n_positions} positions per context, the first {first} and the last "
            f"{last} left out{'' if mask is None else ', special tokens masked'}. Lower --skip-first or "
            "--skip-last, or take longer contexts."
        )
        raise UsageError(message)
    return rows


def make_split(
    store: ActivationStore,
    seed: int = 0,
    kind: SplitKind = "context",
    skip_first: int | None = None,
    skip_last: int | None = None,
) -> Split:
    """Assign 60% of the contexts to training and the rest to test.

    Stores in random order are cut once, near 60%, where no document stands on both sides after at
    most one context is left out; other stores are permuted by the seed. ``kind="token"`` permutes
    the rows that count instead, as the dark matter papers' code does: neighbours then stand on both
    sides, and held-out figures come out too good.
    """
    rows = row_mask(store, skip_first, skip_last)
    if kind == "token":
        role, dropped = _by_token(rows, seed), 0
    else:
        role, dropped = _by_context(store, rows, seed)
    wide = role if role.ndim == 2 else role.unsqueeze(1)
    n_train = int((rows & (wide == _TRAIN)).sum())
    n_test = int((rows & (wide == _TEST)).sum())
    if not (n_train and n_test):
        side = "training" if not n_train else "test"
        message = (
            f"No {side} row is left of {store.n_contexts} contexts ({int(rows.sum())} rows that count, "
            f"{dropped} contexts left out because they share a document with the other side). Take more "
            "contexts, or cut long documents."
        )
        raise UsageError(message)
    has_test = (rows & (wide == _TEST)).any(dim=1)
    unit_of_context, n_units, unit = units(
        has_test, independent_rows=store.independent_rows, documents=store.documents()
    )
    return Split(kind, role, rows, dropped, n_train, n_test, unit_of_context, n_units, unit)


def _by_token(rows: Tensor, seed: int) -> Tensor:
    """Roles [C, P] by a random permutation of the rows that count."""
    import torch

    counted = rows.flatten().nonzero().squeeze(1)
    order = torch.from_numpy(permutation(len(counted), seed, "tokens"))
    role = torch.zeros(rows.numel(), dtype=torch.int8)
    cut = int(TRAIN_SHARE * len(counted))
    role[counted[order[:cut]]] = _TRAIN
    role[counted[order[cut:]]] = _TEST
    return role.view(rows.shape)


def _by_context(store: ActivationStore, rows: Tensor, seed: int) -> tuple[Tensor, int]:
    """Roles [C] and the number of contexts dropped between the sides."""
    import torch

    usable = rows.any(dim=1).nonzero().squeeze(1)
    if len(usable) < 2:
        what = "x as [n, d] if its rows are independent" if not store.shuffled else "a longer text"
        message = f"Only {len(usable)} context has rows that count; a split needs two. Take {what}."
        raise UsageError(message)
    cut = min(max(1, int(TRAIN_SHARE * len(usable))), len(usable) - 1)
    if store.shuffled:
        cut, begin = _border(store.documents(), usable, cut)
    else:
        order = torch.from_numpy(permutation(len(usable), seed, "contexts"))
        usable, begin = usable[order], cut
    role = torch.full((store.n_contexts,), _NONE, dtype=torch.int8)
    role[usable[:cut]] = _TRAIN
    role[usable[begin:]] = _TEST
    return role, begin - cut


def _border(documents: Tensor | None, usable: Tensor, cut: int) -> tuple[int, int]:
    """Where training ends and where test begins, in a list of contexts ``usable``.

    The border goes to the place nearest to ``cut`` where leaving out one context at most separates
    the documents; a document of many contexts moves it rather than being thrown away. Where
    documents are unknown, one context is left out.
    """
    import torch

    if documents is None:
        return cut, cut + 1
    first, last = documents[usable].T.contiguous()
    ends = torch.arange(1, len(usable))
    begins = torch.maximum(ends, torch.searchsorted(first, last[:-1], right=True))
    dropped = begins - ends
    possible = begins < len(usable)
    if not possible.any():
        return cut, len(usable)
    cost = (dropped - 1).clamp_min(0) * len(usable) + (ends - cut).abs()
    best = int(torch.where(possible, cost, cost.max() + 1).argmin())
    return int(ends[best]), int(begins[best])


def units(
    has_test: Tensor, *, independent_rows: bool, documents: Tensor | None = None
) -> tuple[Tensor, int, str]:
    """Resampling units of the contexts with test rows.

    Contexts that begin in the same document are one unit: they are no independent draws. Above
    ``MOST_UNITS`` units, neighbours are taken together in blocks.

    Args:
        has_test: [C] bool.
        independent_rows: whether a context is one row.
        documents: first and last document of each context [C, 2], where known.

    Returns:
        unit of each context [C] int64 (-1 for none), the number of units, and what one unit is.
    """
    import torch

    contexts = has_test.nonzero().squeeze(1)
    number, noun = torch.arange(len(contexts)), "row" if independent_rows else "context"
    if documents is not None and len(contexts):
        _, number = torch.unique_consecutive(documents[contexts, 0], return_inverse=True)
        noun = noun if int(number[-1]) + 1 == len(contexts) else "document"
    found = int(number[-1]) + 1 if len(contexts) else 0
    size = max(1, -(-found // MOST_UNITS))
    unit_of_context = torch.full(has_test.shape, -1, dtype=torch.int64)
    unit_of_context[contexts] = number // size
    name = noun if size == 1 else f"block of {size} {noun}s"
    return unit_of_context, -(-found // size), name
