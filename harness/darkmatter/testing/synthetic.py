"""Small activations and SAEs about which everything is known, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from darkmatter.activations import RAW_HOOK, ActivationStore, Shard
from darkmatter.raw_activations import tensor_activations
from darkmatter.sae.activation import AbsTopK, Relu, TopK
from darkmatter.sae.base import SAE, SAEMetadata
from darkmatter.sae.canonical import CanonicalSAE
from darkmatter.sae.codes import Codes
from darkmatter.sae.encode_only import EncodeOnlySAE

D = 8
"""Features of the synthetic activations."""

LATENTS = 20
VOCABULARY = 11


def synthetic_activations(
    contexts: int = 36, positions: int = 12, d: int = D, *, seed: int = 0
) -> dict[str, Tensor]:
    """Activations with a planted structure, and everything that may come with them.

    x [contexts, positions, d] is a mean, plus a few of ``2 d`` directions a row, plus noise; one
    direction belongs to the label. Returns x, tokens, loss, labels, and y (a transcoder's target
    [..., 5]), all drawn from ``seed``.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    shape = (contexts, positions)
    directions = torch.nn.functional.normalize(normal(2 * d, d), dim=1)
    strength = torch.rand(*shape, 2 * d, generator=generator)
    active = torch.rand(*shape, 2 * d, generator=generator) < 3 / (2 * d)
    labels = active[..., 0].long()
    x = normal(d) + 3 * (strength * active) @ directions + 0.1 * normal(*shape, d)
    tokens = torch.randint(VOCABULARY, shape, generator=generator)
    loss = x.square().mean(dim=-1) + 0.1 * torch.rand(*shape, generator=generator)
    y = torch.relu(x @ normal(d, 5))
    return {"x": x, "tokens": tokens, "loss": loss, "labels": labels, "y": y}


def synthetic_saes(x: Tensor, *, seed: int = 0) -> dict[str, SAE]:
    """SAEs [d] -> [d] of every kind that an evaluator meets, for activations x [..., d].

    ``relu`` and ``topk`` are ordinary; ``dead_latent`` has one latent that never fires and ``dead``
    none that ever does; ``identity`` misses nothing, ``pca`` is of low rank, ``shrunk`` gives half
    of what it should, ``no_latents`` has d_sae = 0, ``functions`` is opaque (no decoder matrix),
    ``codes_alone`` does not reconstruct (evaluators that need it declare Requirement.RECONSTRUCTION).
    """
    d = x.shape[-1]
    mean = x.reshape(-1, d).mean(dim=0)
    generator = torch.Generator().manual_seed(seed)
    W_dec = torch.nn.functional.normalize(torch.randn(LATENTS, d, generator=generator), dim=1)
    bias = torch.full((LATENTS,), -0.3)
    off, all_off = bias.clone(), torch.full((LATENTS,), -1e6)
    off[0] = -1e6
    _, basis = torch.linalg.eigh((x.reshape(-1, d) - mean).double().T.cov())
    basis = basis.float()[:, d // 2 :]

    def relu(b_enc: Tensor, decoder: Tensor = W_dec) -> CanonicalSAE:
        return CanonicalSAE(
            W_enc=W_dec.T, W_dec=decoder, b_enc=b_enc, b_dec=mean, subtract=mean, activation=Relu()
        )

    return {
        "relu": relu(bias),
        "topk": CanonicalSAE(W_enc=W_dec.T, W_dec=W_dec, b_dec=mean, subtract=mean, activation=TopK(3)),
        "dead_latent": relu(off),
        "dead": relu(all_off),
        "identity": CanonicalSAE(W_enc=torch.eye(d), W_dec=torch.eye(d), activation=AbsTopK(d)),
        "pca": CanonicalSAE(
            W_enc=basis, W_dec=basis.T, b_dec=mean, subtract=mean, activation=AbsTopK(basis.shape[1])
        ),
        "shrunk": relu(bias, W_dec / 2),
        "no_latents": NoLatents(mean),
        "functions": SAE.from_functions(
            lambda rows: torch.relu(rows @ W_dec.T - 0.3), lambda codes: codes @ W_dec, d_in=d, d_sae=LATENTS
        ),
        "codes_alone": EncodeOnlySAE(
            W_enc=W_dec.T, b_enc=bias, activation=Relu(), reason="It is an encoder without a decoder."
        ),
    }


def synthetic_transcoder(x: Tensor, y: Tensor, *, seed: int = 0) -> SAE:
    """A transcoder of random weights from x [..., d] to y [..., d_out]."""
    generator = torch.Generator().manual_seed(seed)
    W_enc = torch.randn(x.shape[-1], LATENTS, generator=generator)
    W_dec = torch.randn(LATENTS, y.shape[-1], generator=generator) / LATENTS
    return CanonicalSAE(W_enc=W_enc, W_dec=W_dec, activation=TopK(4))


class NoLatents(SAE):
    """A dictionary without latents: every row gives the same vector [d]."""

    def __init__(self, value: Tensor) -> None:
        self.d_in = self.d_out = len(value)
        self.d_sae = 0
        self.hook_in = self.hook_out = None
        self.metadata, self.assumptions = SAEMetadata(format="synthetic"), ()
        self.fingerprint = f"no_latents:{value.tolist()}"
        self._value = value

    def encode(self, x: Tensor) -> Codes:
        """No codes."""
        return Codes.from_dense(x.new_zeros(*x.shape[:-1], 0))

    def decode(self, codes: Codes) -> Tensor:
        """The vector for every row."""
        return self._value.expand(*codes.batch_shape, -1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The vector for every row."""
        return self.decode(self.encode(x))


class SmallShards:
    """A store cut into shards of a few contexts, so that small data have several."""

    def __init__(self, inner: ActivationStore, contexts: int) -> None:
        self._inner, self._contexts = inner, contexts

    def shards(self) -> list[Shard]:
        """Shards of the chosen size."""
        n, size = self._inner.n_contexts, self._contexts
        starts = range(0, n, size)
        return [Shard(index, start, min(start + size, n)) for index, start in enumerate(starts)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class AtHooks:
    """A store of the same tokens at several hook points; tokens are numbered, so that each is known.

    Args:
        x: activations [contexts, positions, d] by hook point; d may differ.
        skip: positions left out by default at the start and at the end of a context.
    """

    def __init__(self, x: Mapping[str, Tensor], *, skip: int = 0) -> None:
        shape = next(iter(x.values())).shape[:2]
        tokens = torch.arange(shape.numel()).view(shape)
        self._stores = {hook: tensor_activations(each, tokens=tokens) for hook, each in x.items()}
        self.hooks = tuple(x)
        self.key = " ".join(store.key for store in self._stores.values())
        self.default_skip_first = self.default_skip_last = skip

    def dim(self, hook: str) -> int:
        """Features per row."""
        return self._stores[hook].dim(RAW_HOOK)

    def read(self, hook: str, start: int, stop: int) -> Tensor:
        """Rows of contexts ``start:stop`` [contexts, positions, d]."""
        return self._stores[hook].read(RAW_HOOK, start, stop)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stores[self.hooks[0]], name)


def synthetic_store(tensors: dict[str, Tensor], *, shards: int = 5) -> ActivationStore:
    """The tensors of ``synthetic_activations`` (or some of them) as a store with several shards."""
    others = {name: tensor for name, tensor in tensors.items() if name != "x"}
    store = tensor_activations(tensors["x"], **others)
    return cast("ActivationStore", SmallShards(store, max(1, store.n_contexts // shards)))
