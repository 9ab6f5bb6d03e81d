"""Tensors taken from a file by name, with shape and values checked at the door."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from darkmatter.errors import SAEFileError, did_you_mean


class Weights(Mapping[str, Tensor]):
    """The tensors of one file.

    ``take`` gives float32, or float64 where the file has it: a half-precision file is evaluated in
    float32, as the libraries that write them do when asked for float32.
    """

    def __init__(self, tensors: Mapping[str, Tensor], where: str) -> None:
        self._tensors = dict(tensors)
        self._measured: list[str] = []
        self.where = where

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def take(self, name: str, *shape: int | None, infinite: bool = False) -> Tensor:
        """A tensor of the expected shape (None: any size) whose numbers are all finite.

        ``infinite`` accepts infinities: a threshold of +inf switches a latent off. A shape that does
        not fit is complained of with the tensors whose sizes were read before: one of them may be wrong.
        """
        tensor = self._tensors.get(name)
        if tensor is None:
            message = f"{self.where}: has no tensor {name!r}; expected one of shape {_sizes(shape)}. "
            raise SAEFileError(message + did_you_mean(name, self))
        if tensor.ndim != len(shape) or any(
            want is not None and size != want for size, want in zip(tensor.shape, shape, strict=True)
        ):
            found, expected = _sizes(tensor.shape), _sizes(shape)
            message = (
                f"{self.where}: tensor {name!r} has shape {found}; expected {expected}{self._measures()}."
            )
            raise SAEFileError(message)
        if 0 in tensor.shape:
            message = f"{self.where}: tensor {name!r} is empty."
            raise SAEFileError(message)
        if tensor.ndim and not tensor.is_floating_point():
            message = f"{self.where}: tensor {name!r} holds {tensor.dtype}; expected floating-point numbers."
            raise SAEFileError(message)
        if None in shape:
            self._measured.append(name)
        return self._finite(name, tensor, infinite=infinite)

    def maybe(self, name: str, *shape: int | None) -> Tensor | None:
        """Like ``take``, but None where the file has no such tensor."""
        return self.take(name, *shape) if name in self._tensors else None

    def encoder(self, name: str, d_in: int, d_sae: int, stored: str | None = None) -> Tensor:
        """An encoder matrix as [d_in, d_sae], of a format in which both orientations occur.

        ``stored`` is the user's word for it ("d_in,d_sae" or "d_sae,d_in"); without it the shape
        decides, and a square matrix is refused.
        """
        if stored is None and d_in == d_sae and name in self._tensors:
            message = (
                f"{self.where}: tensor {name!r} is square ([{d_in}, {d_sae}]), so its shape does not tell "
                "whether it is stored [d_in, d_sae] or [d_sae, d_in], and this format occurs in both. "
                "Say which: --override orientation=d_in,d_sae or --override orientation=d_sae,d_in."
            )
            raise SAEFileError(message)
        tensor = self._tensors.get(name)
        upright = stored == "d_in,d_sae" or (
            stored is None and (tensor is None or tensor.shape == (d_in, d_sae))
        )
        return self.take(name, d_in, d_sae) if upright else self.take(name, d_sae, d_in).T

    def number(self, name: str) -> float:
        """A tensor that holds a single number, of any shape; an integer as well."""
        tensor = self._tensors.get(name)
        if tensor is not None and tensor.numel() == 1:
            return self._finite(name, tensor.double(), infinite=False).item()
        message = f"{self.where}: expected a tensor {name!r} with a single number."
        raise SAEFileError(message)

    def _measures(self) -> str:
        """Where expected sizes may come from: the tensors that were taken at any size."""
        found = [f"{name!r} {_sizes(self._tensors[name].shape)}" for name in dict.fromkeys(self._measured)]
        return f" (sizes were read off {' and '.join(found)})" if found else ""

    def _finite(self, name: str, tensor: Tensor, *, infinite: bool) -> Tensor:
        value = tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)
        bad = int((value.isnan() if infinite else ~torch.isfinite(value)).sum())
        if bad:
            message = (
                f"{self.where}: tensor {name!r} has {bad} of {tensor.numel()} values that are NaN or "
                "infinite; the training diverged or the file is damaged."
            )
            raise SAEFileError(message)
        return value


def _sizes(shape: Iterable[int | None]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"
