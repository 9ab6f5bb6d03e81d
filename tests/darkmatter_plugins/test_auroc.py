"""The area under the ROC curve, against scikit-learn and by leaving units out."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from darkmatter_plugins.auroc import Pairs, area


def test_the_area_counts_ties_half_and_leaves_units_out_to_first_order():
    """The area is scikit-learn's; contributions sum to 0 and give what leaving out a unit changes."""
    random = np.random.default_rng(0)
    scores, positive, unit = random.integers(0, 6, 400) / 2.0, random.random(400) < 0.4, np.arange(400) // 4
    found = area(scores, positive, unit, 100)
    kept = unit != 7

    assert found is not None
    assert found.value == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    weights = np.ones((1, 100))
    weights[0, 7] = 0
    without = roc_auc_score(positive[kept], scores[kept])
    assert found.at(weights)[0] - found.value == pytest.approx(without - found.value, rel=0.1)
    assert found.contributions.sum() == pytest.approx(0, abs=1e-12)


def test_rows_of_different_probes_are_not_compared():
    """Two parts that are each in order stay so, however their scores lie to each other."""
    pairs = Pairs.none(4)
    pairs.add(np.array([1.0, 0.0]), np.array([True, False]), np.array([0, 1]))
    pairs.add(np.array([11.0, 10.0]), np.array([True, False]), np.array([2, 3]))
    found = pairs.area()

    assert found is not None
    assert (found.value, pairs.n_all) == (1.0, 2.0)


def test_one_class_has_no_area():
    """Without a negative row there is nothing to compare."""
    assert area(np.zeros(3), np.ones(3, dtype=bool), np.zeros(3, dtype=np.int64), 1) is None
