"""``feature_editing`` on the embedded world, where gender is known to be a feature."""

from __future__ import annotations

import darkmatter as dm
from darkmatter_plugins.world.catalogue import FAMILY_HOOK, model_path, sae_paths
from darkmatter_plugins.world.demo import write_stories


def test_a_few_features_change_the_pronoun(tmp_path, monkeypatch):
    """Eight features of a trained SAE turn she into he; eight random directions do not."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    stories = write_stories(tmp_path / "stories.jsonl", 60, latents=False)
    sae = sae_paths(FAMILY_HOOK)["topk-w1024-k16"]
    found = dm.run(
        model=str(model_path()),
        text={"path": str(stories), "context_length": 64, "contexts": 60},
        hooks=[FAMILY_HOOK],
        saes={"trained": str(sae), "random": "baseline:random,width=1024,k=16"},
        evaluators={"feature_editing": {"dataset": "world_pronoun,pairs=24", "largest": 8}},
        controls=False,
        seed=0,
    )
    metrics = {each.sae.name: {metric.name: metric for metric in each.metrics} for each in found}
    trained, random = metrics["trained"], metrics["random"]
    assert trained["right"].value > 0.9
    assert trained["flipped"].value > 0.9
    assert random["flipped"].value < 0.3
    assert trained["kl_left"].ci_high < random["kl_left"].ci_low
    assert trained["features_for_half"].value < 3
