"""Llama Scope: where the threshold applies, what folds into what, and which files are refused."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter.errors import SAEFileError
from darkmatter.files.view import FileView
from darkmatter.sae.detect import adapter_for, detect
from darkmatter.sae.load import LoadOptions, load_sae, read
from darkmatter.sae.overrides import Overrides
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples" / "llama_scope"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}


def expected(sample):
    """What the library of the sample computes."""
    return load_file(SAMPLES / sample / "expected.safetensors")


def copied(tmp_path, sample, **changes):
    """A copy of a sample with fields of its configuration changed (None removes one)."""
    golden = json.loads((SAMPLES / sample / "golden.json").read_text())
    shutil.copytree(SAMPLES / sample / "sae", tmp_path / "sae")
    folder = tmp_path / golden["path"]
    names = ("hyperparams.json", "config.json")
    (config,) = [folder / name for name in names if (folder / name).is_file()]
    content = {**json.loads(config.read_text()), **changes}
    config.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return folder


def loaded(folder, adapter=None, **overrides):
    """The SAE of a folder, read with overrides."""
    view = FileView(folder)
    chosen = adapter_for(view, BY_NAME, adapter)
    return read(view, chosen, LoadOptions(overrides=Overrides(**overrides)))


def test_the_gate_sees_decoder_norms_where_saelens_does_not(tmp_path):
    """With sparsity_include_decoder_norm the threshold is compared with h times the decoder's norm.

    SAELens's rule, the same threshold on h alone, finds other latents on OpenMOSS's own sample.
    """
    x, codes = expected("lm_saes_jumprelu")["x"], expected("lm_saes_jumprelu")["codes"]
    as_saelens = load_sae(
        copied(tmp_path, "lm_saes_jumprelu", sparsity_include_decoder_norm=False), adapters=BY_NAME
    )
    own = load_sae(SAMPLES / "lm_saes_jumprelu" / "sae" / "Llama3_1-8B-Base-L7R-8x", adapters=BY_NAME)
    assert torch.equal(own.encode(x).to_dense() != 0, codes != 0)
    assert not torch.equal(as_saelens.encode(x).to_dense() != 0, codes != 0)


def test_the_threshold_is_in_units_of_raw_activations():
    """jump_relu_threshold is multiplied by the scale of the activations before it meets scaled ones."""
    sae = load_sae(SAMPLES / "base" / "sae" / "Llama3_1-8B-Base-LXR-8x" / "Llama3_1-8B-Base-L7R-8x")
    assert float(sae.activation.threshold) == pytest.approx(0.9 * math.sqrt(12) / 7.5)


@pytest.mark.parametrize("sample", ["base", "lm_saes_jumprelu"])
def test_a_negative_threshold_lets_negative_codes_through(tmp_path, sample):
    """OpenMOSS of October 2024 keeps h where h > threshold and has no ReLU."""
    sae, x = load_sae(copied(tmp_path, sample, jump_relu_threshold=-0.5)), expected(sample)["x"]
    h = (sae.normalisation.apply(x).x - (0 if sae.subtract is None else sae.subtract)) @ sae.W_enc + sae.b_enc
    compared = h if sae.gate_scale is None else h * sae.gate_scale
    kept = compared > -0.5 * math.sqrt(12) / 7.5
    codes = sae.encode(x).to_dense()
    assert bool((codes < 0).any())
    torch.testing.assert_close(codes, torch.where(kept, h, 0))


def test_codes_are_those_of_the_stored_weights_not_of_the_folded_ones():
    """The publisher's loader rescales codes latent by latent; supports and reconstructions are the same."""
    found = expected("lm_saes_jumprelu")
    weights = next((SAMPLES / "lm_saes_jumprelu").rglob("final.safetensors"))
    norms = load_file(weights)["decoder.weight"].norm(dim=0)
    torch.testing.assert_close(found["codes_folded"], found["codes"] * norms * 7.5 / math.sqrt(12))


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/final.safetensors", "hyperparams.json"])
def test_an_sae_is_found_by_any_of_its_places(place):
    """The SAE's folder, the folder of its weights, the weights and the configuration name the same SAE."""
    folder = SAMPLES / "lm_saes_topk" / "sae" / "Llama3_1-8B-Base-L7R-8x"
    if place == "hyperparams.json":
        view = FileView(folder / place)
        assert [claim.adapter.name for claim in detect(view, BY_NAME) if claim.exact] == ["llama_scope"]
    assert load_sae(folder / place, adapters=BY_NAME).fingerprint == load_sae(folder).fingerprint


@pytest.mark.parametrize("sample", ["base", "r1_distill", "r1_lm_saes_jumprelu", "lm_saes_transcoder"])
def test_one_adapter_claims_each_layout(sample):
    """sae_weights.safetensors is a name of three formats; each file has one reader."""
    golden = json.loads((SAMPLES / sample / "golden.json").read_text())
    claims = detect(FileView(SAMPLES / sample / golden["path"]), BY_NAME)
    assert [claim.adapter.name for claim in claims if claim.exact or claim.likely] == ["llama_scope"]


