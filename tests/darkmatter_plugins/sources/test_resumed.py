"""Going on from a hook point gives what a whole forward pass with the same replacement gives."""

import pytest
import torch

from darkmatter_plugins.sources.resumed import Junction, skipped

ARCHITECTURES = ["gpt2", "llama", "neox", "gemma2"]
PLACES = [
    "hook_embed",
    "blocks.0.hook_resid_pre",
    "blocks.1.hook_resid_pre",
    "blocks.0.hook_resid_post",
    "blocks.1.hook_resid_post",
    "blocks.2.hook_resid_post",
    "blocks.1.hook_mlp_out",
    "blocks.2.hook_mlp_out",
    "blocks.1.attn.hook_z",
    "unembed.hook_in",
]


def some_tokens():
    return torch.randint(3, 19, (3, 20), generator=torch.Generator().manual_seed(2))


def whole_run(model, tokens, hook, replacement):
    """Logits of every block, with a hook."""
    with torch.no_grad():
        return model.bridge.run_with_hooks(
            tokens,
            return_type="logits",
            fwd_hooks=[(hook, lambda there, hook: replacement.reshape(there.shape))],
        )


def blocks_run(model, action):
    """How many blocks do their work while ``action`` runs."""
    ran = []
    handles = [
        block.original_component.register_forward_hook(lambda *_: ran.append(1))
        for block in model.bridge.blocks
    ]
    action()
    for handle in handles:
        handle.remove()
    return len(ran)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_resumed_logits_equal_those_of_the_whole_model(load, architecture):
    """At every kind of hook point a replacement gives the logits of a whole forward pass, bit for bit."""
    model, tokens = load(architecture), some_tokens()
    generator = torch.Generator().manual_seed(5)
    for hook in PLACES:
        if hook not in model.hook_names():
            continue
        resumed = model.resume_at(tokens, hook)
        other = resumed.activations + torch.randn(resumed.activations.shape, generator=generator)
        patched = resumed.logits(other)
        assert torch.equal(patched, whole_run(model, tokens, hook, other)), hook
        assert not torch.allclose(patched, resumed.logits(), atol=1e-3), hook
        assert torch.equal(resumed.logits(resumed.activations), resumed.logits()), hook
        assert torch.equal(resumed.logits(other), patched), hook


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_the_blocks_after_the_hook_point_run(load, architecture):
    """The prefix is shared: a replacement after block 1 of three runs one block, inside block 1 two."""
    model, tokens = load(architecture), some_tokens()
    expected = {"blocks.0.hook_resid_pre": 3, "blocks.1.hook_mlp_out": 2, "blocks.1.attn.hook_z": 2}
    expected |= {"blocks.1.hook_resid_post": 1, "blocks.2.hook_resid_post": 0}
    for hook, count in expected.items():
        resumed = model.resume_at(tokens, hook)
        assert blocks_run(model, lambda r=resumed: r.logits(r.activations)) == count, hook


def test_the_model_is_itself_again_after_a_failure(load):
    """Blocks that were stood in for are restored, also where what runs in between raises."""
    model, tokens = load("gpt2"), some_tokens()
    before = model.forward(tokens, [])
    resumed = model.resume_at(tokens, "blocks.1.hook_mlp_out")
    with pytest.raises(RuntimeError):
        resumed.logits(resumed.activations[:, :-1])
    with pytest.raises(ValueError, match="planted"), skipped(model.bridge.blocks, None):
        raise ValueError("planted")
    assert torch.equal(model.forward(tokens, []).loss.nan_to_num(), before.loss.nan_to_num())


def test_replacements_are_left_alone(load):
    """What a caller gives is not changed, nor what the model itself had."""
    model, tokens = load("neox"), some_tokens()
    resumed = model.resume_at(tokens, "blocks.0.hook_resid_post")
    mine, own = resumed.activations + 1, resumed.activations.clone()
    kept = mine.clone()
    resumed.logits(mine)
    assert torch.equal(mine, kept)
    assert torch.equal(resumed.activations, own)


