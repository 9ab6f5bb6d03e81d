"""Matching pursuit as SAELens encodes it: the best atom is taken from the residual, again and again."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from darkmatter import api


@dataclass(frozen=True)
class Stop:
    """When to stop adding atoms to a row."""

    residual: float
    """The residual's norm is below this (0: never asked)."""

    iterations: int
    on_repeat: bool
    """The last step added no new atom."""


class MatchingPursuitSAE(api.OpaqueSAE):
    """Codes by greedy pursuit over unit or nearly unit decoder rows; no encoder matrix.

    It is opaque to the harness, because its codes follow from no affine encoder; unlike a user's
    functions it has a fingerprint.
    """

    def __init__(
        self,
        W_dec: Tensor,
        bias: Tensor | None,
        stop: Stop,
        normalisation: api.Normalisation,
        *,
        hook: str | None,
        metadata: api.SAEMetadata,
        assumptions: tuple[str, ...],
        any_heads: bool,
    ) -> None:
        self._atoms, self._bias, self._stop, self._normalisation = W_dec, bias, stop, normalisation
        decoded = "f W_dec" + (" + b_dec" if bias is not None else "")
        pursuit = (
            f"f = matching pursuit of x' over the rows of W_dec, at most {stop.iterations} steps, "
            f"until the residual is below {stop.residual:g}"
        )
        self.formula = "; ".join(
            [
                f"x' = {normalisation.said()}{'' if bias is None else ' - b_dec'}",
                pursuit,
                f"x̂ = {normalisation.said_undone(decoded)}",
            ]
        )
        super().__init__(
            self._pursue,
            lambda codes: self._undo(codes, None, None),
            d_in=W_dec.shape[1],
            d_sae=W_dec.shape[0],
            hook=hook,
            W_dec=W_dec,
            reconstruct=self._whole,
            metadata=metadata,
            assumptions=assumptions,
            any_heads=any_heads,
        )
        semantics = {"form": "matching pursuit 1", **asdict(stop), "normalisation": asdict(normalisation)}
        weights = {"W_dec": W_dec} | ({} if bias is None else {"bias": bias})
        self.fingerprint = api.fingerprint(semantics, weights)

    def _pursue(self, x: Tensor) -> Tensor:
        """Codes [n, d_sae] of rows x [n, d_in]."""
        atoms = self._atoms.to(x)
        residual = self._normalisation.apply(x).x
        residual = residual if self._bias is None else residual - self._bias.to(x)
        codes = x.new_zeros(x.shape[0], atoms.shape[0])
        done = torch.zeros(x.shape[0], dtype=torch.bool, device=x.device)
        for _ in range(self._stop.iterations):
            best = (residual @ atoms.T).relu().argmax(dim=1)
            chosen = atoms[best]
            values = (residual * chosen).sum(-1).relu() * ~done
            before = codes != 0
            codes[torch.arange(len(best), device=x.device), best] += values
            residual = residual - values[:, None] * chosen
            if self._stop.on_repeat:
                done |= ((codes != 0) == before).all(dim=1)
            if self._stop.residual > 0:
                done |= residual.norm(dim=-1) < self._stop.residual
            if bool(done.all()):
                break
        return codes

    def _undo(self, codes: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        out = codes @ self._atoms.to(codes)
        out = out if self._bias is None else out + self._bias.to(codes)
        return self._normalisation.undo(out, scale, shift)

    def _whole(self, x: Tensor) -> Tensor:
        normalised = self._normalisation.apply(x)
        return self._undo(self._pursue(x), normalised.scale, normalised.shift)
