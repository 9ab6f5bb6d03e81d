"""Sums per unit: exact, and no larger than the units."""

import torch

from darkmatter.stats import UnitSums


def rows(n_units, per_unit):
    """Units and values of rows, unit by unit."""
    unit = torch.arange(n_units).repeat_interleave(per_unit)
    return unit, torch.randn(len(unit), 2, generator=torch.Generator().manual_seed(0))


def summed(unit, values, size):
    """The sums of rows that come in chunks of ``size``."""
    sums = UnitSums(("a", "b"))
    for start in range(0, len(unit), size):
        sums.add(unit[start : start + size], values[start : start + size])
    return sums


def kept(sums):
    """How many rows of sums are held."""
    return sum(len(ids) for ids, _ in sums.pieces)


def test_memory_is_bounded_by_the_units_not_the_chunks():
    """A unit of a thousand chunks is held once, within a part and across merged ones."""
    unit, values = rows(3, 1000)
    sums = summed(unit, values, 1)
    whole = UnitSums(("a", "b"))
    for start in range(0, 3000, 300):
        whole.merge(summed(unit[start : start + 300], values[start : start + 300], 7))

    assert kept(sums) == kept(whole) == 3
    expected = values.double().reshape(3, 1000, 2).sum(1)
    torch.testing.assert_close(sums.total(3), expected)
    torch.testing.assert_close(whole.total(3), expected)


def test_merging_leaves_the_parts_as_they_were():
    """A part that was taken in, and what takes it in, can be used again."""
    unit, values = rows(4, 5)
    parts = [summed(unit[a:b], values[a:b], 20) for a, b in ((0, 7), (7, 8), (8, 20))]
    before = [part.total(4).clone() for part in parts]
    totals = []
    for _ in range(2):
        whole = UnitSums(("a", "b"))
        for part in parts:
            whole.merge(part)
        totals.append(whole.total(4))

    assert torch.equal(totals[0], totals[1])
    assert all(torch.equal(part.total(4), old) for part, old in zip(parts, before, strict=True))
    torch.testing.assert_close(totals[0], values.double().reshape(4, 5, 2).sum(1))


def test_no_rows_and_returning_units_count():
    """Empty chunks add nothing; a unit that comes back later is added to its own sum."""
    sums = UnitSums(("a",))
    sums.add(torch.empty(0, dtype=torch.int64), torch.empty(0, 1))
    for unit in (0, 1, 0):
        sums.add(torch.tensor([unit]), torch.ones(1, 1))

    assert sums.total(2).flatten().tolist() == [2.0, 1.0]
