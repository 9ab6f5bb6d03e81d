"""Which controls a run adds by itself."""

from __future__ import annotations

import pytest
import torch

from darkmatter import api
from darkmatter.errors import UsageError
from darkmatter.plugins import host
from darkmatter.progress import Progress
from darkmatter.raw_activations import tensor_activations
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import choose_evaluators
from darkmatter.runs.controls import ControlPolicy, baseline_item, distinct_l0, matched_controls
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine


@pytest.mark.parametrize(
    ("l0s", "ranks"),
    [
        ([], []),
        ([0.0], []),
        ([16.0, 16.0, 15.5, 17.4, 41.2], [16, 41]),
        ([8, 16, 32], [8, 16, 32]),
        ([0.2], [1]),
        ([2.0**i for i in range(9)], [1, 4, 16, 64, 256]),
    ],
)
def test_one_control_serves_similar_l0s(l0s, ranks):
    """PCA is added at each distinct L0, not at every decimal of it, and not without end."""
    assert distinct_l0(l0s) == ranks


def test_a_matched_control_has_the_l0_of_the_sae_that_it_stands_beside():
    """What is compared is FVU at equal L0: the control's measured L0 is that of its SAE, not its name's."""
    d = 12
    x = torch.randn(40, 20, d, generator=torch.Generator().manual_seed(0))
    engine = make_engine(
        tensor_activations(x), Analysis(), choose_evaluators(host(), {"reconstruction": {}}),
        host=host(), results=None, jobs=1, progress=Progress(),
    )  # fmt: skip
    eye = torch.eye(d)
    saes = {k: api.CanonicalSAE(W_enc=eye, W_dec=eye, activation=api.AbsTopK(k)) for k in (2, 5)}
    items = [SAEItem(f"sae{k}", "object", lambda sae=sae: sae) for k, sae in saes.items()]
    found = engine.run(items, [], ControlPolicy())
    l0 = {r.sae.name: next(m.value for m in r.metrics if m.name == "l0") for r in found}

    matched = {f"{name}-k{k}": k for name in ("pca", "pca_topk", "random") for k in (2, 5)}
    assert l0 == {"sae2": 2, "sae5": 5, "mean": 0, **matched}


def test_controls_that_the_user_asked_for_are_not_added_again():
    """A PCA of about the same rank and the same control under another name are enough."""
    mine = [baseline_item(host(), "pca", "mine", {"k": "17"}), baseline_item(host(), "mean", "other", {})]
    added = matched_controls(ControlPolicy(), host(), [16.0, 64.0, 900.0], 100, mine)

    assert [item.name for item in added] == [
        "pca-k64", "pca-k100", "pca_topk-k16", "pca_topk-k64", "random-k16", "random-k64", "random-k100",
    ]  # fmt: skip


def test_controls_never_take_a_name_that_the_user_gave():
    """Two things in one table have two names: the control is the one that is renamed."""
    mine = [baseline_item(host(), "zero", "mean", {})]
    taken = ["mean", "mean-control", "pca-k16"]
    added = matched_controls(ControlPolicy(), host(), [16.0, 64.0], 100, mine, taken)

    assert [item.name for item in added][:3] == ["mean-control-control", "pca-k16-control", "pca-k64"]


def test_controls_can_be_turned_off():
    """``--no-controls`` adds nothing."""
    assert matched_controls(ControlPolicy(automatic=False), host(), [16.0], 100, []) == []


def test_a_bad_option_names_the_valid_ones():
    """A misspelt option of a baseline is wrong usage, with the nearest option."""
    with pytest.raises(UsageError, match=r"Did you mean 'k'|Known: k"):
        baseline_item(host(), "pca", "x", {"kk": "3"})
    with pytest.raises(UsageError, match="Did you mean 'pca"):
        baseline_item(host(), "pcaa", "x", {})
