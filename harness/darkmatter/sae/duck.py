"""SAE objects of other libraries, by the names they share: ``encode``, ``decode``, ``cfg``, ``W_dec``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from darkmatter.errors import ItemError
from darkmatter.sae.base import SAE, SAEMetadata
from darkmatter.sae.opaque import OpaqueSAE

EXPECTED = (
    "expected callables encode(x [n, d_in]) -> [n, d_sae] and decode(codes) -> [n, d_out], and the sizes as "
    "cfg.d_in and cfg.d_sae, or as shapes of W_enc [d_in, d_sae] and W_dec [d_sae, d_out]; "
    "dm.SAE.from_functions(encode, decode, d_in=..., d_sae=...) takes any pair of functions"
)


def from_object(obj: Any) -> SAE:
    """Wrap an object of SAELens, SAEBench, dictionary_learning or anything shaped like them.

    Its ``forward`` reconstructs where it has one of its own, because skip connections live there and
    because a library may keep a row's normalisation from ``encode`` to ``decode``. The exception is a
    SAELens object with ``use_error_term``, whose forward returns x itself: there decode(encode(x))
    reconstructs. The object is called only on activations and is not changed (its train/eval mode
    included).

    Raises:
        ItemError: a callable or a size is missing.
    """
    if isinstance(obj, SAE):
        return obj
    _require_callables(obj)
    d_in, d_sae, d_out = _sizes(obj)
    decoder = _matrix(obj, "W_dec")
    assumptions = []
    if decoder is not None and decoder.shape != (d_sae, d_out):
        assumptions.append(f"W_dec of shape {list(decoder.shape)} is not [d_sae, d_out] and was left out.")
        decoder = None
    forward = _forward(obj)
    if forward is not None and getattr(obj, "use_error_term", False):
        assumptions.append("use_error_term is on, so forward(x) is x; decode(encode(x)) was taken instead.")
        forward = _chain(obj)
    # Without a forward, both calls are made together: decode may rely on what encode left behind.
    forward = forward or _chain(obj)
    heads = _reshapes_heads(obj)
    return OpaqueSAE(
        _adapted(obj.encode, obj, heads_in=heads),
        _adapted(obj.decode, obj, heads_out=heads),
        d_in=d_in,
        d_sae=d_sae,
        d_out=d_out,
        hook=_find(obj, "hook_name"),
        hook_out=_find(obj, "hook_name_out"),
        W_dec=decoder,
        reconstruct=_adapted(forward, obj, heads_in=heads, heads_out=heads),
        metadata=_metadata(obj),
        assumptions=tuple(assumptions),
        any_heads=heads,
    )


def _require_callables(obj: Any) -> None:
    """Raise an ItemError unless the object encodes and decodes."""
    for name in ("encode", "decode"):
        if not callable(getattr(obj, name, None)):
            message = f"{type(obj).__name__} has no callable {name!r}; {EXPECTED}."
            raise ItemError(message)


def _get(holder: Any, name: str) -> Any:
    """An attribute or, for mappings, a key; None where there is neither."""
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _find(obj: Any, name: str) -> Any:
    """``name`` in cfg.metadata, cfg, or the object itself, in that order."""
    config = _get(obj, "cfg")
    for holder in (_get(config, "metadata"), config, obj):
        value = _get(holder, name)
        if value is not None:
            return value
    return None


def _matrix(obj: Any, name: str) -> Tensor | None:
    value = getattr(obj, name, None)
    return value.detach() if isinstance(value, Tensor) and value.ndim == 2 else None


def _sizes(obj: Any) -> tuple[int, int, int]:
    """(d_in, d_sae, d_out) from the configuration, else from the matrices."""
    encoder, decoder = _matrix(obj, "W_enc"), _matrix(obj, "W_dec")
    d_in = _first(_find(obj, "d_in"), _find(obj, "activation_dim"))
    d_sae = _first(_find(obj, "d_sae"), _find(obj, "dict_size"))
    if d_in is None and encoder is not None:
        d_in = encoder.shape[0]
    if d_sae is None and (decoder is not None or encoder is not None):
        d_sae = decoder.shape[0] if decoder is not None else encoder.shape[1] if encoder is not None else None
    d_out = _first(_find(obj, "d_out"))
    if d_out is None and decoder is not None and decoder.shape[0] == d_sae:
        d_out = decoder.shape[1]
    d_in = d_in or d_out
    if d_in is None or d_sae is None:
        missing = " and ".join(name for name, size in (("d_in", d_in), ("d_sae", d_sae)) if size is None)
        message = f"{type(obj).__name__} does not say its {missing}; {EXPECTED}."
        raise ItemError(message)
    return d_in, d_sae, d_out or d_in


def _first(*values: Any) -> int | None:
    """The first value that is a number."""
    return next((int(value) for value in values if isinstance(value, int)), None)


def _forward(obj: Any) -> Callable[[Tensor], Any] | None:
    """The object's own forward, or None (every torch module has one that only raises)."""
    if isinstance(obj, torch.nn.Module):
        own = type(obj).forward is not torch.nn.Module.forward or "forward" in vars(obj)
        return obj if own else None
    forward = getattr(obj, "forward", None)
    return forward if callable(forward) else None


def _chain(obj: Any) -> Callable[[Tensor], Any]:
    return lambda x: obj.decode(obj.encode(x))


def _reshapes_heads(obj: Any) -> bool:
    """Whether the object takes [..., heads, d_head] and flattens it itself (SAELens hook_z)."""
    mode = getattr(obj, "hook_z_reshaping_mode", None)
    return _find(obj, "reshape_activations") == "hook_z" if mode is None else bool(mode)


def _adapted(
    function: Callable[[Tensor], Any], obj: Any, *, heads_in: bool = False, heads_out: bool = False
) -> Callable[[Tensor], Any]:
    """Call on the object's device; show rows [n, d] as [n, 1, d] to objects that flatten heads."""

    def call(x: Tensor) -> Any:
        device = _device(obj)
        x = x if device is None else x.to(device)
        out = function(x[:, None, :] if heads_in else x)
        out = getattr(out, "sae_out", out)
        return out.flatten(1) if heads_out and isinstance(out, Tensor) else out

    return call


def _device(obj: Any) -> torch.device | None:
    """Where the object's weights are."""
    for name in ("W_dec", "W_enc"):
        value = getattr(obj, name, None)
        if isinstance(value, Tensor):
            return value.device
    if isinstance(obj, torch.nn.Module):
        return next((parameter.device for parameter in obj.parameters()), None)
    return None


def _metadata(obj: Any) -> SAEMetadata:
    """What the object says of itself, in the names of SAELens."""
    architecture = _get(_get(obj, "cfg"), "architecture")
    architecture = architecture() if callable(architecture) else architecture
    context, bos, dtype = _find(obj, "context_size"), _find(obj, "prepend_bos"), _find(obj, "dtype")
    return SAEMetadata(
        format=f"object {type(obj).__module__}.{type(obj).__qualname__}",
        architecture=str(architecture or type(obj).__name__),
        model=_text(_find(obj, "model_name")),
        context_length=context if isinstance(context, int) else None,
        prepend_bos=bos if isinstance(bos, bool) else None,
        dataset=_text(_find(obj, "dataset_path")),
        dtype=None if dtype is None else str(dtype),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
