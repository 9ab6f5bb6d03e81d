"""Tensors taken from a file by name, with shape and values checked at the door."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from darkmatter.errors import SAEFileError, did_you_mean

if TYPE_CHECKING:
    from darkmatter.files.header import TensorInfo

NAMED = 10
"""Unexpected tensors that an error lists."""


class Weights(Mapping[str, Tensor]):
    """The tensors of one file.

    ``take`` gives float32, or float64 where the file has it: a half-precision file is evaluated in
    float32, as the libraries that write them do when asked for float32.

    What was asked for is remembered, whether the file has it or not: a reader ends with
    ``nothing_else``, since a tensor that it does not know may belong to another formula.
    ``unread`` are tensors of the file that were not loaded; they are met by ``sized`` alone.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], where: str, unread: Mapping[str, TensorInfo] | None = None
    ) -> None:
        self._tensors = dict(tensors)
        self._unread = dict(unread or {})
        self._measured: list[str] = []
        self._asked: dict[str, None] = {}
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
        self._check_shape(name, None if tensor is None else tensor.shape, shape)
        assert tensor is not None
        if tensor.ndim and not tensor.is_floating_point():
            message = f"{self.where}: tensor {name!r} holds {tensor.dtype}; expected floating-point numbers."
            raise SAEFileError(message)
        if None in shape:
            self._measured.append(name)
        return self._finite(name, tensor, infinite=infinite)

    def sized(self, name: str, *shape: int | None) -> None:
        """Check the shape of a tensor that was left unread; its numbers are not looked at."""
        info = self._unread.get(name)
        self._check_shape(name, None if info is None else info.shape, shape)

    def nothing_else(self, *known: str) -> None:
        """Raise an SAEFileError if the file has tensors that were not asked for.

        ``known`` are globs over names of tensors that the format's files hold and that change no
        code and no reconstruction, such as counters of the training.
        """
        expected = [*self._asked, *known]
        names = sorted({*self._tensors, *self._unread})
        left = [name for name in names if not any(fnmatch.fnmatchcase(name, glob) for glob in expected)]
        if left:
            more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
            message = (
                f"{self.where}: has {_tensors(left[:NAMED])}{more}, which this format does not have, so what "
                f"the file computes is not known; expected {_tensors(sorted(self._asked))} alone."
            )
            raise SAEFileError(message)

    def maybe(self, name: str, *shape: int | None) -> Tensor | None:
        """Like ``take``, but None where the file has no such tensor."""
        self._asked[name] = None
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

    def _check_shape(self, name: str, found: Sequence[int] | None, shape: tuple[int | None, ...]) -> None:
        self._asked[name] = None
        if found is None:
            message = f"{self.where}: has no tensor {name!r}; expected one of shape {_sizes(shape)}. "
            raise SAEFileError(message + did_you_mean(name, self))
        if len(found) != len(shape) or any(
            want is not None and size != want for size, want in zip(found, shape, strict=True)
        ):
            message = (
                f"{self.where}: tensor {name!r} has shape {_sizes(found)}; expected {_sizes(shape)}"
                f"{self._measures()}."
            )
            raise SAEFileError(message)
        if 0 in found:
            message = f"{self.where}: tensor {name!r} is empty."
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


def _tensors(names: list[str]) -> str:
    quoted = ", ".join(repr(name[:80]) for name in names)
    return f"{'tensor' if len(names) == 1 else 'tensors'} {quoted}"


def _sizes(shape: Iterable[int | None]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"
