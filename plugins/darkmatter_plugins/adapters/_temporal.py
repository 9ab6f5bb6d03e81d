"""Temporal SAEs: attention over the latents of earlier tokens predicts, sparse codes say what is new.

Formulas as in SAELens's TemporalSAE (arXiv 2511.01836).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from darkmatter import api

EPSILON = 1e-6
PARTS = ("k_ctx", "q_target", "v_ctx", "c_proj")


class Linear(NamedTuple):
    """weight [d_out, d_in] and bias [d_out], as nn.Linear keeps them."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class Form:
    """What is done with the weights."""

    heads: int
    k: int | None
    """The k largest novel codes of a token; None keeps all positive ones."""

    subtract: bool
    """Whether b_dec is subtracted from the input."""

    add: bool
    """Whether the decoder adds b_dec."""

    normalisation: api.Normalisation


class TemporalSAE(api.SAE):
    """An SAE of whole sequences x [..., L, d], of which only what is new at a token is in its codes.

    ========================================================= ==================
    x' = normalise(x) - b_dec                                 [..., L, d]
    z = relu(x' E / (4 d))                                    [..., L, d_sae]
    p = relu(attention(query z_t, keys z_0 ... z_{t-1}))      [..., L, d_sae]
    p = p (p D · x') / |p D|²;  x' = x' - p D                 once per layer
    f = topk(relu(x' E / (4 d)))                              the codes
    decode: undo normalisation of f D + b_dec                 what is new alone
    reconstruct: undo normalisation of (f + Σ p) D + b_dec    [..., L, d]
    ========================================================= ==================

    A row says nothing about the tokens before it, so rows [n, d] are refused.

    Args:
        W_enc: E [d_in, d_sae].
        W_dec: D [d_sae, d_in].
        b_dec: [d_in].
        layers: the attention layers, each with the four maps of ``PARTS``.
        form: what is done with them.
        hook: hook point read and predicted.
        metadata: what the file says of itself.
        assumptions: what it did not say and we took.
    """

    def __init__(
        self,
        W_enc: Tensor,
        W_dec: Tensor,
        b_dec: Tensor,
        layers: list[dict[str, Linear]],
        form: Form,
        *,
        hook: str | None,
        metadata: api.SAEMetadata,
        assumptions: tuple[api.Assumption, ...],
    ) -> None:
        self.d_sae, self.d_in = W_dec.shape
        self.d_out = self.d_in
        self.hook_in = self.hook_out = hook
        self.metadata, self.assumptions = metadata, assumptions
        self._E, self._D, self._b, self._layers, self._form = W_enc, W_dec, b_dec, layers, form
        codes = "relu" if form.k is None else f"the {form.k} largest of relu"
        undone = form.normalisation.said_undone("(f + p) W_dec" + (" + b_dec" if form.add else ""))
        self.formula = (
            f"x' = {form.normalisation.said()}{' - b_dec' if form.subtract else ''}; "
            "p = attention over the codes of earlier tokens; "
            f"f = {codes}((x' - p W_dec) W_enc / {4 * self.d_in}); x̂ = {undone}"
        )
        named = {
            f"layers.{index}.{part}.{name}": tensor
            for index, layer in enumerate(layers)
            for part, linear in layer.items()
            for name, tensor in linear._asdict().items()
        }
        rules = vars(form) | {"form": "temporal 1", "normalisation": form.normalisation.settings()}
        self.fingerprint = api.fingerprint(rules, named | {"W_enc": W_enc, "W_dec": W_dec, "b_dec": b_dec})

    @property
    def W_dec(self) -> Tensor:  # noqa: N802 - the field's name for it
        """Decoder rows [d_sae, d_in], of novel and predicted codes alike."""
        return self._D

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> TemporalSAE:
        """The same SAE on another device; it computes in float32 whatever the precision asked for."""
        del dtype
        if device is None:
            return self
        moved, weights = copy.copy(self), (tensor.to(device) for tensor in (self._E, self._D, self._b))
        vars(moved).update(zip(("_E", "_D", "_b"), weights, strict=True))
        moved._layers = [  # noqa: SLF001 - our own copy
            {part: Linear(*(tensor.to(device) for tensor in linear)) for part, linear in layer.items()}
            for layer in self._layers
        ]
        return moved

    @torch.no_grad()
    def encode(self, x: Tensor) -> api.Codes:
        """Novel codes of whole sequences x [..., L, d].

        Raises:
            ItemError: x are rows, of another width, or not finite.
        """
        normalised, scale, shift = self._prepared(x)
        rest, _ = self._predicted(normalised)
        dense = self._latents(rest)
        if self._form.k is not None:
            kept = dense.topk(self._form.k, dim=-1)
            dense = torch.zeros_like(dense).scatter_(-1, kept.indices, kept.values)
        codes = api.Codes.from_dense(dense.reshape(*x.shape[:-1], self.d_sae))
        if not self._form.normalisation.per_row:
            return codes
        return replace(codes, row_scale=scale, row_shift=shift)

    @torch.no_grad()
    def decode(self, codes: api.Codes) -> Tensor:
        """What is new at each token, [..., L, d], without what attention predicts."""
        dense = codes.to_dense().to(self._D.device).reshape(codes.n_rows, self.d_sae)
        return self._decoded(dense, codes.row_scale, codes.row_shift).reshape(*codes.batch_shape, self.d_out)

    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ of whole sequences x [..., L, d]: prediction and novelty."""
        return self.reconstruct_from(self.encode(x), x)

    @torch.no_grad()
    def reconstruct_from(self, codes: api.Codes, x: Tensor) -> Tensor:
        """x̂ of x given its novel codes; the prediction is found again."""
        normalised, scale, shift = self._prepared(x)
        _, predicted = self._predicted(normalised)
        dense = codes.to_dense().to(self._D.device).reshape(codes.n_rows, self.d_sae)
        return self._decoded(dense + predicted.reshape(-1, self.d_sae), scale, shift).reshape(x.shape)

    def _prepared(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Sequences [n, L, d], normalised and without the bias, and what undoes the normalisation."""
        if x.ndim < 3 or x.shape[-1] != self.d_in or not x.is_floating_point():
            message = (
                f"This SAE is temporal: it reads whole sequences [contexts, tokens, {self.d_in}], at least 3 "
                "dimensions, because what it predicts of a token comes from the tokens before it, so it "
                f"cannot be evaluated row by row; got {x.dtype} of shape {list(x.shape)}."
            )
            raise api.ItemError(message)
        rows = x.detach().reshape(-1, self.d_in).to(self._D.device, torch.float32)
        api.require_finite(rows)
        normalised, scale, shift = self._form.normalisation.apply(rows)
        normalised = normalised - self._b if self._form.subtract else normalised
        return normalised.reshape(-1, *x.shape[-2:]), scale, shift

    def _latents(self, x: Tensor) -> Tensor:
        """relu(x E / (4 d))."""
        return functional.relu((x * (1 / (4 * self.d_in))) @ self._E)

    def _predicted(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the prediction leaves of x [n, L, d], and the predicted codes [n, L, d_sae]."""
        codes = x.new_zeros(*x.shape[:-1], self.d_sae)
        for layer in self._layers:
            latents = self._latents(x)
            found = functional.relu(self._attention(layer, latents))
            direction = found @ self._D
            length = direction.norm(dim=-1, keepdim=True) + EPSILON
            scale = (direction * x).sum(dim=-1, keepdim=True) / length**2
            codes, x = codes + found * scale, x - direction * scale
        return x, codes

    def _attention(self, layer: dict[str, Linear], latents: Tensor) -> Tensor:
        """Attention of each token over the tokens before it (the first sees zeros)."""
        before = functional.pad(latents, (0, 0, 1, -1))
        key, query, value = layer["k_ctx"](before), layer["q_target"](latents), layer["v_ctx"](before)
        query, key, value = (self._split(part) for part in (query, key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return layer["c_proj"](mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[n, L, e] by heads: [n, heads, L, e / heads]."""
        return x.reshape(*x.shape[:-1], self._form.heads, -1).transpose(1, 2)

    def _decoded(self, dense: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        out = dense @ self._D
        out = out + self._b if self._form.add else out
        return self._form.normalisation.undo(out, scale, shift)


def attention_layers(
    weights: api.Weights, count: int, d_sae: int, bottleneck: int
) -> list[dict[str, Linear]]:
    """The layers under ``attn_layers``, their shapes checked."""
    sizes = dict.fromkeys(PARTS, d_sae) | {"k_ctx": d_sae // bottleneck, "q_target": d_sae // bottleneck}
    return [
        {
            part: Linear(
                weights.take(f"attn_layers.{index}.{part}.weight", size, d_sae),
                weights.take(f"attn_layers.{index}.{part}.bias", size),
            )
            for part, size in sizes.items()
        }
        for index in range(count)
    ]


def no_more_layers(weights: api.Weights, count: int, where: str) -> None:
    """Refuse layers that the configuration does not name."""
    more = sorted(name for name in weights if name.startswith(f"attn_layers.{count}."))
    if more:
        message = f"{weights.where}: has the tensor {more[0]!r}, but {where} has n_attn_layers {count}."
        raise api.SAEFileError(message)


def chosen_k(cfg: api.Fields, d_sae: int) -> int | None:
    """How many novel codes a token keeps; None for all positive ones."""
    kind = cfg.choice("sae_diff_type", {"topk": "the k largest", "relu": "all positive"}, default="topk")
    if kind == "relu" or "kval_topk" not in cfg:
        return None
    k = cfg.size("kval_topk")
    if k > d_sae:
        message = f"{cfg.where}: field 'kval_topk' is {k}; expected at most the {d_sae} latents."
        raise api.SAEFileError(message)
    return k


def attention_sizes(cfg: api.Fields, d_sae: int) -> tuple[int, int, int]:
    """(heads, layers, bottleneck), which divide the latents."""
    heads, layers = cfg.size("n_heads", 8), cfg.size("n_attn_layers", 1)
    bottleneck = cfg.size("bottleneck_factor", 64)
    if d_sae % (bottleneck * heads):
        message = (
            f"{cfg.where}: n_heads {heads} and bottleneck_factor {bottleneck} do not divide the {d_sae} "
            "latents; expected d_sae to be a multiple of their product."
        )
        raise api.SAEFileError(message)
    return heads, layers, bottleneck