def test_a_field_that_is_missing_has_the_publishers_default(tmp_path):
    """What the class takes where a field is missing: decoder norms; the input bias in 2024, not in 2025."""
    left_out = load_sae(copied(tmp_path, "lm_saes_jumprelu", sparsity_include_decoder_norm=None))
    assert torch.equal(left_out.gate_scale, left_out.W_dec.norm(dim=1))
    assert "sparsity_include_decoder_norm not recorded; taken as true." in left_out.assumptions
    fields = {"apply_decoder_bias_to_pre_encoder": None, "act_fn": None, "hook_point_out": None}
    old, r1 = (load_sae(copied(tmp_path / name, name, **fields)) for name in ("base", "r1_distill"))
    assert old.subtract is not None
    assert r1.subtract is None
    taken = [[each for each in sae.assumptions if "not recorded; taken as" in each] for sae in (old, r1)]
    assert [[each.rpartition(" as ")[2] for each in sentences] for sentences in taken] == [
        ["relu.", "true.", "blocks.7.hook_resid_post."],
        ["jumprelu.", "false.", "blocks.7.hook_resid_post."],
    ]


def test_a_missing_decoder_bias_is_none(tmp_path):
    """use_decoder_bias false: nothing is added, and nothing is asked of the file."""
    folder = copied(tmp_path, "lm_saes_jumprelu", use_decoder_bias=False)
    path = folder / "checkpoints" / "final.safetensors"
    tensors = load_file(path)
    del tensors["decoder.bias"]
    save_file(tensors, path)
    assert load_sae(folder).b_dec is None


def test_a_recorded_width_needs_no_expansion_factor(tmp_path):
    """d_sae says what expansion_factor would; without both, the field to add is named."""
    assert load_sae(copied(tmp_path / "one", "base", d_sae=24, expansion_factor=None)).d_sae == 24
    with pytest.raises(SAEFileError, match="'expansion_factor' is missing; expected a positive integer"):
        load_sae(copied(tmp_path / "two", "base", d_sae=None, expansion_factor=None))


def test_a_batch_wise_sae_needs_a_scale(tmp_path):
    """A batch-wise norm has no value for a row, so it is refused unless the user gives the scale."""
    folder = copied(tmp_path, "lm_saes_topk", norm_activation="batch-wise")
    with pytest.raises(SAEFileError, match=r"'batch-wise'.*--override norm_factor=NUMBER"):
        load_sae(folder)
    assert loaded(folder, norm_factor=0.5).normalisation.factor == 0.5


def test_what_the_names_do_not_say_is_assumed(tmp_path):
    """Model, context length and BOS policy stand in no file; the model is known by the folders' names."""
    sae = load_sae(copied(tmp_path, "lm_saes_topk"))
    assert sae.metadata.model == "meta-llama/Llama-3.1-8B"
    assert {assumption.about for assumption in sae.assumptions} == {"model", "context_length", "bos", None}
    renamed = tmp_path / "other"
    shutil.copytree(tmp_path / "sae" / "Llama3_1-8B-Base-L7R-8x", renamed)
    assert load_sae(renamed).metadata.model is None


@pytest.mark.parametrize(
    ("sample", "changes", "message"),
    [
        ("base", {"act_fn": "softmax"}, "'act_fn' is 'softmax', which is not supported"),
        ("base", {"jump_relu_threshold": None}, "'jump_relu_threshold' is missing"),
        ("base", {"use_glu_encoder": True}, "'use_glu_encoder' is True; expected false"),
        ("base", {"norm_activation": "layer-wise"}, "'layer-wise', which is not supported.*dataset-wise"),
        ("base", {"dataset_average_activation_norm": {"in": 7.5}}, "field 'out' is missing; expected the av"),
        ("base", {"dataset_average_activation_norm": {"in": 0.0, "out": 1.0}}, "field 'in' is 0; expected"),
        ("base", {"d_sae": 23}, r"'decoder.weight' has shape \[12, 24\]; expected \[12, 23\]"),
        ("lm_saes_transcoder", {"norm_activation": "token-wise"}, "the hook points differ"),
        ("lm_saes_transcoder", {"apply_decoder_bias_to_pre_encoder": True}, "subtract different vectors"),
        ("r1_distill", {"act_fn": "topk"}, "'act_fn' is 'topk', which is not supported"),
        ("r1_distill", {"norm_activation": "dataset-wise"}, "tensor 'dataset_average_activation_norm.blocks"),
        (
            "r1_distill",
            {"norm_activation": None},
            r"'dataset_average.*'norm_activation' of .*config\.json is",
        ),
        ("r1_lm_saes_relu_no_decoder_norm", {"act_fn": "jumprelu"}, "no tensor 'log_jumprelu_threshold'"),
    ],
)
def test_what_is_not_supported_names_file_and_field(tmp_path, sample, changes, message):
    """A configuration that asks for something else is refused by file and field."""
    folder = copied(tmp_path, sample, **changes)
    with pytest.raises(SAEFileError, match=message) as caught:
        load_sae(folder, adapters=BY_NAME)
    assert str(tmp_path) in str(caught.value)
