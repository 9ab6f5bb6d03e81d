"""``concept_erasure`` on the embedded model against plain torch hooks on Hugging Face's own model."""

from __future__ import annotations

import pytest
import torch

import darkmatter as dm
from darkmatter import sources
from darkmatter.cache.spec import ActivationRequest
from darkmatter.split import make_split
from darkmatter_plugins.datasets import GenderConfig
from darkmatter_plugins.datasets.gender import world
from darkmatter_plugins.evaluators.concept_erasure.examples import _split
from darkmatter_plugins.sources.transformer_lens import open_source
from darkmatter_plugins.world.catalogue import FAMILY_HOOK, model_path, sae_paths
from darkmatter_plugins.world.demo import write_stories

CONTEXTS, LENGTH, LAYER, USED = 40, 32, 2, 8


class Layer:
    """A torch hook that changes what a decoder layer gives, where ``rows`` [B, P]."""

    def __init__(self, change, rows) -> None:
        self.change, self.rows = change, rows

    def __call__(self, module, inputs, output):
        hidden = output[0] if isinstance(output, tuple) else output
        value = self.change(hidden.double()).to(hidden)
        changed = torch.where(self.rows[..., None], value, hidden)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed


class Plain:
    """The embedded model in Hugging Face's library."""

    def __init__(self) -> None:
        from transformers import AutoModelForCausalLM

        loaded = AutoModelForCausalLM.from_pretrained(model_path(), attn_implementation="eager")
        self.model = loaded.eval()

    def hidden(self, tokens):
        with torch.no_grad():
            return self.model(tokens, output_hidden_states=True).hidden_states[LAYER + 1].double()

    def log_probabilities(self, tokens, change, rows):
        handle = self.model.model.layers[LAYER].register_forward_hook(Layer(change, rows))
        with torch.no_grad():
            found = self.model(tokens).logits.double().log_softmax(dim=-1)
        handle.remove()
        return found


def prompt_rows(positions, prompt, span):
    where = torch.arange(len(prompt))
    return where >= {"name": span[0], "last": len(where) - 1, "all": 1}[positions]


@pytest.mark.parametrize(
    "positions", ["name", *(pytest.param(name, marks=pytest.mark.slow) for name in ("last", "all"))]
)
def test_plain_torch_hooks_give_the_same_numbers(tmp_path, monkeypatch, positions):
    """Task score, edit and side effect of a projection and of a subtracted latent, by definition."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    stories = write_stories(tmp_path / "stories.jsonl", 40, latents=False)
    text = {"path": str(stories), "context_length": LENGTH, "contexts": CONTEXTS}
    path = sae_paths(FAMILY_HOOK)["topk-w256-k16"]
    config = {
        "dataset": {"name": "world_gender", "names": 10},
        "positions": positions,
        "contexts": USED,
        "random_seeds": 1,
    }
    spec = sources.ModelSpec(name=str(model_path()), device="cpu")
    fields = {"model": spec.model_dump(exclude={"provider"}), "text": text, "hooks": [FAMILY_HOOK]}
    evaluators = {"concept_erasure": config}
    (result,) = dm.run(**fields, saes={"s": str(path)}, evaluators=evaluators, controls=False, seed=0)
    found = {metric.name: metric for metric in result.metrics}

    store = open_source(ActivationRequest(spec, sources.TextSpec(**text), (FAMILY_HOOK,)))
    task, plain, sae = (
        world(GenderConfig(names=10), store.tokenizer(), 0).after(2),
        Plain(),
        dm.load_sae(path),
    )
    names = {False: set(_split(task, 0)[0]), True: set(_split(task, 0)[1])}
    y, z = [], []
    for prompt, span, label, group in zip(task.prompts, task.spans, task.labels, task.groups, strict=True):
        if group in names[False]:
            rows = plain.hidden(torch.tensor([prompt]))[0][prompt_rows(positions, prompt, span)]
            y.append(rows)
            z += [label] * len(rows)
    y, z = torch.cat(y), torch.tensor(z)
    difference = y[z == 1].mean(0) - y[z == 0].mean(0)
    u = difference / difference.norm()
    latent = result.tables["latents"][0]["latent"]
    f = sae.W_dec[latent].double()

    def project(v):
        return v - ((v - y.mean(0)) @ u)[..., None] * u

    def subtract(v):
        return v - sae.encode(v.float()).to_dense()[..., latent].double()[..., None] * f

    tokens, split = store.tokens(), make_split(store)
    test = split.test(0, CONTEXTS)
    used = test.any(dim=1).nonzero().flatten()[:USED]
    own = plain.log_probabilities(tokens[used], lambda v: v, test[used])
    for method, edit in (("mean_difference", project), ("latent_subtracted", subtract)):
        right, sizes = [], []
        for prompt, span, label, group in zip(
            task.prompts, task.spans, task.labels, task.groups, strict=True
        ):
            if group in names[True]:
                rows = prompt_rows(positions, prompt, span)
                prompts = torch.tensor([prompt])
                two = plain.log_probabilities(prompts, edit, rows[None])[0, -1, list(task.answers)]
                right.append(float(two.softmax(dim=0)[label]))
                hidden = plain.hidden(prompts)[0][rows]
                sizes.append((edit(hidden) - hidden).norm(dim=1))
        edited = plain.log_probabilities(tokens[used], edit, test[used])
        divergence = (own.exp() * (own - edited)).sum(dim=-1)
        kl = divergence[test[used]].mean()

        assert found[f"task.{method}"].value == pytest.approx(sum(right) / len(right), abs=2e-5)
        assert found[f"edit.{method}"].value == pytest.approx(float(torch.cat(sizes).mean()), rel=1e-4)
        assert found[f"kl.{method}"].value == pytest.approx(float(kl), rel=1e-4, abs=1e-6)
    assert "names" in found["task.latent"].ci_method
    # Some of the contexts are of one document, which is what is resampled.
    units = split.unit_of_context[used].unique()
    assert 1 < len(units) < USED
    assert f"{len(units)} {split.unit}s" in found["kl.latent"].ci_method
    assert found["kl.latent"].n == int(test[used].sum())
