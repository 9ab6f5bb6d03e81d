"""What TransformerLens hands us is what plain Hugging Face computes."""

import logging
import warnings

import pytest
import torch

from darkmatter.cache.spec import ActivationRequest, ModelSpec, TextSpec
from darkmatter.errors import UsageError
from darkmatter_plugins.sources import SOURCES
from darkmatter_plugins.sources.quiet import quiet
from darkmatter_plugins.sources.transformer_lens import TransformerLensProvider, open_source

ARCHITECTURES = ["gpt2", "llama", "neox"]


@pytest.fixture(scope="module")
def plain(models):
    """A function from architecture to Hugging Face's own model."""
    from transformers import AutoModelForCausalLM

    def get(architecture):
        with quiet():
            return AutoModelForCausalLM.from_pretrained(
                models(architecture), attn_implementation="eager"
            ).eval()

    return get


def some_tokens():
    """Tokens [3, 20] with BOS, EOS and padding's id in the middle."""
    tokens = torch.randint(3, 19, (3, 20), generator=torch.Generator().manual_seed(2))
    tokens[:, 0] = 0
    tokens[0, 7:9] = 1
    tokens[1, 11] = 0
    return tokens


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_residuals_and_losses_equal_hugging_face(load, plain, architecture):
    """Every residual stream and the loss of every token are plain Hugging Face's."""
    tokens = some_tokens()
    hooks = [f"blocks.{layer}.hook_resid_post" for layer in range(2)]
    got = load(architecture).forward(tokens, hooks)
    with torch.no_grad():
        out = plain(architecture)(tokens, output_hidden_states=True)
    for layer, hook in enumerate(hooks):
        torch.testing.assert_close(got.activations[hook], out.hidden_states[layer + 1], rtol=1e-5, atol=1e-5)
    log_probs = out.logits[:, :-1].log_softmax(-1)
    expected = -log_probs.gather(-1, tokens[:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(got.loss[:, :-1], expected, rtol=1e-5, atol=1e-5)
    assert got.loss.dtype == torch.float32
    assert got.loss[:, -1].isnan().all()


@pytest.mark.parametrize(
    ("architecture", "output"), [("gpt2", "c_proj"), ("llama", "o_proj"), ("neox", "dense")]
)
def test_attention_heads_are_flattened_in_order(load, plain, architecture, output):
    """hook_z flattened is what the attention's output projection reads."""
    model = plain(architecture)
    seen = {}
    name = next(n for n, _ in model.named_modules() if ".1." in n and "att" in n and n.endswith(output))
    model.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.update(z=args[0]))
    tokens = some_tokens()
    with torch.no_grad():
        model(tokens)
    z = load(architecture).forward(tokens, ["blocks.1.attn.hook_z"]).activations["blocks.1.attn.hook_z"]
    torch.testing.assert_close(z, seen["z"].reshape(3, 20, 16), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_asking_for_more_changes_no_bytes(load, architecture):
    """A hook point's numbers and the losses do not depend on what else is asked for."""
    tokens = some_tokens()
    model = load(architecture)
    hooks = ["blocks.0.hook_mlp_out", "blocks.2.hook_resid_post", "blocks.1.attn.hook_z"]
    together = model.forward(tokens, hooks)
    for hook in hooks:
        alone = model.forward(tokens, [hook])
        assert torch.equal(alone.activations[hook], together.activations[hook])
        assert torch.equal(alone.loss.nan_to_num(), together.loss.nan_to_num())
    assert torch.equal(model.forward(tokens, []).loss.nan_to_num(), together.loss.nan_to_num())


def test_unknown_hook_point_names_the_nearest(load):
    """A misspelt hook point, or one without positions, is an error with the nearest names."""
    model = load("gpt2")
    with pytest.raises(UsageError, match=r"Did you mean 'blocks\.2\.hook_resid_post'"):
        model.check_hooks(["blocks.2.hook_resid_pots"])
    with pytest.raises(UsageError, match="hook_resid"):
        model.forward(some_tokens(), ["blocks.9.hook_resid_post"])
    with pytest.raises(UsageError, match="per position"):
        model.check_hooks(["blocks.1.attn.hook_pattern"])
    names = model.hook_names()
    assert {"blocks.0.hook_resid_pre", "blocks.0.hook_mlp_out", "blocks.1.attn.hook_z"} <= set(names)
    model.check_hooks(names)


def test_compat_processing_moves_the_residual_and_keeps_the_losses(load):
    """Folded and centred weights give the same predictions in another residual stream."""
    tokens, hook = some_tokens(), "blocks.1.hook_resid_post"
    raw = load("gpt2").forward(tokens, [hook])
    compat = load("gpt2", processing="compat").forward(tokens, [hook])
    torch.testing.assert_close(raw.loss, compat.loss, rtol=1e-3, atol=1e-3, equal_nan=True)
    assert (raw.activations[hook] - compat.activations[hook]).abs().max() > 0.01
    assert compat.activations[hook].mean(-1).abs().max() < 1e-4


def test_source_caches_a_model_end_to_end(models, story, tmp_path):
    """From folder and text to a store; the second time nothing is loaded; bf16 is kept as bf16."""
    hooks = ("blocks.1.hook_resid_post", "blocks.1.attn.hook_z")
    text = TextSpec(path=str(story), context_length=16, contexts=12)
    for dtype in ("float32", "bfloat16"):
        spec = ModelSpec(name=str(models("llama")), dtype=dtype, device="cpu")
        store = open_source(ActivationRequest(spec, text, hooks), root=tmp_path)
        assert store.read(hooks[0], 0, 12).shape == store.read(hooks[1], 0, 12).shape == (12, 16, 16)
        assert store.read(hooks[0], 0, 1).dtype == torch.float32
        assert store.entry.map_shard(hooks[0], store.shards()[0]).dtype == dtype
        direct = TransformerLensProvider().load(spec).forward(store.tokens(), hooks)
        assert torch.equal(store.read(hooks[0], 0, 12), direct.activations[hooks[0]].float())
        assert (store.tokens()[:, 0] == 0).all()
        assert store.mask()[store.tokens() == 2].all(), "an unknown word is text"
        assert not store.mask()[store.tokens() < 2].any()
    assert len(list(tmp_path.iterdir())) == 2


def test_tokenizer_adds_nothing_and_shows_tokens(models):
    """Ids are those of the words alone."""
    tokenizer = TransformerLensProvider().load_tokenizer(ModelSpec(name=str(models("gpt2"))))
    assert tokenizer.encode(["cat sat", "zebra"]) == [[3, 5], [2]]
    assert tokenizer.decode([3, 5]) == ["cat", "sat"]
    assert (tokenizer.bos, tokenizer.eos, tokenizer.special) == (0, 1, {0, 1})


def test_nothing_is_said_and_nothing_stays_changed(models, capfd):
    """Loading prints nothing, and leaves warnings, logging and progress bars as they were."""
    from transformers.utils import logging as bars

    def state():
        return list(warnings.filters), logging.root.manager.disable, bars.is_progress_bar_enabled()

    spec = ModelSpec(name=str(models("gpt2")), processing="compat", device="cpu")
    capfd.readouterr()  # making the model may have shown a progress bar
    TransformerLensProvider().load(spec).forward(some_tokens(), ["blocks.0.hook_resid_post"])
    assert capfd.readouterr() == ("", "")
    before = state()  # modules that were imported for the first time may have added filters
    TransformerLensProvider().load(spec).forward(some_tokens(), ["blocks.0.hook_resid_post"])
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_unknown_device_is_refused(models):
    """A device that is not there is an error that lists what may be asked for."""
    with pytest.raises(UsageError, match="cpu, cuda"):
        TransformerLensProvider().identify(ModelSpec(name=str(models("gpt2")), device="nonsense"))


def test_descriptors_resolve():
    """Every source's implementation can be imported."""
    assert [callable(source.resolve()) for source in SOURCES] == [True] * len(SOURCES)


def test_real_model_predicts_real_text(real, tmp_path):
    """A published model on its own kind of text has the cross-entropy that it is known to have."""
    text = TextSpec(path=str(real / "tinystories_val.jsonl"), context_length=256, contexts=24)
    request = ActivationRequest(
        ModelSpec(name=str(real / "stories260K"), device="cpu"), text, ("blocks.2.hook_resid_post",)
    )
    store = open_source(request, root=tmp_path)
    assert store.n_contexts == 24
    assert 1.2 < float(store.loss()[:, :-1].mean()) < 1.65
    assert store.dim("blocks.2.hook_resid_post") == 64
