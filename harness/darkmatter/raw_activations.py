"""Activations that come without a model: tensors in memory, or a safetensors file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from darkmatter.activations import RAW_HOOK, TARGET_HOOK, Shard
from darkmatter.errors import UsageError, did_you_mean, near_files
from darkmatter.files.atomic import content_hash
from darkmatter.files.tensors import TensorFileError, map_tensors
from darkmatter.shards import cut_shards

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_FLOATS = ("float32", "float64", "float16", "bfloat16")
_INTEGERS = ("int64", "int32", "int16", "int8", "uint8")
_DTYPES = {
    "x": _FLOATS,
    "y": _FLOATS,
    "tokens": _INTEGERS,
    "loss": _FLOATS,
    "labels": (*_INTEGERS, "bool", *_FLOATS),
    "mask": ("bool", "uint8"),
}
_MEANING = (
    "x [contexts, positions, d] or [n, d]; tokens, loss, labels, mask [contexts, positions] or [n]; y like x"
)


class Array(Protocol):
    """A tensor of which rows can be had without reading the rest."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...

    @property
    def dtype(self) -> str:
        """Torch's name of its dtype."""
        ...

    @property
    def bytes(self) -> np.ndarray:
        """Its raw bytes [bytes] uint8."""
        ...

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows of the first dimension."""
        ...


class _InMemory:
    """An ``Array`` over a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor.detach()
        self.shape = tuple(tensor.shape)
        self.dtype = str(tensor.dtype).removeprefix("torch.")

    @property
    def bytes(self) -> np.ndarray:
        import torch

        flat: np.ndarray = self._tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy()
        return flat

    def rows(self, start: int, stop: int) -> Tensor:
        return self._tensor[start:stop].cpu()


class RawActivations:
    """An ``ActivationStore`` without a model: every row counts, contexts are in no random order.

    The key is a hash of all numbers, so the same numbers in a file and in memory are the same.
    """

    default_skip_first = 0
    default_skip_last = 0
    shuffled = False
    has_model = False

    def __init__(self, arrays: Mapping[str, Array], source: str) -> None:
        _check(arrays, source)
        self._arrays = dict(arrays)
        x = arrays["x"]
        self.independent_rows = len(x.shape) == 2
        self.n_contexts = x.shape[0]
        self.n_positions = 1 if self.independent_rows else x.shape[1]
        self.hooks: tuple[str, ...] = (RAW_HOOK, TARGET_HOOK) if "y" in arrays else (RAW_HOOK,)
        shapes = {name: [array.dtype, *array.shape] for name, array in sorted(arrays.items())}
        hashes = [content_hash(arrays[name].bytes.data) for name in shapes]
        self.key = content_hash("raw activations", shapes, hashes)
        self.description: dict[str, Any] = {
            "kind": "raw",
            "key": self.key,
            "source": source,
            "tensors": shapes,
        }
        if x.dtype == "float64":
            self.description["note"] = "x is float64 and is read as float32, in which SAEs encode"

    def model(self) -> None:
        """None: where raw activations come from is not known."""

    def tokenizer(self) -> None:
        """None: nor is what their tokens mean."""

    def shards(self) -> list[Shard]:
        """All shards in order."""
        return cut_shards(self.n_contexts, self.n_positions)

    def _array(self, hook: str) -> Array:
        if hook not in self.hooks:
            message = f"Raw activations have no hook point {hook!r}. {did_you_mean(hook, self.hooks)}"
            raise UsageError(message)
        return self._arrays["x" if hook == RAW_HOOK else "y"]

    def dim(self, hook: str) -> int:
        """Features per row."""
        return self._array(hook).shape[-1]

    def read(self, hook: str, start: int, stop: int) -> Tensor:
        """Rows of contexts ``start:stop`` [contexts, P, d] float32; a view where they are float32."""
        rows = self._array(hook).rows(start, stop).float()
        return rows.unsqueeze(1) if self.independent_rows else rows

    def _side(self, name: str, start: int = 0, stop: int | None = None) -> Tensor | None:
        """One value per row [C, P]; values per context are repeated over its positions."""
        array = self._arrays.get(name)
        if array is None:
            return None
        values = array.rows(start, self.n_contexts if stop is None else stop)
        if values.ndim == 1:
            values = values.unsqueeze(1).expand(-1, self.n_positions)
        return values

    def tokens(self, start: int = 0, stop: int | None = None) -> Tensor | None:
        """Token ids [C, P] int64, or None."""
        tokens = self._side("tokens", start, stop)
        return None if tokens is None else tokens.long()

    def loss(self, start: int = 0, stop: int | None = None) -> Tensor | None:
        """Losses [C, P] float32, or None."""
        loss = self._side("loss", start, stop)
        return None if loss is None else loss.float()

    def mask(self) -> Tensor | None:
        """True where a row counts [C, P], or None where every row does."""
        mask = self._side("mask")
        return None if mask is None else mask.bool()

    def labels(self, start: int = 0, stop: int | None = None) -> Tensor | None:
        """Labels [C, P]: int64, or float32 where they are no integers; or None."""
        labels = self._side("labels", start, stop)
        if labels is None:
            return None
        return labels.float() if labels.is_floating_point() else labels.long()

    def documents(self) -> Tensor | None:
        """Raw activations know no documents."""
        return None


