"""The contexts in which latents fire: their tokens for the model, and fragments of them to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darkmatter import api

CONTEXTS = 8
"""Contexts read at a time."""

BEFORE = 0.75
"""Share of a fragment that stands before the firing: what came before can have caused it."""


@dataclass(frozen=True)
class Text:
    """One context: tokens [P] and which of its positions are held-out rows [P]."""

    tokens: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Wanted:
    """A firing to be shown: the latent, the row, and why (``top`` or ``bin``)."""

    latent: int
    row: int
    kind: str


def read_texts(
    ctx: api.EvalContext, contexts: set[int], wanted: Sequence[Wanted], positions: int, size: int
) -> tuple[dict[int, Text], list[dict[str, Any]]]:
    """The contexts of these numbers, and a fragment of ``size`` tokens around each firing wanted.

    Activations of a fragment are the SAE's at held-out rows and 0 elsewhere.
    """
    by_context: dict[int, list[int]] = {}
    for place, each in enumerate(wanted):
        by_context.setdefault(each.row // positions, []).append(place)
    texts: dict[int, Text] = {}
    fragments: dict[int, dict[str, Any]] = {}
    for batch in ctx.contexts(CONTEXTS):
        assert batch.tokens is not None
        for i, number in enumerate(batch.index.tolist()):
            if number not in contexts and number not in by_context:
                continue
            text = Text(batch.tokens[i].to(torch.int64).clone(), batch.rows[i].clone())
            texts[number] = text
            places = by_context.get(number, [])
            codes = ctx.sae.encode(batch.x[i][text.rows]).to("cpu") if places else None
            for place in places:
                assert codes is not None
                fragments[place] = _fragment(wanted[place], text, codes, positions, size)
    return texts, [fragments[place] for place in range(len(wanted))]


def _fragment(wanted: Wanted, text: Text, codes: api.Codes, positions: int, size: int) -> dict[str, Any]:
    position = wanted.row % positions
    start = max(0, min(position - int(BEFORE * size), positions - size))
    activations = torch.zeros(positions)
    activations[text.rows] = column(codes, wanted.latent)
    span = slice(start, start + size)
    return {
        "latent": wanted.latent,
        "kind": wanted.kind,
        "context": wanted.row // positions,
        "position": position,
        "start": start,
        "tokens": text.tokens[span].tolist(),
        "activations": activations[span].tolist(),
    }


def column(codes: api.Codes, latent: int | Tensor) -> Tensor:
    """The activations [n] of one latent, or of each row's own latent [n]."""
    own = latent if isinstance(latent, int) else latent.to(codes.device)[codes.row_ids()]
    here = codes.indices == own
    found = torch.zeros(codes.n_rows, device=codes.device)
    found[codes.row_ids()[here]] = codes.values[here]
    return found


@dataclass(frozen=True)
class Pairs:
    """Latents with contexts in which they fire, run through the model together.

    Attributes:
        latent: [N].
        tokens: [N, P].
        rows: [N, P] True at held-out rows.
    """

    latent: Tensor
    tokens: Tensor
    rows: Tensor

    @staticmethod
    def of(texts: Mapping[int, Text], drawn: Mapping[int, Sequence[int]], size: int) -> Iterator[Pairs]:
        """All pairs, whole latents at a time: as many as make ``size`` contexts, one latent at least."""
        group: list[tuple[int, int]] = []
        for latent, numbers in drawn.items():
            if group and len(group) + len(numbers) > size:
                yield Pairs._stacked(texts, group)
                group = []
            group += [(latent, number) for number in numbers]
        if group:
            yield Pairs._stacked(texts, group)

    @staticmethod
    def _stacked(texts: Mapping[int, Text], group: Sequence[tuple[int, int]]) -> Pairs:
        found = [texts[number] for _, number in group]
        return Pairs(
            torch.tensor([latent for latent, _ in group]),
            torch.stack([text.tokens for text in found]),
            torch.stack([text.rows for text in found]),
        )

    @property
    def by_row(self) -> Tensor:
        """[N P] the latent of each position, contexts one after another."""
        return self.latent.repeat_interleave(self.tokens.shape[1])
