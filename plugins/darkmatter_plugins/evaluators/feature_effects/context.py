"""Leave one out: what a latent's activation owes to single earlier tokens.

A token is removed, not replaced: nothing foreign enters the text, and what follows keeps its
distances. The price is that everything after it stands one position earlier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darkmatter import api
from darkmatter_plugins.evaluators.batches import at_once
from darkmatter_plugins.evaluators.feature_effects.fragments import Text, column

TEXTS = 64
"""Texts run together at most: more would differ in length, and be filled up for nothing."""


@dataclass(frozen=True)
class Place:
    """A position of a context at which a latent fires."""

    latent: int
    context: int
    position: int


def leave_one_out(
    ctx: api.EvalContext, places: Sequence[Place], texts: Mapping[int, Text], reach: int
) -> Iterator[dict[str, Any]]:
    """The activation at each place, and how it changes when one of ``reach`` earlier tokens is removed.

    Special tokens stay. A place without an earlier token, or where the latent does not fire, is left out.
    """
    special = ctx.tokenizer.special if ctx.tokenizer is not None else frozenset()
    variants: list[Tensor] = []
    latents: list[int] = []
    earlier: list[list[int]] = []
    for each in places:
        prefix = texts[each.context].tokens[: each.position + 1]
        start = max(0, each.position - reach)
        earlier.append([j for j in range(start, each.position) if int(prefix[j]) not in special])
        variants += [prefix, *(torch.cat([prefix[:j], prefix[j + 1 :]]) for j in earlier[-1])]
        latents += [each.latent] * (1 + len(earlier[-1]))
    values = iter(_last(ctx, latents, variants))
    for each, removed in zip(places, earlier, strict=True):
        own, *others = (next(values) for _ in range(1 + len(removed)))
        if not removed or own == 0:
            continue
        tokens = texts[each.context].tokens
        yield {
            "latent": each.latent,
            "context": each.context,
            "position": each.position,
            "activation": own,
            "removed": [
                {"position": j, "token": int(tokens[j]), "change": other - own}
                for j, other in zip(removed, others, strict=True)
            ],
        }


def shares(found: dict[str, Any]) -> tuple[float, float | None]:
    """Largest |change| / |activation|, and that of the token just before (None: it is special)."""
    sizes = {each["position"]: abs(each["change"] / found["activation"]) for each in found["removed"]}
    return max(sizes.values()), sizes.get(found["position"] - 1)


def _last(ctx: api.EvalContext, latents: Sequence[int], texts: Sequence[Tensor]) -> list[float]:
    """Each latent's activation at the last token of its text.

    Texts of about one length run together, filled up behind, where a causal model does not look.
    """
    lengths, latent = torch.tensor([len(text) for text in texts]), torch.tensor(latents)
    order = lengths.argsort(stable=True)
    found = torch.zeros(len(texts), dtype=torch.float64)
    for index in torch.split(order, at_once(ctx.model, int(lengths.max()), TEXTS)) if texts else ():
        longest = max(2, int(lengths[index[-1]]))  # a loss needs a next token
        some = [texts[number] for number in index.tolist()]
        tokens = torch.stack([torch.cat([text, text[-1:].expand(longest - len(text))]) for text in some])
        x = ctx.model.forward(tokens, [ctx.hook]).activations[ctx.hook]
        rows = x[torch.arange(len(index)), lengths[index] - 1]
        found[index] = column(ctx.sae.encode(rows), latent[index]).double().cpu()
    return [float(value) for value in found]
