"""No document, context or row on both sides, and the units that intervals need."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darkmatter import split
from darkmatter.errors import UsageError
from darkmatter.shuffle import permutation
from darkmatter.split import make_split, row_mask


@dataclass
class Store:
    """Only what a split looks at."""

    n_contexts: int = 20
    n_positions: int = 16
    shuffled: bool = True
    independent_rows: bool = False
    default_skip_first: int = 1
    default_skip_last: int = 1
    spans: Any = None
    special: Any = None

    def documents(self):
        return None if self.spans is None else torch.tensor(self.spans)

    def mask(self):
        return self.special


@st.composite
def stores(draw):
    """Stores of a stream of documents, or raw ones."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=8, max_size=60))
    positions = draw(st.integers(2, 12))
    owner = [i for i, n in enumerate(lengths) for _ in range(n)]
    count = len(owner) // positions
    spans = [[owner[c * positions], owner[(c + 1) * positions - 1]] for c in range(count)]
    shuffled = draw(st.booleans())
    return Store(count, positions, shuffled, False, 0, draw(st.integers(0, 1)), spans if shuffled else None)


@settings(deadline=None)
@given(stores(), st.integers(0, 2**40), st.sampled_from(["context", "token"]))
def test_sides_are_disjoint_and_share_no_document(store, seed, kind):
    """No row is on both sides, and by context no document is; the same seed gives the same sides."""
    try:
        made = make_split(store, seed, kind)
    except UsageError:
        return
    n = store.n_contexts
    train, test = made.train(0, n), made.test(0, n)
    assert not (train & test).any()
    assert (int(train.sum()), int(test.sum())) == (made.n_train, made.n_test)
    again = make_split(store, seed, kind)
    assert torch.equal(again.train(0, n), train)
    if kind == "token":
        assert made.n_train == int(0.6 * (made.n_train + made.n_test))
        return
    assert not (train.any(1) & test.any(1)).any()
    if store.shuffled:
        spans = store.documents()
        assert spans[train.any(1)].max() < spans[test.any(1)].min()
    part = slice(1, max(1, n - 1))
    assert torch.equal(made.test(1, max(1, n - 1)), test[part])


@pytest.mark.parametrize(
    ("spans", "role"),
    [
        # Documents end with their contexts: cut at 60%, nothing is lost.
        ([[i, i] for i in range(10)], [1] * 6 + [2] * 4),
        # The document of the last training context goes on for one context: that one is lost.
        ([*([i, i] for i in range(5)), [5, 6], [6, 7], [8, 8], [9, 9], [9, 9]], [1] * 6 + [0] + [2] * 3),
        # A document of many contexts stands across the border: the border moves to its nearer end.
        ([*([i, i] for i in range(4)), *[[4, 4]] * 5, [5, 5]], [1] * 4 + [2] * 6),
        ([[0, 0], [1, 2], *[[2, 2]] * 5, [2, 3], [4, 4], [5, 5]], [1] * 7 + [0] + [2] * 2),
        # Nothing but long documents: the least is lost.
        ([*[[0, 0]] * 4, [0, 1], *[[1, 1]] * 4, [1, 2]], [1] * 4 + [0] * 1 + [2] * 5),
    ],
)
def test_border_goes_where_documents_end(spans, role):
    """The border is the nearest to 60% that separates documents at the price of one context at most."""
    made = make_split(Store(n_contexts=10, spans=spans))
    assert made.role.tolist() == role
    assert made.n_dropped == role.count(0)


def test_split_without_documents_drops_one_context():
    """Where documents are unknown, the border context goes."""
    assert make_split(Store()).role.tolist() == [1] * 12 + [0] + [2] * 7


def test_raw_contexts_are_permuted_by_the_seed():
    """Raw contexts are in no random order, so the seed decides, and 60% train."""
    roles = [make_split(Store(shuffled=False), seed).role for seed in (0, 0, 1)]
    assert torch.equal(roles[0], roles[1])
    assert not torch.equal(roles[0], roles[2])
    assert [int((role == 1).sum()) for role in roles] == [12] * 3


def test_rows_follow_positions_and_mask():
    """The first and last positions and special tokens do not count; the flags override the store."""
    special = torch.ones(20, 16, dtype=torch.bool)
    special[3, 5] = False
    rows = row_mask(Store(special=special))
    assert not rows[:, 0].any()
    assert not rows[:, -1].any()
    assert rows.sum() == 20 * 14 - 1
    assert not rows[3, 5]
    assert row_mask(Store(), 0, 0).all()
    assert row_mask(Store(), skip_first=4)[0].tolist() == [False] * 4 + [True] * 11 + [False]


@pytest.mark.parametrize(
    ("store", "options", "message"),
    [
        (Store(), {"skip_first": 15}, "No row is left"),
        (Store(), {"skip_first": -1}, "cannot be negative"),
        (Store(special=torch.zeros(20, 16, dtype=torch.bool)), {}, "special tokens masked"),
        (Store(n_contexts=1), {}, "a longer text"),
        (Store(n_contexts=1, shuffled=False), {}, r"\[n, d\]"),
        (Store(spans=[[0, 0]] * 20), {}, "cut long documents"),
    ],
)
def test_nothing_left_is_an_error_that_says_why(store, options, message):
    """Every way to end with no rows has its own sentence."""
    with pytest.raises(UsageError, match=message):
        make_split(store, **options)


def test_contexts_without_rows_are_on_no_side():
    """A fully masked context takes no place in the 60% and is no resampling unit."""
    special = torch.ones(20, 16, dtype=torch.bool)
    special[::2] = False
    made = make_split(Store(shuffled=False, special=special))
    assert (made.role[::2] == 0).all()
    assert made.n_units == 4


def test_units_are_test_contexts_in_order():
    """Every test context is one unit; others have none."""
    made = make_split(Store())
    assert made.unit_of_context.tolist() == [-1] * 13 + list(range(7))
    assert (made.n_units, made.unit) == (7, "context")


@pytest.mark.parametrize(("independent", "noun"), [(True, "row"), (False, "context")])
def test_many_contexts_are_taken_in_blocks(monkeypatch, independent, noun):
    """Above the limit, neighbours share a unit, and the name says how many."""
    monkeypatch.setattr(split, "MOST_UNITS", 4)
    unit_of_context, n_units, unit = split.units(
        torch.tensor([True] * 9 + [False]), independent_rows=independent
    )
    assert unit_of_context.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, -1]
    assert (n_units, unit) == (3, f"block of 3 {noun}s")


def test_permutation_is_fixed_for_good():
    """The held-out contexts of a seed never change, whatever library version runs."""
    assert permutation(8, 0, "contexts").tolist() == [2, 1, 7, 5, 0, 4, 3, 6]
    assert sorted(permutation(1000, 5, "x")) == list(range(1000))
