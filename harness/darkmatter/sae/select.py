"""Which codes are non-zero: one selection for all activations, tile by tile over the width.

Support must not depend on the batch: float32 kernels round differently by shape, so an entry whose
float32 key lies within its error bound (or 1e-5 relative) of a cutoff is decided by its float64
key, and ties of float64 keys go to the lowest index. Everything else is decided in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from darkmatter.sae.preactivations import PreActivations
from darkmatter.sae.screen import above_columns, above_rows

NEAR = 1e-5
"""Relative distance from a cutoff below which an entry is rechecked, besides the error bound."""

_FOLD = 8  # the first tile's k-th largest key is bounded through maxima of 8 entries each
_SLACK = 1.01  # screens are wider than the tests that follow them, for their own rounding


class Selection(NamedTuple):
    """Non-zero codes in order of (row, column): int64 [nnz], int64 [nnz], float32 [nnz]."""

    rows: Tensor
    columns: Tensor
    values: Tensor


class _Entries(NamedTuple):
    """Candidates: row, column, group (row-major over (row, group) of the block), float32 h."""

    rows: Tensor
    columns: Tensor
    groups: Tensor
    h: Tensor

    def keep(self, mask: Tensor) -> _Entries:
        kept = mask.nonzero().squeeze(1)
        return _Entries(*(part.index_select(0, kept) for part in self))


class _Block(NamedTuple):
    """Tiles that together cover whole groups: many groups in one tile, or one in many tiles."""

    tiles: list[slice]
    groups: int


def select(pre: PreActivations, tile: int) -> Selection:
    """The non-zero codes of a batch; at most about ``tile`` latents are held at once."""
    activation = pre.encoder.activation
    if pre.n == 0:
        none = torch.zeros(0, dtype=torch.int64, device=pre.x.device)
        return Selection(none, none, none.float())
    if activation.count is None:
        found = [_above_floor(pre, columns) for columns in _tiles(0, pre.encoder.d_sae, tile)]
    else:
        blocks = _blocks(pre.encoder.d_sae, activation.groups, tile)
        found = [_largest(pre, block, activation.count) for block in blocks]
    if len(found) == 1:
        return found[0]
    rows, columns, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.argsort(rows, stable=True)
    return Selection(*(part.index_select(0, order) for part in (rows, columns, values)))


def _tiles(start: int, stop: int, tile: int) -> list[slice]:
    return [slice(first, min(first + tile, stop)) for first in range(start, stop, tile)]


def _blocks(d_sae: int, groups: int, tile: int) -> Iterator[_Block]:
    """Cover the width with blocks of whole groups."""
    size = d_sae // groups
    if size > tile:
        for group in range(groups):
            yield _Block(_tiles(group * size, (group + 1) * size, tile), 1)
        return
    for columns in _tiles(0, d_sae, tile // size * size):
        yield _Block([columns], (columns.stop - columns.start) // size)


def _candidates(h: Tensor, flat: Tensor, start: int, groups: int) -> _Entries:
    """Entries of a tile h [n, T] at flat indices."""
    width = h.shape[1]
    rows = torch.div(flat, width, rounding_mode="floor")
    columns = flat - rows * width + start
    group = rows if groups == 1 else torch.div(flat, width // groups, rounding_mode="floor")
    return _Entries(rows, columns, group, h.view(-1).index_select(0, flat))


def _wide(key: Tensor) -> torch.dtype:
    """The precision for screens: that of the key, float32 at least."""
    return torch.promote_types(key.dtype, torch.float32)


def _above_floor(pre: PreActivations, columns: slice) -> Selection:
    """Entries of one tile whose key exceeds the floor."""
    h = pre.tile(columns)
    key = pre.encoder.key(h, columns)
    floor = pre.encoder.activation.floor(columns)
    near = NEAR * floor.abs().clamp_max(torch.finfo(torch.float64).max)
    low = floor - _SLACK * (near + pre.error_of_columns(columns))
    if floor.ndim == 0:
        flat = above_rows(key, low.min().to(_wide(key)))
    else:
        flat = above_columns(key, low.to(_wide(key)), pre.scratch(key))
    return _settle(pre, _candidates(h, flat, columns.start, 1), None)


def _settle(pre: PreActivations, entries: _Entries, undecided: Tensor | None) -> Selection:
    """Apply the floor; recheck what is near it and what is ``undecided`` by rank (see ``_rank``)."""
    encoder, (rows, columns, groups, h) = pre.encoder, entries
    activation = encoder.activation
    key, values = encoder.key(h, columns).double(), activation.value(h, columns).float()
    floor = activation.floor(columns)
    recheck = (key - floor).abs() <= pre.error(rows, columns) + NEAR * floor.abs()
    if undecided is not None:
        recheck |= undecided
    near = recheck.nonzero().squeeze(1)
    if pre.rechecks and near.numel():
        exact = pre.exact(rows[near], columns[near])
        key[near] = encoder.key(exact, columns[near])
        values[near] = activation.value(exact, columns[near]).float()
    kept = (key > floor) & (values != 0)
    if undecided is not None and activation.count is not None and bool(undecided.any()):
        kept &= _rank(key, groups, undecided, activation.count)
    place = kept.nonzero().squeeze(1)
    return Selection(*(part.index_select(0, place) for part in (rows, columns, values)))


def _rank(key: Tensor, groups: Tensor, undecided: Tensor, count: int) -> Tensor:
    """Keep all decided entries, and undecided ones by key, lowest index first, up to the count.

    Entries of a group stand in order of their index.
    """
    contested = undecided.nonzero().squeeze(1)
    n_groups = int(groups.max()) + 1
    sure = torch.bincount(groups[~undecided], minlength=n_groups)
    order = contested[torch.argsort(key[contested], descending=True, stable=True)]
    order = order[torch.argsort(groups[order], stable=True)]
    group = groups[order]
    position = _positions(group, n_groups)
    kept = ~undecided
    kept[order] = position < (count - sure[group])
    return kept


def _positions(groups: Tensor, n_groups: int) -> Tensor:
    """Place of each entry within its group, for entries sorted by group."""
    counts = torch.bincount(groups, minlength=n_groups)
    starts = counts.cumsum(0) - counts
    return torch.arange(groups.numel(), device=groups.device) - starts.index_select(0, groups)


def _padded(values: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Entries sorted by group as a table [n_groups, most entries of a group], padded with -inf."""
    place = _positions(groups, n_groups)
    width = int(place.max()) + 1 if place.numel() else 0
    table = values.new_full((n_groups, width), -torch.inf)
    table[groups, place] = values
    return table


