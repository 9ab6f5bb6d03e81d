"""``ce_attribution`` on the embedded model against plain torch hooks on Hugging Face's own model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter import sources
from darkmatter.cache.spec import ActivationRequest
from darkmatter.split import make_split
from darkmatter_plugins.sources.transformer_lens import open_source
from darkmatter_plugins.world.catalogue import FAMILY_HOOK, SAES, model_path, sae_path, sae_paths
from darkmatter_plugins.world.demo import write_stories

CONTEXTS, LENGTH, LAYER = 150, 48, 2


@pytest.fixture
def setting(tmp_path, monkeypatch, request):
    """Fields of a small run on the embedded world, and the store that it reads."""
    hook = getattr(request, "param", FAMILY_HOOK)
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    stories = write_stories(tmp_path / "stories.jsonl", 120, latents=False)
    text = {"path": str(stories), "context_length": LENGTH, "contexts": CONTEXTS}
    model = sources.ModelSpec(name=str(model_path()), device="cpu")
    wanted = ActivationRequest(model, sources.TextSpec(**text), (hook,))
    fields = {"model": model.model_dump(exclude={"provider"}), "text": text, "hooks": [hook]}
    return fields, open_source(wanted)


class Layer:
    """A torch hook that replaces what a decoder layer gives, where ``rows`` [B, P]."""

    def __init__(self, value, rows) -> None:
        self.value, self.rows = value, rows

    def __call__(self, module, inputs, output):
        hidden = output[0] if isinstance(output, tuple) else output
        changed = torch.where(self.rows[..., None], self.value, hidden)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed


def test_plain_torch_hooks_give_the_same_numbers(setting):
    """CE of every setting, shares and KL of one real SAE, by Hugging Face and lstsq alone, to 1e-5."""
    from transformers import AutoModelForCausalLM

    fields, store = setting
    path = sae_paths(FAMILY_HOOK)["topk-w256-k16"]
    run = {**fields, "saes": {"s": str(path)}, "controls": False, "seed": 0}
    (result,) = dm.run(**run, evaluators={"ce_attribution": {"controls": "none"}})
    found = {metric.name: metric.value for metric in result.metrics}

    model = AutoModelForCausalLM.from_pretrained(model_path(), attn_implementation="eager").eval()
    tokens, split = store.tokens(), make_split(store)
    train, test = split.train(0, CONTEXTS), split.test(0, CONTEXTS)
    contexts = test.any(dim=1)
    with torch.no_grad():
        hidden = model(tokens, output_hidden_states=True).hidden_states[LAYER + 1]
        S = dm.load_sae(path).reconstruct(hidden)
    x, e = hidden.double(), hidden.double() - S.double()
    ones = torch.ones(*x.shape[:2], 1, dtype=torch.float64)
    design = torch.cat([x, ones], dim=-1)
    L = design @ torch.linalg.lstsq(design[train], e[train]).solution
    N = e - L

    def run_with(value=None):
        handle = model.model.layers[LAYER].register_forward_hook(
            (lambda *_: None) if value is None else Layer(value.float(), test)
        )
        with torch.no_grad():
            log_p = model(tokens).logits.double().log_softmax(-1)[contexts, :-1]
        handle.remove()
        return log_p

    rows, targets = test[contexts, :-1], tokens[contexts, 1:, None]
    settings = {
        "clean": None, "sae": S, "sae_linear": S + L, "sae_nonlinear": S + N,
        "zero": torch.zeros_like(x), "mean": x[train].mean(dim=0).expand_as(x),
    }  # fmt: skip
    log_p = {name: run_with(value) for name, value in settings.items()}
    ce = {name: float(-value.gather(-1, targets).squeeze(-1)[rows].mean()) for name, value in log_p.items()}
    for name, value in ce.items():
        assert found[f"ce.{name}"] == pytest.approx(value, abs=1e-5), name
    for name in ("clean", "sae", "zero", "mean"):
        assert found[f"perplexity.{name}"] == pytest.approx(math.exp(ce[name]), rel=1e-5), name
    ends = {each.name: np.array([each.ci_low, each.ci_high], float) for each in result.metrics}
    assert ends["perplexity.sae"] == pytest.approx(np.exp(ends["ce.sae"]), rel=1e-9)
    increase = ce["sae"] - ce["clean"]
    for part in ("linear", "nonlinear"):
        share = 100 * (ce["sae"] - ce[f"sae_{part}"]) / increase
        assert found[f"share.ce.{part}"] == pytest.approx(share, abs=0.2), part
    kl = (log_p["clean"].exp() * (log_p["clean"] - log_p["sae"])).sum(-1)[rows].mean()
    assert found["kl"] == pytest.approx(float(kl), abs=1e-5)
    squares = [part[test].square().sum() for part in (e, L, N)]
    assert found["share.fvu.linear"] == pytest.approx(float(100 * (1 - squares[2] / squares[0])), abs=1e-3)
    assert found["share.fvu.nonlinear"] == pytest.approx(float(100 * (1 - squares[1] / squares[0])), abs=1e-3)
    recovered = (ce["zero"] - ce["sae"]) / (ce["zero"] - ce["clean"])
    assert found["loss_recovered"] == pytest.approx(recovered, abs=1e-5)


def module_at(model, hook):
    """The Hugging Face module whose output (MLP) or input (attention: values of all heads) is at a hook."""
    layer = model.model.layers[LAYER]
    return (layer.mlp, False) if hook.endswith("hook_mlp_out") else (layer.self_attn.o_proj, True)


@pytest.mark.parametrize(
    "setting", [f"blocks.{LAYER}.hook_mlp_out", f"blocks.{LAYER}.attn.hook_z"], indirect=True
)
def test_mlp_output_and_attention_values_are_patched_where_they_stand(setting):
    """CE at an MLP's output and at the heads' values, by Hugging Face alone, to 1e-5."""
    from transformers import AutoModelForCausalLM

    fields, store = setting
    (hook,) = fields["hooks"]
    (path,) = (sae_path(sae) for sae in SAES if sae.hook == hook)
    run = {**fields, "saes": {"s": str(path)}, "controls": False, "seed": 0}
    (result,) = dm.run(**run, evaluators={"ce_attribution": {"controls": "none"}})
    found = {metric.name: metric.value for metric in result.metrics}

    model = AutoModelForCausalLM.from_pretrained(model_path(), attn_implementation="eager").eval()
    tokens, split = store.tokens(), make_split(store)
    train, test = split.train(0, CONTEXTS), split.test(0, CONTEXTS)
    contexts = test.any(dim=1)
    module, at_input = module_at(model, hook)
    seen = []

    def log_p(value=None):
        def put(own):
            seen.append(own)
            return own if value is None else torch.where(test[..., None], value, own)

        handle = (
            module.register_forward_pre_hook(lambda _, inputs: (put(inputs[0]),))
            if at_input
            else module.register_forward_hook(lambda _, __, output: put(output))
        )
        with torch.no_grad():
            found = model(tokens).logits.double().log_softmax(-1)[contexts, :-1]
        handle.remove()
        return found

    clean, x = log_p(), seen[0]
    settings = {
        "sae": dm.load_sae(path).reconstruct(x),
        "zero": torch.zeros_like(x),
        "mean": x[train].mean(dim=0).expand_as(x),
    }
    rows, targets = test[contexts, :-1], tokens[contexts, 1:, None]
    predictions = {"clean": clean, **{name: log_p(value) for name, value in settings.items()}}
    for name, prediction in predictions.items():
        ce = float(-prediction.gather(-1, targets).squeeze(-1)[rows].mean())
        assert found[f"ce.{name}"] == pytest.approx(ce, abs=1e-5), name
    assert found["ce_increase.zero"] > 100 * 1e-5