def test_a_model_whose_blocks_share_more_than_the_stream_runs_whole(load, monkeypatch):
    """Where leaving blocks out changes the logits, they are not left out."""
    from darkmatter_plugins.sources.transformer_lens import BridgedModel

    model, tokens, hook = load("llama"), some_tokens(), "blocks.1.hook_resid_post"
    fresh = object.__new__(BridgedModel)
    fresh.__dict__.update(model.__dict__, _resumes={})
    leaked = []
    blocks = model.bridge.blocks
    first = blocks[0].original_component.register_forward_hook(lambda *_: leaked.append(1.0))
    # The last block adds 1 where the first has run since: a stand-in for shared keys and values.
    last = blocks[2].original_component.register_forward_hook(
        lambda _m, _i, out: out + leaked.pop() if leaked else out
    )
    try:
        resumed = fresh.resume_at(tokens, hook)
        assert blocks_run(fresh, lambda: resumed.logits(resumed.activations)) == 3
        assert torch.equal(resumed.logits(resumed.activations), resumed.logits())
    finally:
        first.remove()
        last.remove()


def test_compat_processing_resumes_too(load):
    """Folded weights change the blocks, not how they are gone on from."""
    model, tokens = load("gpt2", processing="compat"), some_tokens()
    for hook in ("blocks.1.hook_resid_post", "blocks.1.hook_mlp_out"):
        resumed = model.resume_at(tokens, hook)
        other = resumed.activations * 0.5
        assert torch.equal(resumed.logits(other), whole_run(model, tokens, hook, other))
        assert blocks_run(model, lambda r=resumed: r.logits(r.activations)) < 3


def test_junctions_follow_from_names():
    """A hook point in a block waits for the blocks before it, its output for the block itself."""
    bridge = type("Bridge", (), {"blocks": ["a", "b", "c"]})
    assert Junction.of(bridge, "blocks.1.attn.hook_z").before == ("a",)
    assert Junction.of(bridge, "blocks.1.hook_out").before == ("a", "b")
    assert Junction.of(bridge, "ln_final.hook_scale").before == ("a", "b", "c")
    assert Junction.of(bridge, "hook_embed").before == ()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("hook", PLACES[3:9:2])
def test_a_later_hook_point_is_read_as_in_the_whole_model(load, architecture, hook):
    """What a later hook point has after a replacement is what a whole run with a hook has there."""
    model, tokens, later = load(architecture), some_tokens(), "blocks.2.hook_resid_post"
    resumed = model.resume_at(tokens, hook)
    replacement = resumed.activations + torch.randn(resumed.activations.shape)
    seen = []
    with torch.no_grad():
        model.bridge.run_with_hooks(
            tokens,
            fwd_hooks=[
                (hook, lambda there, hook: replacement.reshape(there.shape)),
                (later, lambda there, hook: seen.append(there.flatten(2))),
            ],
        )
    assert torch.equal(resumed.at(later, replacement), seen[0])
    assert torch.equal(resumed.at(hook), resumed.activations)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("hook", ["blocks.0.hook_resid_post", "blocks.1.attn.hook_z"])
@pytest.mark.parametrize("later", [None, "blocks.2.hook_mlp_out"])
def test_gradients_are_those_of_differences(load, architecture, hook, later):
    """The gradient of a number in the activations agrees with central differences of the number."""
    model, tokens = load(architecture, double=True), some_tokens()[:1]
    resumed = model.resume_at(tokens, hook)
    draw = torch.Generator().manual_seed(3)
    weight = torch.randn(7, generator=draw, dtype=torch.float64)

    def number(of):
        return (of[0, -1, :7] * weight).sum()

    found = resumed.gradient(number, hook=later)
    assert found.shape == resumed.activations.shape
    direction = torch.randn(found.shape, generator=draw, dtype=torch.float64)
    step = 1e-2  # some norms compute in float32, whatever they are given

    def at(place):
        return number(resumed.logits(place) if later is None else resumed.at(later, place))

    ahead, behind = (at(resumed.activations + sign * step * direction) for sign in (1, -1))
    expected = (ahead - behind) / (2 * step)
    torch.testing.assert_close((found * direction).sum(), expected, rtol=5e-3, atol=1e-3)
    assert not any(parameter.grad is not None for parameter in model.bridge.parameters())
