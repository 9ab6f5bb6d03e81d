"""What the model does without any SAE: clean, with zeros, and with the mean.

These runs are the same for every SAE at a hook point and are shared by all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from darkmatter import api, sources
from darkmatter_plugins.evaluators.patching import patch

KEPT_LOGITS = 1 << 26
"""Clean logits kept for the next SAEs at the hook point (256 MB of float32); beyond, they are run again."""

SAME_LOSS = 1e-4
"""Mean difference of clean losses, in nats, that rounding may make; a misplaced token makes 0.1 and more."""

SAME_LOSS_LOW_PRECISION = 0.03
"""The same for models in 16 bits, whose kernels round differently for every shape of a batch."""


@dataclass
class CleanRuns:
    """Forward passes at one hook point, by the number of a batch's first context.

    Attributes:
        mean: [d] mean over the training rows.
        everywhere: whether every position is patched, or the held-out rows alone.
    """

    hook: str
    mean: Tensor
    everywhere: bool
    losses: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    kept: dict[int, sources.Resumed] = field(default_factory=dict)
    room: int = KEPT_LOGITS

    def of(
        self, model: sources.LanguageModel, batch: api.Contexts
    ) -> tuple[sources.Resumed, dict[str, Tensor]]:
        """The batch, ready to go on from the hook point, and losses [B, P] by setting."""
        number = int(batch.index[0])
        assert batch.tokens is not None
        resumed = self.kept.get(number) or model.resume_at(batch.tokens, self.hook)
        if number not in self.losses:
            own = losses_of(resumed, batch.tokens)
            require_same_model(own, batch, resumed.activations.dtype)
            patched = torch.ones_like(batch.rows) if self.everywhere else batch.rows
            self.losses[number] = {"clean": own}
            for name, row in (("zero", torch.zeros_like(self.mean)), ("mean", self.mean)):
                value = patch(resumed.activations, patched, row.expand(int(patched.sum()), -1))
                self.losses[number][name] = losses_of(resumed, batch.tokens, value)
        size = resumed.logits().numel()
        if number not in self.kept and size <= self.room:
            self.kept[number] = resumed
            self.room -= size
        return resumed, self.losses[number]


def losses_of(resumed: sources.Resumed, tokens: Tensor, value: Tensor | None = None) -> Tensor:
    """Losses [B, P] float32 with ``value`` at the hook point; row t is that of token t + 1."""
    return sources.token_losses(resumed.logits(value), tokens).cpu()


def require_same_model(own: Tensor, batch: api.Contexts, dtype: torch.dtype) -> None:
    """Raise unless the losses that were cached with the activations are those of this model."""
    if batch.loss is None:
        return
    seen = batch.rows.clone()
    seen[:, -1] = False
    if not seen.any():
        return
    apart = float((own[seen].double() - batch.loss[seen].double()).abs().mean())
    allowed = SAME_LOSS_LOW_PRECISION if torch.finfo(dtype).bits < 32 else SAME_LOSS
    if not apart <= allowed:
        message = (
            f"the model's losses on contexts {int(batch.index[0])} to {int(batch.index[-1])} are {apart:.2g} "
            "nats a token from those that were cached with the activations: the cache belongs to another "
            "model, or its tokens to other activations. `darkmatter cache rm` removes it."
        )
        raise api.ItemError(message)