def _largest(pre: PreActivations, block: _Block, count: int) -> Selection:
    """Entries among the ``count`` largest keys of each (row, group) of a block.

    ``bound`` [rows x groups] never exceeds the true ``count``-th largest key: what cannot reach it is
    dropped tile by tile, so what is held stays near ``count`` (1 + 1/2 + 1/3 + ...) entries a row.
    """
    n_groups = pre.n * block.groups
    errors = pre.error_of_rows().repeat_interleave(block.groups)
    floor = float(pre.encoder.activation.floor(block.tiles[0]).max())
    best = errors.new_empty(n_groups, 0)
    bound = torch.full_like(errors, -torch.inf)
    found: list[_Entries] = []
    for columns in block.tiles:
        h = pre.tile(columns)
        key = pre.encoder.key(h, columns).view(n_groups, -1)
        if columns is block.tiles[0]:
            bound = _first_bound(key, count, errors)
        finite = bound.clamp_min(torch.finfo(torch.float64).min)
        low = (finite - _SLACK * (errors + NEAR * finite.abs())).clamp_min(floor)
        low = torch.minimum(low, low - _SLACK * errors)
        flat = above_rows(key, low.to(_wide(key))[:, None])
        entries = _candidates(h, flat, columns.start, block.groups)
        lower, upper = _interval(pre, entries)
        reaches = (upper >= bound.index_select(0, entries.groups)) & (upper > floor)
        entries, lower = entries.keep(reaches), lower[reaches]
        found.append(entries)
        best = torch.cat([best, _padded(lower, entries.groups, n_groups)], 1)
        if best.shape[1] >= count:
            best = best.topk(count, dim=1).values
            bound = torch.maximum(bound, best[:, -1])
    return _finish(pre, _joined(found), bound, count)


def _first_bound(key: Tensor, count: int, errors: Tensor) -> Tensor:
    """A lower bound of the ``count``-th largest key of each row of ``key``, from one tile.

    The k-th largest of maxima over disjoint sets is one, and costs an eighth of a full selection.
    """
    if key.shape[1] < count or key.shape[0] == 0:
        return torch.full_like(errors, -torch.inf)
    folded = key.shape[1] // _FOLD
    if folded >= 4 * count:
        key = key[:, : folded * _FOLD].reshape(-1, _FOLD, folded).amax(1)
    kth = key.topk(count, dim=1).values[:, -1].double()
    return kth - _SLACK * (errors + NEAR * kth.abs())


def _interval(pre: PreActivations, entries: _Entries) -> tuple[Tensor, Tensor]:
    """Float64 [m] below and above which the true keys cannot lie."""
    key = pre.encoder.key(entries.h, entries.columns).double()
    if not pre.rechecks:
        return key, key
    error = pre.error(entries.rows, entries.columns) + NEAR / 2 * key.abs()
    return key - error, key + error


def _joined(found: list[_Entries]) -> _Entries:
    """All tiles' entries in order of (row, group, column)."""
    if len(found) == 1:
        return found[0]
    rows, columns, groups, h = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.argsort(groups, stable=True)
    return _Entries(*(part.index_select(0, order) for part in (rows, columns, groups, h)))


def _finish(pre: PreActivations, entries: _Entries, bound: Tensor, count: int) -> Selection:
    """Settle the candidates of a block: surely in, or to be ranked in float64."""
    lower, upper = _interval(pre, entries)
    reaches = upper >= bound.index_select(0, entries.groups)
    entries, lower, upper = entries.keep(reaches), lower[reaches], upper[reaches]
    sizes = torch.bincount(entries.groups, minlength=bound.numel())
    crowded = (sizes > count)[entries.groups]
    if not bool(crowded.any()):
        return _settle(pre, entries, None)
    place = (sizes > count).cumsum(0) - 1
    dense, n_crowded = place[entries.groups[crowded]], int(place[-1]) + 1
    next_best = _padded(upper[crowded], dense, n_crowded).topk(count + 1, dim=1).values[:, -1]
    undecided = crowded.clone()
    undecided[crowded] = lower[crowded] <= next_best[dense]
    return _settle(pre, entries, undecided)
