"""``autointerp`` on a real model: the second paper's ordering at equal sparsity."""

from __future__ import annotations

import pytest

import darkmatter as dm

HOOK = "blocks.2.hook_resid_post"


@pytest.mark.slow
def test_latents_of_a_real_sae_are_told_from_the_text_better_than_those_of_controls(
    real, tmp_path, monkeypatch
):
    """An SAE above ICA, the identity, PCA and random directions, as in the paper: intervals do not touch."""
    monkeypatch.setenv("DARKMATTER_CACHE", str(tmp_path / "cache"))
    controls = {"ica": ",k=16", "identity": "", "pca_topk": ",k=16", "random": ",width=512,k=16"}
    found = dm.run(
        model=str(real / "stories260K"),
        text={"path": str(real / "tinystories_val.jsonl"), "context_length": 256, "contexts": 300},
        saes={
            "sae": str(real / "saes" / HOOK / "topk_w512_l0_16"),
            **{name: {"ref": f"baseline:{name}{how}", "hook": HOOK} for name, how in controls.items()},
        },
        evaluators={"autointerp": {"latents": 64}},
        controls=False,
    )
    metrics = {each.sae.name: {metric.name: metric for metric in each.metrics} for each in found}

    for control in controls:
        assert metrics["sae"]["score.both"].ci_low > metrics[control]["score.both"].ci_high
    for each in metrics.values():
        assert each["n_failed"].value == 0
        assert abs(each["score.unrelated"].value) < 0.1
