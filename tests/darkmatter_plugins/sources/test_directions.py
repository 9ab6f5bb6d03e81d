"""Direct effects on logits are those that the model's own last layers give."""

import pytest
import torch

from darkmatter import api
from darkmatter_plugins.sources.directions import logit_directions

ARCHITECTURES = ["gpt2", "llama", "neox", "gemma2"]


def straight(model, stream, vectors, step=1.0):
    """D logits per unit of each vector, with the size of the stream held fixed, by the modules themselves."""
    bridge = model.bridge
    norm, unembed = bridge.ln_final.original_component, bridge.unembed.original_component

    def size(x):
        kept = x - x.mean() if isinstance(norm, torch.nn.LayerNorm) else x
        return kept.square().mean().sqrt()

    def undivided(x):
        return (unembed(norm(x)) - unembed(norm(torch.zeros_like(x)))) * size(x)

    with torch.no_grad():
        return torch.stack([(undivided(stream + step * v) - undivided(stream)) / step for v in vectors])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_direction_in_the_stream_moves_the_logits_as_the_last_layers_do(load, architecture):
    """With the final norm's division held fixed, adding v to the stream adds its logit direction."""
    model = load(architecture, double=True)
    d = model.bridge.cfg.d_model
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(5, d, generator=draw, dtype=torch.float64)
    stream = 10 * torch.randn(d, generator=draw, dtype=torch.float64)
    found = logit_directions(model.bridge, vectors, "blocks.1.hook_resid_post")
    assert found.shape == (5, model.n_vocab)
    torch.testing.assert_close(found, straight(model, stream, vectors), rtol=1e-4, atol=1e-4)


def test_attention_values_go_through_the_output_weights(load):
    """A direction at z is first taken through W_O."""
    model = load("llama", double=True)
    block = model.bridge.blocks[1]
    z = torch.randn(3, model.bridge.cfg.d_model, dtype=torch.float64)
    written = z @ block.attn.o.original_component.weight.T.double()
    expected = model.logit_directions(written, "blocks.1.hook_resid_post")
    torch.testing.assert_close(model.logit_directions(z, "blocks.1.attn.hook_z"), expected)


@pytest.mark.parametrize("hook", ["blocks.1.attn.hook_q", "blocks.1.mlp.hook_pre", "unembed.hook_in"])
def test_a_hook_point_without_a_straight_way_is_refused(load, hook):
    """Where no linear map leads to the logits, none is made up."""
    with pytest.raises(api.ItemError, match="no straight way"):
        load("llama").logit_directions(torch.ones(1, load("llama").bridge.cfg.d_model), hook)


def test_an_output_that_is_normed_before_it_is_added_is_refused(load):
    """Gemma 2 norms the MLP's output: the division depends on all of it."""
    model = load("gemma2")
    with pytest.raises(api.ItemError, match="ln2_post"):
        model.logit_directions(torch.ones(1, model.bridge.cfg.d_model), "blocks.1.mlp.hook_out")
