"""The shapes an SAE takes: [..., d_in], and [..., heads, d_head] at an attention-z hook point."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from darkmatter.errors import ItemError


class Rows(NamedTuple):
    """Activations as rows [n, d_in], and the shape they came in."""

    x: Tensor
    batch_shape: tuple[int, ...]
    given: tuple[int, ...]

    def restore(self, y: Tensor) -> Tensor:
        """Outputs y [n, d_out] in the shape that was given ([..., d_out] where d_out differs)."""
        width = y.shape[-1]
        same = math.prod(self.given) == math.prod((*self.batch_shape, width))
        headed = len(self.given) == len(self.batch_shape) + 2
        if headed and same:
            return y.reshape(self.given)
        return y.reshape(*self.batch_shape, width)


def as_rows(
    x: Tensor, d_in: int, *, heads: tuple[int, int] | None, any_heads: bool, hook: str | None
) -> Rows:
    """Flatten x to rows of d_in.

    Args:
        x: [..., d_in], or [..., heads, d_head] where that is allowed.
        d_in: the SAE's input size.
        heads: the (heads, d_head) that may stand last instead of d_in.
        any_heads: whether any two last dimensions of product d_in may; they always may at an
            attention-z hook point, since no file of an SAE says how many heads its model has.
        hook: the SAE's hook point.

    Raises:
        ItemError: the last dimension is not d_in.
    """
    shape = tuple(x.shape)
    if shape and shape[-1] == d_in and x.is_floating_point():
        return Rows(x.reshape(math.prod(shape[:-1]), d_in), shape[:-1], shape)
    last_two = shape[-2:]
    any_heads = any_heads or (hook or "").endswith("hook_z")
    headed = last_two == heads or (any_heads and math.prod(last_two) == d_in)
    if len(shape) >= 2 and headed and x.is_floating_point():
        return Rows(x.reshape(math.prod(shape[:-2]), d_in), shape[:-2], shape)
    split = f" or [..., {heads[0]}, {heads[1]}]" if heads else ""
    split = split or (f" or [..., heads, d_head] with heads * d_head = {d_in}" if any_heads else "")
    expected = f"[..., {d_in}]{split}"
    where = f"it was trained at {hook!r}" if hook else "its file does not name one"
    message = (
        f"This SAE reads floating-point activations of d_in = {d_in}, shape {expected}, but got {x.dtype} of "
        f"shape {list(shape)}. Check that the hook point is the SAE's own ({where}) and that the model has "
        f"that width; `darkmatter inspect REF` shows what the SAE expects."
    )
    raise ItemError(message)
