"""SAEs known only by what they do: two functions, or an object of another library."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from darkmatter.errors import ItemError
from darkmatter.sae.base import SAE, SAEMetadata
from darkmatter.sae.check import require_finite
from darkmatter.sae.codes import Codes
from darkmatter.sae.rows import as_rows


class OpaqueSAE(SAE):
    """Functions that encode [n, d_in] -> [n, d_sae] and decode [n, d_sae] -> [n, d_out].

    The functions see dense float32 copies of the rows they are asked about, on the rows' device, and
    nothing else: they are never probed, never called on zero rows, never two at a time. They give a
    dense tensor, or anything with ``to_dense()``, of any floating-point type.

    A decoder may depend on x beyond the codes (a skip connection, or statistics that the library
    keeps from its last ``encode`` to undo a normalisation). Then give ``reconstruct``: it is used
    for every reconstruction, and ``decode`` only where there are codes and no x. Without it,
    ``reconstruct(x)`` is ``decode(encode(x))`` without another call in between, and
    ``reconstruct_from(codes, x)`` is ``decode(codes)``.

    Args:
        encode: [n, d_in] -> [n, d_sae].
        decode: [n, d_sae] -> [n, d_out].
        d_in: input size.
        d_sae: number of latents.
        d_out: output size; d_in where None.
        hook: hook point read.
        hook_out: hook point predicted; ``hook`` where None.
        W_dec: decoder rows [d_sae, d_out], for evaluators that need them.
        reconstruct: [n, d_in] -> [n, d_out].
        metadata: what is known of it.
        assumptions: what was taken without being said.
        any_heads: also take [..., heads, d_head] with heads * d_head = d_in.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Any],
        decode: Callable[[Tensor], Any],
        *,
        d_in: int,
        d_sae: int,
        d_out: int | None = None,
        hook: str | None = None,
        hook_out: str | None = None,
        W_dec: Tensor | None = None,
        reconstruct: Callable[[Tensor], Any] | None = None,
        metadata: SAEMetadata | None = None,
        assumptions: tuple[str, ...] = (),
        any_heads: bool = False,
    ) -> None:
        self.d_in, self.d_sae, self.d_out = d_in, d_sae, d_out or d_in
        if min(self.d_in, self.d_sae, self.d_out) < 1:
            message = f"d_in, d_sae and d_out must be positive, not {(d_in, d_sae, d_out)}."
            raise ItemError(message)
        if W_dec is not None and W_dec.shape != (self.d_sae, self.d_out):
            message = f"W_dec must be [d_sae, d_out] = {[self.d_sae, self.d_out]}, not {list(W_dec.shape)}."
            raise ItemError(message)
        self.hook_in, self.hook_out = hook, hook_out or hook
        self.metadata = metadata or SAEMetadata(format="functions")
        self.assumptions, self.fingerprint = tuple(assumptions), None
        self._encode, self._decode, self._reconstruct = encode, decode, reconstruct
        self._W_dec = None if W_dec is None else W_dec.detach()
        self._any_heads = any_heads
        self._lock = threading.RLock()

    @property
    def W_dec(self) -> Tensor | None:  # noqa: N802 - the field's name for it
        """Decoder rows [d_sae, d_out], where they were given."""
        return self._W_dec

    def exclusive(self) -> AbstractContextManager[Any]:
        """No other worker calls the functions meanwhile: decode may rely on the last encode."""
        return self._lock

    def encode(self, x: Tensor) -> Codes:
        """Codes of x [..., d_in].

        Raises:
            ItemError: x has another last dimension, or what came back is not [n, d_sae] and finite.
        """
        rows = as_rows(x, self.d_in, heads=None, any_heads=self._any_heads, hook=self.hook_in)
        dense = self._call(self._encode, "encode", rows.x, self.d_sae, "d_sae")
        return Codes.from_dense(dense.reshape(*rows.batch_shape, self.d_sae))

    def decode(self, codes: Codes) -> Tensor:
        """x̂ [..., d_out] from codes alone.

        Raises:
            ItemError: what came back is not [n, d_out] and finite.
        """
        dense = codes.to_dense().reshape(codes.n_rows, codes.d_sae)
        out = self._call(self._decode, "decode", dense, self.d_out, "d_out")
        return out.reshape(*codes.batch_shape, self.d_out)

    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ of x's shape ([..., d_out] for a transcoder)."""
        if self._reconstruct is not None:
            return self._forward(x)
        with self._lock:
            return self.reconstruct_from(self.encode(x), x)

    def reconstruct_from(self, codes: Codes, x: Tensor) -> Tensor:
        """x̂ of x given its codes: ``reconstruct(x)`` where there is one, else ``decode(codes)``."""
        if self._reconstruct is not None:
            return self._forward(x)
        rows = as_rows(x, self.d_in, heads=None, any_heads=self._any_heads, hook=self.hook_in)
        return rows.restore(self.decode(codes).reshape(codes.n_rows, self.d_out))

    def _forward(self, x: Tensor) -> Tensor:
        assert self._reconstruct is not None
        rows = as_rows(x, self.d_in, heads=None, any_heads=self._any_heads, hook=self.hook_in)
        return rows.restore(self._call(self._reconstruct, "reconstruct", rows.x, self.d_out, "d_out"))

    @torch.no_grad()
    def _call(
        self, function: Callable[[Tensor], Any], name: str, rows: Tensor, size: int, what: str
    ) -> Tensor:
        """Call a user's function on a copy of the rows; float32 [n, size] on their device."""
        if rows.shape[0] == 0:
            return torch.zeros(0, size, device=rows.device)
        with self._lock:
            given = rows.detach().to(torch.float32, copy=True)
            out = function(given)
        if not isinstance(out, Tensor) or out.layout != torch.strided:
            to_dense = getattr(out, "to_dense", None)
            out = to_dense() if callable(to_dense) else out
        expected = f"a floating-point tensor [n, {what}] = {[rows.shape[0], size]}"
        if not isinstance(out, Tensor):
            message = f"The SAE's {name} function returned {type(out).__name__}; expected {expected}."
            raise ItemError(message)
        if tuple(out.shape) != (rows.shape[0], size) or not out.is_floating_point():
            message = (
                f"The SAE's {name} function returned {out.dtype} {list(out.shape)}; expected {expected}."
            )
            raise ItemError(message)
        if not bool(out.isfinite().all()):
            require_finite(rows)
            message = f"The SAE's {name} function returned NaN or infinite numbers for finite activations."
            raise ItemError(message)
        return out.detach().to(rows.device, torch.float32)
