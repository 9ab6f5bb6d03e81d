"""A batch of contexts, run through a bridged model once and then on from one hook point in many ways.

The blocks before the hook point are not run again: while the model goes on they are stood in for by
functions that hand on what the last of them gave. So embeddings, masks, rotary angles, the remaining
blocks, final norm and unembedding are the library's own, whatever the architecture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from darkmatter import api
from darkmatter_plugins.sources.quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor

_IN_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_AFTER_BLOCK = ("hook_resid_post", "hook_out")
_AFTER_ALL = ("ln_final.", "unembed.")


@dataclass(frozen=True)
class Junction:
    """Where a model goes on when the activations at ``hook`` change.

    Attributes:
        before: the blocks whose work does not depend on them, in order.
        is_output: whether they are what the last of these blocks gives, the residual stream.
    """

    hook: str
    before: tuple[Any, ...]
    is_output: bool

    @classmethod
    def of(cls, bridge: Any, hook: str) -> Junction:
        """The junction of a hook point, by its name."""
        blocks = tuple(getattr(bridge, "blocks", ()))
        if found := _IN_BLOCK.fullmatch(hook):
            is_output = found[2] in _AFTER_BLOCK
            return cls(hook, blocks[: int(found[1]) + is_output], is_output)
        return cls(hook, blocks if hook.startswith(_AFTER_ALL) else (), is_output=False)


@contextmanager
def recorded(junction: Junction) -> Iterator[list[Any]]:
    """A list that holds, when the model has run, what the last block before the junction gave."""
    outputs: list[Any] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        outputs[:] = [output]

    handles = [block.register_forward_hook(keep) for block in junction.before[-1:]]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def skipped(blocks: Sequence[Any], output: Any) -> Iterator[None]:
    """Inside, ``blocks`` compute nothing and give ``output``; they are restored whatever happens."""
    before = [vars(block).get("forward") for block in blocks]
    try:
        for block in blocks:
            vars(block)["forward"] = lambda *_args, **_options: output
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            vars(block).pop("forward", None)
            if forward is not None:
                vars(block)["forward"] = forward


@dataclass(frozen=True, eq=False)
class ResumedBridge:
    """One batch whose activations [B, P, d] at one hook point can be replaced.

    Attributes:
        own: logits of the model itself [B, P, V].
        there: its activations at the hook point, in the library's shape.
        handed: what the last block before the junction gave; None runs the whole model.
    """

    bridge: Any
    tokens: Tensor
    junction: Junction
    own: Tensor
    there: Tensor
    handed: Any = None

    @property
    def activations(self) -> Tensor:
        """[B, P, d] what the model itself has at the hook point, heads flattened."""
        return self.there.flatten(2)

    def logits(self, replacement: Tensor | None = None) -> Tensor:
        """[B, P, V] with ``replacement`` [B, P, d] at the hook point; None: the model's own."""
        import torch

        if replacement is None:
            return self.own
        with torch.no_grad():
            return self._go_on(replacement)

    def at(self, hook: str, replacement: Tensor | None = None) -> Tensor:
        """[B, P, d] what a later hook point (or this one) then has, heads flattened."""
        import torch

        with torch.no_grad():
            return self._read(hook, self.activations if replacement is None else replacement)

    def gradient(
        self, of: Callable[[Tensor], Tensor], replacement: Tensor | None = None, hook: str | None = None
    ) -> Tensor:
        """[B, P, d] gradient of ``of(logits)``, or of ``of(activations at hook)``, a number."""
        import torch

        start = self.activations if replacement is None else replacement
        value = start.detach().to(self.there).clone().requires_grad_()
        with torch.enable_grad():
            number = of(self._go_on(value) if hook is None else self._read(hook, value))
            (found,) = torch.autograd.grad(number, value)
        return found

    def _read(self, hook: str, replacement: Tensor) -> Tensor:
        """The activations at ``hook`` with ``replacement`` put in place; what grad does is the caller's."""
        if hook == self.junction.hook:
            return replacement
        kept: list[Tensor] = []

        def keep(there: Tensor, hook: Any) -> None:  # noqa: ARG001 - TransformerLens' signature
            kept[:] = [there]

        self._go_on(replacement, [(hook, keep)])
        if not kept:
            message = f"the model has no activations at {hook!r} after {self.junction.hook!r}"
            raise api.ItemError(message)
        return kept[0].flatten(2)

    def _go_on(self, replacement: Tensor, reads: Sequence[tuple[str, Any]] = ()) -> Tensor:
        """Logits with ``replacement`` at the hook point; ``reads`` are hooks that look at others."""
        value = replacement.to(self.there).reshape(self.there.shape)
        with quiet():
            if self.handed is None:
                return self._run(value, reads)
            # Fresh tensors, because blocks may add to the residual stream in place.
            stream = (value if self.junction.is_output else _stream(self.handed)).clone()
            with skipped(self.junction.before, _with_stream(self.handed, stream)):
                return self._run(None if self.junction.is_output else value, reads)

    def agrees(self) -> bool:
        """Whether going on with the model's own activations gives its own logits, to rounding.

        It does not where later blocks read more of the earlier ones than the residual stream, such as
        keys and values that several blocks share.
        """
        import torch

        if self.handed is None:
            return True
        if self.junction.is_output and not torch.equal(_stream(self.handed), self.there):
            return False
        try:
            again = self.logits(self.there.flatten(2))
        except Exception:  # noqa: BLE001 - blocks that miss what skipped ones leave raise anything
            return False
        rounding = 64 * torch.finfo(self.own.dtype).eps * self.own.abs().max()
        return bool((again - self.own).abs().max() <= rounding)

    def _run(self, value: Tensor | None, reads: Sequence[tuple[str, Any]] = ()) -> Tensor:
        """Logits, with ``value`` put at the hook point before ``reads`` look."""

        def replace(there: Tensor, hook: Any) -> Tensor:  # noqa: ARG001 - TransformerLens' signature
            assert value is not None
            return value.clone()

        hooks = [*([] if value is None else [(self.junction.hook, replace)]), *reads]
        logits: Tensor = self.bridge.run_with_hooks(self.tokens, return_type="logits", fwd_hooks=hooks)
        return logits


def _stream(output: Any) -> Tensor:
    """The residual stream in a block's output, which is a tensor or a tuple that begins with it."""
    stream: Tensor = output[0] if isinstance(output, tuple) else output
    return stream


def _with_stream(output: Any, stream: Tensor) -> Any:
    """A block's output with another residual stream."""
    return (stream, *output[1:]) if isinstance(output, tuple) else stream
