"""Who is on a front and who is dominated by whom."""

import random

import pytest

from darkmatter.stats import Dominated, dominated


def slow(sizes, costs):
    """The same by its definition: every pair is looked at."""
    points = list(zip([float(f"{size:.4g}") for size in sizes], costs, strict=True))
    found = []
    for mine in points:
        better = [
            (cost, size, index)
            for index, (size, cost) in enumerate(points)
            if size <= mine[0] and cost <= mine[1] and (size, cost) != mine
        ]
        found.append(Dominated(min(better)[2], len(better)) if better else None)
    return found


def test_the_best_is_named_and_all_are_counted():
    """Of those that are no larger and cost no more, the cheapest is the best."""
    assert dominated([16, 8, 16, 32], [5, 6, 2, 5.5]) == [Dominated(2, 1), None, None, Dominated(2, 2)]


def test_equal_points_share_the_front():
    """Neither is better, so neither is dominated; what dominates one dominates both."""
    assert dominated([8, 8], [1, 1]) == [None, None]
    assert dominated([8, 8, 4], [1, 1, 1]) == [Dominated(2, 1), Dominated(2, 1), None]


def test_sizes_are_compared_to_four_digits():
    """15.99998 is 16, and no advantage over it."""
    assert dominated([16.0, 15.99998], [1, 2]) == [None, Dominated(0, 1)]


def test_nothing_has_no_front():
    """No points, no answers; points without costs are a mistake."""
    assert dominated([], []) == []
    with pytest.raises(ValueError, match="argument 2"):
        dominated([1.0], [])


@pytest.mark.parametrize("seed", range(20))
def test_the_sweep_agrees_with_looking_at_every_pair(seed):
    """Many points with many ties among sizes and costs."""
    draw = random.Random(seed)
    sizes = [draw.choice([1, 2, 2.00001, 3, 50]) for _ in range(40)]
    costs = [draw.randrange(8) for _ in range(40)]

    assert dominated(sizes, costs) == slow(sizes, costs)
