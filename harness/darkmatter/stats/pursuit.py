"""Gradient pursuit: the codes that a dictionary allows, whatever an encoder makes of it.

For a row s [d], atoms D [F, d] and a target L0, the codes w >= 0 start at zero, and every step

    r = s - w D                        what is still missing
    j = argmax r Dᵀ                    the best atom, by sign: an active one may be chosen again
    g = r Dᵀ on the active atoms and j, zero elsewhere
    w = relu(w + (gD · r) / |gD|² g)   the best step along the gradient; what falls below zero leaves

after Blumensath and Davies ("Gradient Pursuits", 2008) with the non-negativity that Engels et al. add.
A row takes as many steps as its target, so it has at most so many codes, fewer where a step clamps or
repeats an atom.

Only the chosen atoms are kept, with their Gram matrix G and first products D s; on them r Dᵀ = Ds - Gw
and, since gD · r = |g|², the step is |g|² / gGg. What is left of the width is one float32 product a
step, which proposes j; whatever lies within its rounding error of the best is compared in float64. So
codes do not depend on how rows are batched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from darkmatter.sae.check import row_norms
from darkmatter.sae.codes import Codes
from darkmatter.sae.screen import above_rows

ROUND_OFF = 1e-13
"""A residual below this share of its row is rounding, and the row is finished."""

PRODUCT_ELEMENTS = 1 << 25
"""Inner products held at once (128 MiB)."""

SUPPORT_ELEMENTS = 1 << 22
"""Coordinates of chosen atoms held at once (32 MiB)."""

MIN_ROWS = 32
"""Rows worked on at once however large the dictionary: fewer make the product slow."""

EXACT_ELEMENTS = 1 << 21
"""Coordinates of contested atoms gathered at once (16 MiB each for atoms and rows)."""

_UNIT = 2.0**-24  # unit round-off of float32


def gradient_pursuit(
    signal: Tensor, dictionary: Tensor, target: Tensor | int, *, unit_rows: bool = True
) -> Codes:
    """Codes w >= 0 of rows signal [n, d], at most ``target`` [n] a row, so that w dictionary ≈ signal.

    Atoms are pursued at unit length and codes scaled back, so that rescaling a row of the dictionary
    [F, d] rescales its codes and changes nothing else; rows of length zero are no atoms. With
    ``unit_rows=False`` atoms are taken as they are, as the authors' script does, which prefers long
    ones; for a dictionary of unit rows both are the same. Values are float64.
    """
    atoms = _Atoms.of(dictionary, unit_rows=unit_rows)
    signal = signal.to(torch.float64)
    length = signal.norm(dim=1)
    steps = torch.as_tensor(target, device=signal.device).expand(len(signal))
    steps = torch.where(length > 0, steps, 0) * int(atoms.present)
    # Rows of equal target stand together, so that hardly any waits for others.
    order = torch.argsort(steps, descending=True, stable=True)
    order = order[: int((steps > 0).sum())]
    found = [_Entries(*(order.new_zeros(0), order.new_zeros(0), signal.new_zeros(0)))]
    while len(order):
        size = atoms.rows_at_once(int(steps[order[0]]))
        rows, order = order[:size], order[size:]
        batch = _Batch.start(signal[rows] / length[rows, None], int(steps[rows[0]]))
        place, index, value = batch.run(atoms, steps[rows])
        found.append(_Entries(rows[place], index, value * length[rows[place]] * atoms.scale[index]))
    row, index, value = (torch.cat(parts) for parts in zip(*found, strict=True))
    sort = torch.argsort(row * len(dictionary) + index)
    return Codes.from_entries(row[sort], index[sort], value[sort], len(dictionary), (len(signal),))


class _Entries(NamedTuple):
    """Row, latent and value of codes, [nnz] each."""

    row: Tensor
    latent: Tensor
    value: Tensor


@dataclass(frozen=True)
class _Atoms:
    """Atoms ``rows * scale``: [F, d] as they were given, [F] float64; none longer than ``longest``.

    ``weight`` are the rows in float32, ``absent`` the indices of rows that are no atoms.
    """

    rows: Tensor
    weight: Tensor
    scale: Tensor
    absent: Tensor
    longest: float

    @staticmethod
    def of(dictionary: Tensor, *, unit_rows: bool) -> _Atoms:
        norms = row_norms("the dictionary", dictionary.detach())
        scale = torch.where(norms > 0, 1 / norms, 0.0) if unit_rows else torch.ones_like(norms)
        longest = 1.0 if unit_rows else float(norms.amax()) if len(norms) else 0.0
        absent = (norms == 0).nonzero().squeeze(1)
        return _Atoms(dictionary.detach(), dictionary.detach().float(), scale, absent, longest)

    @property
    def present(self) -> bool:
        """Whether there is any."""
        return len(self.absent) < len(self.weight)

    def rows_at_once(self, steps: int) -> int:
        """How many rows with so many steps fit into memory."""
        width, d = self.weight.shape
        return max(MIN_ROWS, min(PRODUCT_ELEMENTS // width, SUPPORT_ELEMENTS // (steps * (d + steps))))

    def gather(self, index: Tensor) -> Tensor:
        """Atoms [n, d] float64."""
        return self.rows[index].to(torch.float64) * self.scale[index, None]

    def best(self, residual: Tensor) -> Tensor:
        """The atom [n] of largest inner product with each row [n, d]; of equal ones the first."""
        n, d = residual.shape
        products = residual.float() @ self.weight.T
        products *= self.scale.float()
        products[:, self.absent] = -torch.inf
        largest = products.amax(dim=1)
        # Of each of two products the rounding is below (d + 8) u |r| |atom| in any order of summing.
        error = 2 * (d + 8) * _UNIT * self.longest * residual.norm(dim=1)
        near = above_rows(products, (largest.double() - error).float()[:, None])
        row = torch.div(near, len(self.weight), rounding_mode="floor")
        index = near - row * len(self.weight)
        if len(near) == n:
            return index
        contested = (torch.bincount(row, minlength=n) > 1)[row]
        value = torch.zeros(len(near), dtype=torch.float64, device=near.device)
        for part in torch.split(contested.nonzero().squeeze(1), max(1, EXACT_ELEMENTS // d)):
            value[part] = (self.gather(index[part]) * residual[row[part]]).sum(dim=1)
        highest = torch.full_like(residual[:, 0], -torch.inf)
        highest.scatter_reduce_(0, row, value, "amax")
        first = torch.full_like(row[:n], len(self.weight))
        wins = value == highest[row]
        return first.scatter_reduce_(0, row[wins], index[wins], "amin")


@dataclass
class _Batch:
    """Rows of unit length on their way, those with most steps first; one slot [n, T] a step.

    A step that repeats an atom leaves its own slot empty: index -1, and zeros everywhere else.
    """

    signal: Tensor
    index: Tensor
    weight: Tensor
    atoms: Tensor
    gram: Tensor
    first: Tensor

    @staticmethod
    def start(signal: Tensor, steps: int) -> _Batch:
        n, d = signal.shape
        return _Batch(
            signal,
            torch.full((n, steps), -1, dtype=torch.int64, device=signal.device),
            signal.new_zeros(n, steps),
            signal.new_zeros(n, steps, d),
            signal.new_zeros(n, steps, steps),
            signal.new_zeros(n, steps),
        )

    def run(self, atoms: _Atoms, steps: Tensor) -> _Entries:
        """All steps; the codes by place in the batch."""
        for step in range(self.index.shape[1]):
            if not self._step(atoms, step, int((steps > step).sum())):
                break
        row, slot = self.weight.nonzero(as_tuple=True)
        return _Entries(row, self.index[row, slot], self.weight[row, slot])

    def _step(self, atoms: _Atoms, step: int, n: int) -> bool:
        """One step of the first n rows, the others have taken theirs; False if no row has any left."""
        here = slice(step + 1)
        weight, chosen = self.weight[:n, here], self.atoms[:n, here]
        residual = self.signal[:n] - _times(chosen.mT, weight)
        goes_on = residual.norm(dim=1) > ROUND_OFF
        if not bool(goes_on.any()):
            return False
        best = torch.full_like(self.index[:n, 0], -1)
        best[goes_on] = atoms.best(residual[goes_on])
        again = (self.index[:n, here] == best[:, None]) & goes_on[:, None]
        fresh = goes_on & ~again.any(dim=1)
        self.index[:n, step] = torch.where(fresh, best, -1)
        chosen[:, step] = atoms.gather(best) * fresh[:, None]
        column = _times(chosen, chosen[:, step])
        self.gram[:n, here, step] = self.gram[:n, step, here] = column
        self.first[:n, step] = (chosen[:, step] * self.signal[:n]).sum(dim=1)
        gram = self.gram[:n, here, here]
        gradient = self.first[:n, here] - _times(gram, weight)
        again[:, step] = fresh
        gradient = torch.where((weight != 0) | again, gradient, 0.0)
        curvature = (gradient * _times(gram, gradient)).sum(dim=1)
        moves = goes_on & (curvature > 0)
        size = torch.where(moves, gradient.square().sum(dim=1) / curvature, 0.0)
        weight[:] = torch.relu(weight + size[:, None] * gradient)
        return True


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """A matrix [n, a, b] times a vector [n, b] for each row."""
    return torch.bmm(matrix, vector[:, :, None])[:, :, 0]