def tensor_activations(x: Any, **others: Any) -> RawActivations:
    """Activations from tensors (or arrays) in memory; nothing is copied.

    Args:
        x: [contexts, positions, d], or [n, d]: then every row is its own context.
        others: ``tokens``, ``loss``, ``labels``, ``mask`` [contexts, positions] (or [contexts]) and
            ``y`` [contexts, positions, d_out], a transcoder's target; None where there is none.
    """
    import torch

    arrays = {}
    for name, value in {"x": x, **others}.items():
        if value is None:
            continue
        try:
            with warnings.catch_warnings():
                # A read-only array is fine: nothing here writes.
                warnings.filterwarnings("ignore", message=".*not writable.*")
                arrays[name] = _InMemory(torch.as_tensor(value))
        except (TypeError, ValueError, RuntimeError) as error:
            message = f"activations: {name!r} cannot be read as a tensor: {error}. Expected {_MEANING}."
            raise UsageError(message) from error
    return RawActivations(arrays, "memory")


def open_activations_file(path: Path) -> RawActivations:
    """Activations from a safetensors file, memory-mapped: only what is read costs memory."""
    if not path.is_file():
        raise UsageError(_no_file(path))
    if path.suffix != ".safetensors":
        message = (
            f"{path}: activations are read from .safetensors files alone. Save yours with "
            f"safetensors.torch.save_file({{'x': x}}, 'activations.safetensors'). Expected {_MEANING}."
        )
        raise UsageError(message)
    try:
        arrays = map_tensors(path)
    except TensorFileError as error:
        raise UsageError(str(error)) from error
    return RawActivations(arrays, str(path))


def _no_file(path: Path) -> str:
    """What stands at ``path`` instead of an activations file, and the nearest files."""
    if path.is_dir():
        inside = [entry.name for entry in path.glob("*.safetensors")][:200]
        files = did_you_mean("activations.safetensors", inside) if inside else f"Expected {_MEANING}."
        return f"{path} is a folder; activations are one .safetensors file. {files}"
    siblings = path.parent.iterdir() if path.parent.is_dir() else ()
    names = [entry.name for entry in siblings if entry.name != path.name and entry.is_file()]
    return f"There is no activations file {path}. {near_files(path.name, names)}".strip()


def _check(arrays: Mapping[str, Array], source: str) -> None:
    """Names, dtypes and shapes, before anything is read."""
    unknown = sorted(set(arrays) - set(_DTYPES))
    if unknown or "x" not in arrays:
        wrong = f"unknown tensor {unknown[0]!r}" if unknown else "no tensor 'x'"
        message = (
            f"{source}: {wrong} (there are: {', '.join(sorted(arrays)) or 'none'}). Expected {_MEANING}."
        )
        raise UsageError(message)
    x = arrays["x"]
    if len(x.shape) not in (2, 3) or 0 in x.shape:
        message = (
            f"{source}: x has shape {list(x.shape)}. Expected [contexts, positions, d] or [n, d], not empty."
        )
        raise UsageError(message)
    leading = x.shape[:-1]
    for name, array in arrays.items():
        if array.dtype not in _DTYPES[name]:
            allowed = ", ".join(_DTYPES[name])
            message = f"{source}: {name!r} has dtype {array.dtype}. Expected one of {allowed}."
            raise UsageError(message)
        rows = array.shape[:-1] if name in ("x", "y") else array.shape
        if rows != leading and (name in ("x", "y") or rows != leading[:1]):
            shapes = f"{name!r} has shape {list(array.shape)}, but x has {list(x.shape)}"
            message = f"{source}: {shapes}. Expected {_MEANING}."
            raise UsageError(message)
        if 0 in array.shape:
            message = f"{source}: {name!r} is empty: {list(array.shape)}."
            raise UsageError(message)
