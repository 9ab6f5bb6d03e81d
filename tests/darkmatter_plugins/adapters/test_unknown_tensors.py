"""A file with a tensor of another formula is refused by every format."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter.errors import SAEFileError
from darkmatter.files.view import FileView
from darkmatter.sae.detect import detect
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
HOOK_Z = next((SAMPLES / "hook_z_attention").rglob("*.pt"))
CLT = next((SAMPLES / "gemma_scope_2/clt_affine").rglob("params_layer_1.safetensors"))


@pytest.mark.parametrize(
    ("sample", "tensor"),
    [
        ("circuit_tracer/per_layer_relu/sae/layer_5.safetensors", "threshold"),
        ("sae_lens/standard/sae/sae_weights.safetensors", "threshold"),
        ("sae_lens/topk/sae/sae_weights.safetensors", "b_mag"),
    ],
)
def test_a_threshold_of_another_architecture_is_refused(tmp_path, sample, tensor):
    """What the configuration calls ReLU and the file gives thresholds is not read as ReLU."""
    folder = tmp_path / "copy"
    shutil.copytree((SAMPLES / sample).parent, folder)
    path = folder / Path(sample).name
    save_file(load_file(path) | {tensor: torch.ones(24)}, path)
    with pytest.raises(SAEFileError, match=f"{path.name}: has tensor '{tensor}', which this format"):
        load_sae(folder, adapters=BY_NAME)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"act_size": 12, "sae_type": "jumprelu", "top_k": 4}, "sae_type 'jumprelu'"),
        ({"act_size": 12, "sae_type": "vanilla", "input_unit_norm": True}, "input_unit_norm true"),
    ],
)
def test_settings_of_another_form_are_not_taken_for_attention_saes(tmp_path, settings, says):
    """Later scripts of the same layout train other SAEs; their settings say which."""
    shutil.copy(HOOK_Z, tmp_path / "sae.pt")
    (tmp_path / "sae_cfg.json").write_text(json.dumps(settings))
    with pytest.raises(SAEFileError, match=says):
        load_sae(tmp_path, adapters=BY_NAME)
    with pytest.raises(SAEFileError, match=says):
        load_sae(tmp_path, adapters=BY_NAME, adapter="hook_z")


def test_settings_that_name_no_form_make_it_likely(tmp_path):
    """Sizes alone are of many scripts; an attention hook point, or a sae_type, is what makes it sure."""
    shutil.copy(HOOK_Z, tmp_path / "sae.pt")
    for settings, confidence in (
        ({"act_size": 12}, "likely"),
        ({"act_size": 12, "sae_type": "vanilla"}, "exact"),
        ({"act_name": "blocks.0.attn.hook_z"}, "exact"),
    ):
        (tmp_path / "sae_cfg.json").write_text(json.dumps(settings))
        (claim,) = detect(FileView(tmp_path), {"hook_z": BY_NAME["hook_z"]})
        assert claim.verdict.confidence == confidence


def test_settings_beside_the_weights_are_not_qwen_scopes(tmp_path):
    """layer1.sae.pt with a script's settings has one reader, the one that reads them."""
    shutil.copy(HOOK_Z, tmp_path / "layer1.sae.pt")
    settings = {"act_name": "blocks.0.attn.hook_z", "act_size": 12}
    (tmp_path / "layer1.sae_cfg.json").write_text(json.dumps(settings))
    assert load_sae(tmp_path, adapters=BY_NAME).metadata.format == "hook_z"


def test_a_cross_layer_decoder_stays_unread(monkeypatch):
    """The decoder of a cross-layer transcoder, most of its file, is checked by its header alone."""
    read, tensors = [], FileView.tensors

    def recorded(self, *arguments, **named):
        found = tensors(self, *arguments, **named)
        read.extend(found)
        return found

    monkeypatch.setattr(FileView, "tensors", recorded)
    assert not load_sae(CLT, adapters=BY_NAME).reconstructs
    assert sorted(read) == ["b_dec", "b_enc", "threshold", "w_enc"]
