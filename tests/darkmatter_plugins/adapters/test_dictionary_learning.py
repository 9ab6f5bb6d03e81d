"""dictionary_learning: which k and which hook point are taken, and when a file contradicts itself."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from darkmatter.errors import SAEFileError
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples" / "dictionary_learning"
TRAINED = SAMPLES / "topk" / "sae" / "trainer_0"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}


def copied(tmp_path, sample, *, io="out", tensors=None, **trainer):
    """A copy of a sample with fields of its trainer, its buffer's side and tensors changed (None removes)."""
    shutil.copytree(SAMPLES / sample / "sae" / "trainer_0", tmp_path / "sae")
    config, weights = tmp_path / "sae" / "config.json", tmp_path / "sae" / "ae.pt"
    content = json.loads(config.read_text())
    content["buffer"]["io"] = io
    content["trainer"] = {**content["trainer"], **trainer}
    config.write_text(json.dumps(content))
    stored = torch.load(weights, weights_only=True) | (tensors or {})
    torch.save({name: tensor for name, tensor in stored.items() if tensor is not None}, weights)
    return tmp_path / "sae"


@pytest.mark.parametrize("sample", ["topk", "batchtopk"])
def test_two_ks_are_an_error_until_the_user_says_which(tmp_path, sample):
    """The library refuses such a file; which of the two was trained, its files do not tell."""
    folder = copied(tmp_path, sample, tensors={"k": torch.tensor(3, dtype=torch.int32)}, k=9)
    with pytest.raises(
        SAEFileError, match=r"ae\.pt: tensor 'k' is 3, but field 'k' of .*config\.json.* is 9"
    ):
        load_sae(folder, adapters=BY_NAME)
    assert load_sae(folder, adapters=BY_NAME, overrides={"k": 9}).metadata.extra["k"] == 9


@pytest.mark.parametrize(
    ("tensor", "field"), [(torch.tensor([4]), None), (None, 4), (torch.tensor(4, dtype=torch.int32), 4)]
)
def test_the_k_on_record_is_the_k_in_use(tmp_path, tensor, field):
    """Either place may say k; metadata repeats the one that selects."""
    sae = load_sae(copied(tmp_path, "topk", tensors={"k": tensor}, k=field), adapters=BY_NAME)
    assert (sae.activation.k, sae.metadata.extra["k"]) == (4, 4)


def test_a_k_that_is_no_whole_number_is_refused(tmp_path):
    """A k of 3.7 is not taken for 3."""
    folder = copied(tmp_path, "topk", tensors={"k": torch.tensor(3.7)}, k=None)
    with pytest.raises(
        SAEFileError, match=r"ae\.pt, tensors: field 'k' is '3\.7.*expected a positive integer"
    ):
        load_sae(folder, adapters=BY_NAME)


@pytest.mark.parametrize(
    ("module", "side", "hook_in", "hook_out"),
    [
        ("resid_post_layer_8", "out", "blocks.8.hook_resid_post", "blocks.8.hook_resid_post"),
        ("resid_pre_layer_8", "out", "blocks.8.hook_resid_pre", "blocks.8.hook_resid_pre"),
        ("resid_pre_layer_8", "in_and_out", "blocks.8.hook_resid_pre", "blocks.8.hook_resid_post"),
        ("resid_mid_layer_8", "out", "blocks.8.hook_resid_mid", "blocks.8.hook_resid_mid"),
        ("mlp_layer_8", "out", "blocks.8.hook_mlp_out", "blocks.8.hook_mlp_out"),
        ("mlp_layer_8", "in", "blocks.8.mlp.hook_in", "blocks.8.mlp.hook_in"),
        ("attention_layer_8", "out", "blocks.8.hook_attn_out", "blocks.8.hook_attn_out"),
        ("embed_tokens", "out", "hook_embed", "hook_embed"),
        ("model.embed_tokens", "in", "hook_embed", "hook_embed"),
    ],
)
def test_the_modules_name_says_where_it_reads(tmp_path, module, side, hook_in, hook_out):
    """A name that says another place than its layer's output is followed, and the assumption quotes it."""
    sae = load_sae(copied(tmp_path, "topk", io=side, layer=8, submodule_name=module), adapters=BY_NAME)
    assert (sae.hook_in, sae.hook_out) == (hook_in, hook_out)
    (said,) = [each for each in sae.assumptions if each.about == "hook"]
    assert f"took {hook_in}" in said
    assert f"module {module!r}, side {side!r}" in said


@pytest.mark.parametrize(("module", "hook"), [("embed", "hook_embed"), ("resid_pre", None)])
def test_without_a_layer_only_the_embedding_is_a_place(tmp_path, module, hook):
    """The embedding has no layer; any other name without one says nothing."""
    sae = load_sae(copied(tmp_path, "topk", layer=None, submodule_name=module), adapters=BY_NAME)
    assert sae.hook_in == hook
    assert [each.about for each in sae.assumptions].count("hook") == 1


def test_two_files_with_other_tensors_ask_which(tmp_path):
    """ae.pt beside ae.safetensors is the same SAE, or nobody says which one is meant."""
    folder = tmp_path / "run"
    shutil.copytree(TRAINED, folder)
    saved = torch.load(folder / "ae.pt", weights_only=True)
    tensors = {name: tensor.contiguous() for name, tensor in saved.items()}
    save_file(tensors, folder / "ae.safetensors")
    assert load_sae(folder).fingerprint == load_sae(TRAINED).fingerprint
    save_file(tensors | {"b_dec": tensors["b_dec"] + 1}, folder / "ae.safetensors")
    with pytest.raises(SAEFileError, match=r"ae\.safetensors and ae\.pt, .* differ \(b_dec\)"):
        load_sae(folder)
    assert load_sae(folder / "ae.pt").fingerprint == load_sae(TRAINED).fingerprint
