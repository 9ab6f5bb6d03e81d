"""The hook points that adapters take for a module's ends are those ends in the model itself."""

import pytest
import torch

from darkmatter.cache.spec import ModelSpec
from darkmatter_plugins.adapters._hooks import module_end, module_input, module_output
from darkmatter_plugins.adapters.gemma_scope import SITES
from darkmatter_plugins.sources.quiet import quiet
from darkmatter_plugins.sources.transformer_lens import TransformerLensProvider

TOKENS = torch.randint(3, 19, (2, 9), generator=torch.Generator().manual_seed(0))
MODULES = {
    "gpt2": ("transformer.h.1.mlp", "transformer.h.1.attn"),
    "llama": ("model.layers.1.mlp", "model.layers.1.self_attn"),
    "neox": ("gpt_neox.layers.1.mlp", "gpt_neox.layers.1.attention"),
    "gemma2": ("model.layers.1.mlp", "model.layers.1.self_attn"),
}
NORM = "model.layers.1.pre_feedforward_layernorm"


@pytest.fixture
def plain(models):
    """A function from architecture and module to the module of Hugging Face's model, its input and output."""
    from transformers import AutoModelForCausalLM

    def run(architecture, name):
        with quiet():
            folder = models(architecture)
            model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        seen = {}

        def keep(_module, positional, named, output):
            seen["in"] = positional[0] if positional else named["hidden_states"]
            seen["out"] = output

        module = model.get_submodule(name)
        module.register_forward_hook(keep, with_kwargs=True)
        with torch.no_grad():
            model(TOKENS)
        return module, seen

    return run


@pytest.fixture
def at(models):
    """A function from architecture, hook point and processing to what our provider gives there."""

    def activations(architecture, hook, processing="raw"):
        spec = ModelSpec(name=str(models(architecture)), device="cpu", processing=processing)
        return TransformerLensProvider().load(spec).forward(TOKENS, [hook]).activations[hook]

    return activations


@pytest.mark.parametrize(
    ("architecture", "name"), [(model, name) for model, names in MODULES.items() for name in names]
)
def test_a_modules_input_is_what_the_module_gets(plain, at, architecture, name):
    """An SAE trained on a module's input is given that input, the norm's weight and bias included."""
    _, seen = plain(architecture, name)
    torch.testing.assert_close(at(architecture, module_input(name)), seen["in"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "name"), [(model, name) for model, names in MODULES.items() for name in names]
)
def test_a_modules_output_is_what_the_module_gives(plain, at, architecture, name):
    """An SAE trained on a module's output is given that output, not what a norm behind it makes of it."""
    _, seen = plain(architecture, name)
    given = seen["out"][0] if isinstance(seen["out"], tuple) else seen["out"]
    recorded = "google/gemma-2-2b" if architecture == "gemma2" else architecture
    torch.testing.assert_close(at(architecture, module_output(name, recorded)), given, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", [NORM, NORM.replace("pre_", "post_")])
def test_the_norms_around_an_mlp_are_found(plain, at, norm):
    """A Gemma Scope 2 transcoder reads one norm's output and predicts the other's."""
    _, seen = plain("gemma2", norm)
    torch.testing.assert_close(at("gemma2", module_end(f"{norm}.output")), seen["out"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("processing", ["raw", "compat"])
def test_gemma_scopes_transcoders_read_the_norm_without_its_gain(plain, at, processing):
    """Their training folded the gain into the MLP; the hook point gives that input, folded or not."""
    norm, seen = plain("gemma2", NORM)
    before, _ = SITES["transcoders"]
    without_gain = seen["out"] / (1 + norm.weight.detach())
    torch.testing.assert_close(
        at("gemma2", f"blocks.1.{before}", processing), without_gain, rtol=1e-4, atol=1e-5
    )
