"""From documents to contexts: shuffle, tokenise, pack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from darkmatter.cache.spec import TextSpec
from darkmatter.errors import UsageError
from darkmatter.shuffle import permutation
from darkmatter.text.documents import Documents

if TYPE_CHECKING:
    from darkmatter.models import TextTokenizer

PACKING_VERSION = 2
"""Part of every cache key: a bump says that the same text gives other contexts."""

_TOKENISED_AT_ONCE = 256


@dataclass(frozen=True)
class Contexts:
    """Contexts ready for the model.

    Attributes:
        tokens: [C, P] int32.
        mask: [C, P] bool, False at special tokens.
        documents: [C, 2] int32, first and last document of each context, counted in shuffled order.
        description: what was done, JSON-able.
    """

    tokens: np.ndarray
    mask: np.ndarray
    documents: np.ndarray
    description: dict[str, Any] = field(default_factory=dict)


def pack(documents: Documents, spec: TextSpec, tokenizer: TextTokenizer) -> Contexts:
    """Cut the documents, shuffled by the seed, into at most ``spec.contexts`` contexts.

    Packed contexts are BOS (unless ``bos: never``) followed by the next tokens of one long stream:
    document, separator, document, ... The separator is BOS if the tokenizer has one, else EOS, else
    nothing; right after a BOS it is left out. A separator belongs to the document before it. Of a
    document that would fill more than ``spec.document_limit`` contexts, the rest is left out: else one
    very long document may be all of the held-out half.
    """
    bos = _bos(spec, tokenizer)
    separator = tokenizer.bos if tokenizer.bos is not None else tokenizer.eos
    order = permutation(len(documents.texts), spec.seed, "documents")
    cut: set[int] = set()
    stream = _tokenised(documents, order, tokenizer)
    if spec.packing == "packed" and spec.document_limit is not None:
        body = spec.context_length - (bos is not None)
        stream = _limited(stream, spec.document_limit * body, cut)
    if spec.packing == "truncate":
        separator = None
        rows = _truncated(stream, spec, bos)
    else:
        rows = _packed(stream, spec, bos, separator)
    found = [row for row, _ in zip(rows, range(spec.contexts), strict=False)]
    if not found:
        raise UsageError(_too_short(documents, spec))
    tokens = np.asarray([row for row, _, _ in found], dtype=np.int32)
    special = np.asarray(
        sorted(tokenizer.special | (set() if separator is None else {separator})), dtype=np.int32
    )
    return Contexts(
        tokens=tokens,
        mask=~np.isin(tokens, special),
        documents=np.asarray([[first, last] for _, first, last in found], dtype=np.int32),
        description={
            "documents": len(documents.texts),
            "documents_used": int(found[-1][2]) + 1,
            "documents_cut": len(cut),
            "bos_token": bos,
            "separator_token": separator,
            "contexts": len(found),
            "contexts_requested": spec.contexts,
        },
    )


def _bos(spec: TextSpec, tokenizer: TextTokenizer) -> int | None:
    """The token that begins each context, or None."""
    if spec.bos == "always" and tokenizer.bos is None:
        message = "bos: always was asked for, but the tokenizer has no BOS token. Use bos: never."
        raise UsageError(message)
    return None if spec.bos == "never" else tokenizer.bos


def _tokenised(
    documents: Documents, order: np.ndarray, tokenizer: TextTokenizer
) -> Iterator[tuple[int, list[int]]]:
    """Rank in shuffled order and token ids of each document that has any; read only as needed."""
    for start in range(0, len(order), _TOKENISED_AT_ONCE):
        texts = [documents.texts[int(index)] for index in order[start : start + _TOKENISED_AT_ONCE]]
        for offset, tokens in enumerate(tokenizer.encode(texts)):
            if tokens:
                yield start + offset, tokens


def _limited(
    stream: Iterator[tuple[int, list[int]]], most: int, cut: set[int]
) -> Iterator[tuple[int, list[int]]]:
    """Documents of at most ``most`` tokens; ``cut`` collects those that were longer."""
    for rank, tokens in stream:
        if len(tokens) > most:
            cut.add(rank)
        yield rank, tokens[:most]


def _truncated(
    stream: Iterator[tuple[int, list[int]]], spec: TextSpec, bos: int | None
) -> Iterator[tuple[list[int], int, int]]:
    """The start of each document that fills a context."""
    head = [] if bos is None else [bos]
    body = spec.context_length - len(head)
    for rank, tokens in stream:
        if len(tokens) >= body:
            yield head + tokens[:body], rank, rank


def _packed(
    stream: Iterator[tuple[int, list[int]]], spec: TextSpec, bos: int | None, separator: int | None
) -> Iterator[tuple[list[int], int, int]]:
    """Contexts of one long stream of documents; what is left over at the end is dropped."""
    head = [] if bos is None else [bos]
    context = list(head)
    first = last = -1
    for rank, document in stream:
        tokens = document if separator is None else [*document, separator]
        position = 0
        while position < len(tokens):
            if separator is not None and head and context == head and tokens[position] == separator:
                # BOS already says that something begins here.
                position += 1
                continue
            first = rank if len(context) == len(head) else first
            last = rank
            taken = tokens[position : position + spec.context_length - len(context)]
            context += taken
            position += len(taken)
            if len(context) == spec.context_length:
                yield context, first, last
                context = list(head)


def _too_short(documents: Documents, spec: TextSpec) -> str:
    """Why there is not one context."""
    if spec.packing == "truncate":
        return (
            f"{documents.source}: none of its {len(documents.texts)} documents fills a context of "
            f"{spec.context_length} tokens. Take a smaller context_length, or packing: packed."
        )
    return (
        f"{documents.source}: is too short for one context of {spec.context_length} tokens. "
        "Take a longer text or a smaller context_length."
    )
