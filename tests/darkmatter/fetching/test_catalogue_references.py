"""References that a catalogue resolves, from fetching to numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from darkmatter.fetching.record import read_record
from darkmatter.sae.load import load_sae

FACTOR = 2.5
SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
LIST = """
toy-release:
  conversion_func: null
  model: gpt2-small
  repo_id: org/saes
  config_overrides: {model_from_pretrained_kwargs: {center_writing_weights: true}, model_name: other}
  saes:
  - {id: layer/7, path: run/a, l0: 10.5, norm_scaling_factor: 2.5, neuronpedia: toy/7-res}
"""


@pytest.fixture
def listed(hub, sample, darkmatter, tmp_path, monkeypatch):
    """A list with one SAE, whose files say that a factor is needed and not which."""
    hub.repository("org/saes", sample("sae_lens/legacy_normalize_true", "run/a/"))
    (tmp_path / "list.yaml").write_text(LIST)
    monkeypatch.setenv("DARKMATTER_SAELENS_REGISTRY", str(tmp_path / "list.yaml"))
    return lambda text: darkmatter("fetch", text, DARKMATTER_SAELENS_REGISTRY=str(tmp_path / "list.yaml"))


@pytest.mark.parametrize("reference", ["saelens:toy-release/layer/7", "neuronpedia:toy/7-res"])
def test_a_catalogues_name_is_fetched_and_loaded(reference, listed):
    """Both names lead to one hf: reference; what the list states goes with the SAE into results."""
    done = listed(reference)

    assert done.returncode == 0, done.stderr
    assert read_record("hf:org/saes/run/a") is not None
    stated = load_sae(reference).metadata.extra["source"]["catalogue"]
    assert (stated["release"], stated["id"], stated["l0"]) == ("toy-release", "layer/7", 10.5)
    assert stated["overrides"] == {"model": "other", "norm_factor": FACTOR, "processing": "compat"}
    assert stated["model_from_pretrained_kwargs"] == {"center_writing_weights": True}
    assert "center_writing_weights=True" in stated["notes"][0]
    assert "SHA-256" in stated["version"]
    json.dumps(stated)


def test_the_lists_norm_factor_is_applied(listed, sample):
    """Activations are multiplied by it before encoding and reconstructions divided, as SAELens does."""
    listed("saelens:toy-release/layer/7")
    plain, scaled = load_sae("hf:org/saes/run/a"), load_sae("saelens:toy-release/layer/7")
    assert (plain.metadata.processing, scaled.metadata.processing) == (None, "compat")
    assert "norm_factor 2.5 was given by the catalogue saelens (the file says nothing)." in scaled.assumptions
    assert not any("do not hold the scaling_factor" in each for each in scaled.assumptions)
    x = torch.randn(32, plain.d_in, generator=torch.Generator().manual_seed(0))

    torch.testing.assert_close(scaled.encode(x).to_dense(), plain.encode(FACTOR * x).to_dense())
    torch.testing.assert_close(scaled.reconstruct(x), plain.reconstruct(FACTOR * x) / FACTOR)


@pytest.mark.parametrize("sample_name", ["sae_lens/standard", "llama_scope/r1_lm_saes_inference"])
def test_the_lists_norm_factor_fills_open_scales_only(sample_name, hub, sample, listed, tmp_path):
    """Files that need no scale, or state theirs, are not scaled again; the results say what was left out."""
    golden = json.loads((SAMPLES / sample_name / "golden.json").read_text())
    inner = golden["path"].partition("/")[2]
    loader = {"saelens": "null", "llama_scope": "llama_scope_r1_distill"}[golden["adapter"]]
    text = LIST.replace("conversion_func: null", f"conversion_func: {loader}")
    (tmp_path / "list.yaml").write_text(text.replace("path: run/a", f"path: run/b/{inner}".rstrip("/")))
    hub.repository("org/saes", sample(sample_name, "run/b/"))
    done = listed("saelens:toy-release/layer/7")
    assert done.returncode == 0, done.stderr
    sae = load_sae("saelens:toy-release/layer/7")

    assert sae.fingerprint == load_sae(SAMPLES / sample_name / golden["path"]).fingerprint
    assert any("states norm_factor 2.5, which is left out" in each for each in sae.assumptions)
    assert "norm_factor" not in sae.overrides.given()
    assert sae.metadata.model == "other"


def test_what_the_user_states_comes_before_the_list(listed):
    """A factor that the user gives is used instead of the list's, and the list's other statements stay."""
    listed("saelens:toy-release/layer/7")
    sae = load_sae("saelens:toy-release/layer/7", overrides={"norm_factor": 4.0})
    assert (sae.normalisation.factor, sae.metadata.model) == (4.0, "other")
    assert not any("2.5" in each for each in sae.assumptions)
