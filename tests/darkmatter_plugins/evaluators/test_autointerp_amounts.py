"""``autointerp`` on little text: what it scores, what it says, what it leaves undefined."""

from __future__ import annotations

import pytest
import torch

import darkmatter as dm
from darkmatter import api
from darkmatter.errors import ResultWarning

POSITIONS, SIZE = 24, 8


def measured(contexts: int, **options):
    """The result on so many contexts of 3 fragments; tokens say much of the activations."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(12, (contexts, POSITIONS), generator=generator)
    table = torch.rand(12, 3, generator=generator) * (torch.rand(12, 3, generator=generator) < 0.2)
    sae = api.CanonicalSAE(W_enc=torch.eye(3), W_dec=torch.eye(3), activation=api.Relu())
    chosen = {"fragment": SIZE, "min_firings": 1, "train_fragments": 30, "test_fragments": 10, **options}
    found = dm.evaluate(
        {"sae": sae},
        activations=table[tokens]
        + 0.05 * table[tokens] * torch.rand(tokens.shape, generator=generator)[..., None],
        tokens=tokens,
        evaluators={"autointerp": chosen},
    )
    (only,) = list(found)
    return only, {metric.name: metric for metric in only.metrics}


@pytest.mark.filterwarnings("ignore::darkmatter.errors.ResultWarning")
def test_where_random_fragments_are_all_there_are_the_top_ones_are_no_set_of_their_own():
    """With six contexts the random fragments are all of them: both would be random by another name."""
    result, metrics = measured(6)
    available = result.tables["fragments"]["test"]["available"]

    assert 0 < available <= 10
    for name in ("score.top", "score.both", "authors.score.top", "authors.score.both"):
        assert metrics[name].value is None
        assert "the random fragments are all that there are" in metrics[name].reason
        assert "more contexts" in metrics[name].reason
    assert metrics["score.random"].value is not None
    assert metrics["n_indistinct"].value == metrics["n_latents"].value
    assert metrics["n_nan.top"].value == 0
    assert all(row["top"] is None and "top: the random" in row["reason"] for row in result.tables["latents"])


def test_fragments_that_overlap_are_warned_of():
    """Between one and two times what is drawn, top and random ones share some: scored, with a warning."""
    with pytest.warns(ResultWarning, match="top and random fragments overlap"):
        result, metrics = measured(12)

    assert 10 < result.tables["fragments"]["test"]["available"] < 20
    assert metrics["score.both"].value is not None
    assert "the simulator saw all" in result.notes[0]
    assert "train_fragments = 30" in result.notes[0]


def test_enough_fragments_are_recorded_and_nothing_is_said():
    """Each side's fragments, those asked for and those a latent had, are in the result."""
    result, metrics = measured(60)
    sides = result.tables["fragments"]

    assert {name: sides[name]["asked"] for name in sides} == {"train": 30, "test": 10}
    assert sides["train"]["available"] + sides["test"]["available"] == 60 * POSITIONS // SIZE
    assert sides["test"]["top_fewest"] == sides["test"]["random_fewest"] == 10
    assert sides["train"]["random_mean"] == 30
    assert metrics["n_indistinct"].value == 0
    assert not result.notes


def test_active_draws_are_exhausted_latent_by_latent():
    """With ``draw: active`` a latent that fires on few fragments has no others than its top ones."""
    result, metrics = measured(60, draw="active", test_fragments=40)
    rows = result.tables["latents"]
    indistinct = [row for row in rows if row["top"] is None]

    assert 0 < len(indistinct) == metrics["n_indistinct"].value < len(rows)
    assert metrics["score.both"].n == len(rows) - len(indistinct)
