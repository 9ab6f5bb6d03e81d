"""Other activations at a hook point, and what they do to the prediction."""

import torch

from darkmatter_plugins.evaluators.patching import DIVERGENCE_ROWS, divergence, patch


def test_patched_rows_are_put_in_place_and_others_stay():
    """Rows come in the order of the positions; the model's own activations are not changed."""
    own, where = torch.zeros(2, 3, 4), torch.tensor([[True, False, False], [False, False, True]])
    found = patch(own, where, torch.stack([torch.ones(4), 2 * torch.ones(4)]))

    assert found[..., 0].tolist() == [[1, 0, 0], [0, 0, 2]]
    assert not own.any()


def test_divergence_is_from_the_clean_prediction_at_the_rows_alone():
    """KL(clean || patched) as torch has it, over more rows than are worked on at a time."""
    generator = torch.Generator().manual_seed(0)
    clean, patched = torch.randn(2, 2, DIVERGENCE_ROWS, 5, generator=generator)
    rows = torch.rand(2, DIVERGENCE_ROWS, generator=generator) < 0.9
    p, q = (torch.log_softmax(each.double(), dim=2)[rows] for each in (clean, patched))

    expected = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(dim=1)
    torch.testing.assert_close(divergence(clean, patched, rows), expected, rtol=1e-5, atol=1e-6)
