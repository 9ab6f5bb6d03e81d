"""What an SAE's features change between two runs, on rows whose codes are known."""

from __future__ import annotations

import pytest
import torch

from darkmatter import api
from darkmatter_plugins.evaluators.feature_editing.edits import (
    LAST,
    Changes,
    changes,
    order_of_pairs,
    pooled_orders,
)
from darkmatter_plugins.evaluators.feature_editing.pairs import PairBatch

B, P, D, WIDTH = 2, 4, 6, 9


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(**fields) -> PairBatch:
    """Two pairs whose second to fourth tokens differ."""
    x, other, gradient = (draw(B, P, D, seed=seed) for seed in range(3))
    changed = torch.tensor([[False, True, True, True]] * B)
    none = torch.zeros(0)
    given = {"index": torch.arange(B), "tokens": none, "changed": changed, "target": none, "answers": none}
    given |= {"x": x, "x_other": other, "y": x, "y_other": other, "gradient": gradient.double()}
    return PairBatch(**{**given, **fields})


def sae(**options) -> api.CanonicalSAE:
    weights = {"W_enc": draw(D, WIDTH, seed=4), "W_dec": draw(WIDTH, D, seed=5), "b_dec": draw(D, seed=6)}
    return api.CanonicalSAE(**weights, activation=api.Relu(), **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"code_scale": torch.linspace(0.5, 2, WIDTH)},
        {"normalisation": api.Normalisation("scale", factor=0.3)},
    ],
    ids=["plain", "scaled codes", "scaled rows"],
)
def test_all_features_together_change_the_reconstruction_as_it_changes(options):
    """The sum of (c̄ - c) f is Sae(x̄) - Sae(x), whatever scales stand between codes and decoder rows."""
    some, made = batch(), sae(**options)
    found = changes(made, some)
    edit = found.edit(found.differ)
    expected = (made.reconstruct(some.x_other) - made.reconstruct(some.x)).double()
    assert torch.allclose(edit[:, 1:], expected[:, 1:], atol=1e-5)
    assert (edit[:, 0] == 0).all()


def test_rows_normalised_one_by_one_leave_their_bias_to_no_feature():
    """Codes count times their row's norm; the bias, which is scaled too, is not edited."""
    some, made = batch(), sae(normalisation=api.Normalisation("constant_norm"))
    found = changes(made, some)

    def without_bias(x):
        return made.reconstruct(x).double() - made.b_dec.double() * x.double().norm(dim=2)[..., None] / D**0.5

    expected = without_bias(some.x_other) - without_bias(some.x)
    assert torch.allclose(found.edit(found.differ)[:, 1:], expected[:, 1:], atol=1e-5)


def test_attribution_is_the_gradient_along_the_edit():
    """Over all features it sums to gradient . edit, and each is that of the feature alone."""
    found, some = changes(sae(), batch()), batch()
    alone = torch.zeros_like(found.differ)
    alone[:, 3] = True
    along = (found.edit(alone) * some.gradient).sum((1, 2))
    assert torch.allclose(found.attribution[:, 3], along)


def made(attribution, change=None, latents=None) -> Changes:
    """Changes with these attributions, all of which differ unless ``change`` says otherwise."""
    attribution = torch.tensor(attribution, dtype=torch.float64)
    change = torch.ones_like(attribution) if change is None else torch.tensor(change).double()
    latents = torch.arange(attribution.shape[1]) if latents is None else torch.tensor(latents)
    return Changes(latents, torch.zeros(len(latents), D), change[:, None], attribution)


def test_order_is_by_fall_of_kl_and_leaves_out_what_does_not_differ():
    """The most negative attribution comes first; a feature that is the same in both runs never comes."""
    ranks = order_of_pairs(made([[1.0, -2.0, -3.0, 0.5]], change=[[1, 1, 0, 1]]))
    assert ranks.tolist() == [[2, 0, LAST, 1]]


def test_one_order_sums_attributions_over_all_batches():
    """Latent 5 has -1 - 3, latent 2 has -2.5 and latent 7 has -1; batches know them under other places."""
    both = [made([[-2.0, -1.0], [-0.5, 0.0]], latents=[2, 5]), made([[-3.0, -1.0]], latents=[5, 7])]
    first, second = pooled_orders(both, WIDTH)
    assert first.tolist() == [[1, 0], [1, 0]]
    assert second.tolist() == [[0, 2]]
