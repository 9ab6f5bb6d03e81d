"""What a context consists of."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkmatter.cache.spec import TextSpec
from darkmatter.errors import UsageError
from darkmatter.text.documents import Documents
from darkmatter.text.packing import pack

BOS, EOS = 0, 1


@dataclass
class Numbers:
    """A tokenizer whose documents are written as numbers."""

    bos: int | None = BOS
    eos: int | None = EOS
    special: frozenset = frozenset({BOS, EOS})

    def encode(self, texts):
        return [[int(word) for word in text.split()] for text in texts]


def documents(*lengths):
    """Documents whose tokens are 100 times their number plus the position."""
    texts = [" ".join(str(100 * (i + 1) + j) for j in range(n)) for i, n in enumerate(lengths)]
    return Documents(texts, "hash", "test")


def run(docs, tokenizer=None, **fields):
    """Contexts of eight tokens, as many as there are."""
    fields = {"context_length": 8, "contexts": 1000} | fields
    return pack(docs, TextSpec(path="x", **fields), tokenizer or Numbers())


def test_packed_contexts_begin_with_bos_and_lose_no_token():
    """Without the BOS of contexts, the stream is documents and separators in shuffled order."""
    docs = documents(*[13, 5, 1, 30, 7] * 3)
    contexts = run(docs)
    assert (contexts.tokens[:, 0] == BOS).all()
    assert contexts.tokens.dtype == np.int32
    stream = [t for t in contexts.tokens[:, 1:].ravel() if t != BOS]
    found = [t // 100 for t in stream if t % 100 == 0]
    whole = [t for d in found for t in Numbers().encode([docs.texts[d - 1]])[0]]
    assert stream == whole[: len(stream)]
    assert len(whole) - len(stream) < 30
    assert not np.any((contexts.tokens[:, 1:-1] == BOS) & (contexts.tokens[:, 2:] == BOS))


@pytest.mark.parametrize(
    ("tokenizer", "bos", "head", "separator"),
    [
        (Numbers(), None, BOS, BOS),
        (Numbers(), "never", None, BOS),
        (Numbers(bos=None), None, None, EOS),
        (Numbers(bos=None, eos=None, special=frozenset()), None, None, None),
    ],
)
def test_bos_and_separator_follow_the_tokenizer(tokenizer, bos, head, separator):
    """BOS leads by default if there is one, separators are BOS, else EOS, else nothing; both recorded."""
    contexts = run(documents(3, 3, 3, 3, 3, 3, 3), tokenizer, bos=bos)
    assert contexts.description["bos_token"] == head
    assert contexts.description["separator_token"] == separator
    assert (contexts.tokens[:, 0] == BOS).all() == (head is not None)
    specials = set(contexts.tokens[:, 1:].ravel().tolist()) & {BOS, EOS}
    assert specials == ({separator} - {None})
    assert np.array_equal(contexts.mask, ~np.isin(contexts.tokens, [BOS, EOS]))


def test_bos_cannot_be_had_from_a_tokenizer_without_one():
    """Asking for what is not there is an error."""
    with pytest.raises(UsageError, match="bos: never"):
        run(documents(9), Numbers(bos=None), bos="always")


def test_truncate_takes_one_document_per_context():
    """The papers' way: the start of each document that is long enough."""
    contexts = run(documents(20, 6, 7, 9), packing="truncate")
    starts = {tuple(row) for row in contexts.tokens.tolist()}
    assert starts == {(BOS, *range(b, b + 7)) for b in (100, 300, 400)}
    assert (contexts.documents[:, 0] == contexts.documents[:, 1]).all()
    assert contexts.description["separator_token"] is None


def test_seed_shuffles_documents():
    """The same seed gives the same contexts, another seed others."""
    docs = documents(*[9] * 20)
    assert np.array_equal(run(docs, seed=3).tokens, run(docs, seed=3).tokens)
    assert not np.array_equal(run(docs, seed=3).tokens, run(docs, seed=4).tokens)


def test_fewer_contexts_than_asked_are_reported():
    """What the text holds is used, and the description says how many were asked for."""
    contexts = run(documents(9, 9), contexts=400)
    assert contexts.description["contexts"] == len(contexts.tokens) == 2
    assert contexts.description["contexts_requested"] == 400
    assert len(run(documents(9, 9), contexts=1).tokens) == 1


@pytest.mark.parametrize("packing", ["packed", "truncate"])
def test_too_short_a_text_is_refused(packing):
    """Not one context is an error that says what to change."""
    with pytest.raises(UsageError, match="context_length"):
        run(documents(2, 2), packing=packing)


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
    st.integers(2, 12),
    st.sampled_from([None, "never"]),
    st.sampled_from([Numbers(), Numbers(bos=None), Numbers(bos=None, eos=None)]),
)
def test_documents_of_contexts_are_ascending_and_true(lengths, length, bos, tokenizer):
    """First and last document never go back, and hold the context's first and last words."""
    docs = documents(*lengths)
    try:
        contexts = run(docs, tokenizer, bos=bos, context_length=length)
    except UsageError:
        return
    spans = contexts.documents
    assert (spans[:, 0] <= spans[:, 1]).all()
    assert (spans[1:, 0] >= spans[:-1, 1]).all()
    owners: dict[int, set[int]] = {}
    for row, (first, last) in zip(contexts.tokens, spans, strict=True):
        words = {int(token) // 100 for token in row if token >= 100}
        assert len(words) <= last - first + 1
        for word in words:
            owners.setdefault(word, set(range(first, last + 1))).intersection_update(range(first, last + 1))
    # Every document can be given a rank that lies in all of its contexts' ranges.
    assert all(owners.values())
