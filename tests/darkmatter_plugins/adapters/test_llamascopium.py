"""Llamascopium: what its files say and do not say, and which of its dictionaries are refused."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter.errors import ItemError, SAEFileError
from darkmatter.files.view import FileView
from darkmatter.sae.detect import detect
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples" / "llamascopium"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}


def copied(tmp_path, sample, **changes):
    """A copy of a sample with fields of config.json changed (None removes one)."""
    folder = tmp_path / "sae"
    shutil.copytree(SAMPLES / sample / "sae", folder)
    config = folder / "config.json"
    content = {**json.loads(config.read_text()), **changes}
    config.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return folder


def own(sample):
    """A sample as it is."""
    return load_sae(SAMPLES / sample / "sae", adapters=BY_NAME)


def expected(sample):
    """What the library computes."""
    return load_file(SAMPLES / sample / "expected.safetensors")


def test_a_norm_that_was_never_measured_is_not_read(tmp_path):
    """Where nothing was measured the library saves unset memory, NaN for one: only dataset-wise looks."""
    folder = copied(tmp_path, "topk_token_wise")
    path = folder / "sae_weights.safetensors"
    tensors = load_file(path)
    (norm,) = [name for name in tensors if name.startswith("dataset_average")]
    save_file({**tensors, norm: torch.tensor(torch.nan)}, path)
    assert load_sae(folder).fingerprint == own("topk_token_wise").fingerprint
    folder = copied(tmp_path / "two", "topk")
    save_file({**tensors, norm: torch.tensor(torch.nan)}, folder / "sae_weights.safetensors")
    with pytest.raises(SAEFileError, match=r"dataset_average_activation_norm.*NaN"):
        load_sae(folder)


def test_folding_changes_which_latents_of_a_jumprelu_are_active(tmp_path):
    """The library folds the scale into biases and not into thresholds; a folded file is read as it stands."""
    x, scale = expected("jumprelu")["x"], math.sqrt(12) / 7.5
    folder = copied(tmp_path, "jumprelu", norm_activation="inference")
    path = folder / "sae_weights.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "b_E": tensors["b_E"] / scale, "b_D": tensors["b_D"] / scale}, path)
    folded, whole = load_sae(folder), own("jumprelu")
    assert not torch.equal(folded.encode(x).to_dense() != 0, whole.encode(x).to_dense() != 0)
    assert any("taken as not folded" in sentence for sentence in whole.assumptions)
    assert not any("taken as not folded" in sentence for sentence in folded.assumptions)


def test_batch_topk_is_read_row_by_row_and_says_so():
    """Among a batch other latents are active than row by row, which is what is assumed."""
    sae, found = own("batchtopk"), expected("batchtopk")
    assert any("batchtopk" in sentence and "each row" in sentence for sentence in sae.assumptions)
    assert not torch.equal(found["codes_batch"] != 0, found["codes"] != 0)


def test_a_default_that_is_taken_is_said(tmp_path):
    """What the library's class takes for a missing field is used, named, and not recorded as the file's."""
    fields = dict.fromkeys(["act_fn", "norm_activation", "sparsity_include_decoder_norm", "use_glu_encoder"])
    sae = load_sae(copied(tmp_path, "topk", **fields), adapters=BY_NAME)
    said = [sentence for sentence in sae.assumptions if "not recorded; taken as" in sentence]
    assert said == [
        "act_fn not recorded; taken as relu.",
        "norm_activation not recorded; taken as dataset-wise.",
        "sparsity_include_decoder_norm not recorded; taken as true.",
        "use_glu_encoder not recorded; taken as false.",
    ]
    assert sae.metadata.architecture == "standard"
    assert set(sae.metadata.extra) == {"top_k"}
    assert not any("taken as" in sentence for sentence in own("topk_token_wise").assumptions)


@pytest.mark.parametrize("missing", [False, True])
def test_the_language_models_configuration_is_optional(tmp_path, missing):
    """lm_config.json gives model and BOS policy; without it both are assumptions, not errors."""
    folder = copied(tmp_path, "topk")
    if missing:
        (folder / "lm_config.json").unlink()
    sae = load_sae(folder)
    found = (sae.metadata.model, sae.metadata.prepend_bos)
    assert found == ((None, None) if missing else ("EleutherAI/pythia-70m", False))
    about = {getattr(assumption, "about", None) for assumption in sae.assumptions}
    assert ({"model", "bos"} <= about) is missing


def test_glu_reads_one_row_and_many_alike():
    """A GLU SAE's codes carry what undoes a token-wise norm, and do not depend on the batch."""
    sae, x = own("topk_glu_token_wise"), expected("topk_glu_token_wise")["x"]
    many = sae.encode(x.repeat(20, 1))
    assert torch.equal(many.to_dense()[:32], sae.encode(x).to_dense())
    torch.testing.assert_close(sae.decode(sae.encode(x)), sae.reconstruct(x))
    assert sae.encode(x[:0]).shape == (0, 24)
    assert sae.fingerprint != own("jumprelu_glu").fingerprint
    assert "sigmoid" in sae.formula


def test_glu_moves_and_refuses_another_width():
    """A GLU SAE can be placed like any other, and names the width it expects."""
    sae, x = own("jumprelu_glu"), expected("jumprelu_glu")["x"]
    moved = sae.to(device="cpu", dtype=torch.float64)
    assert torch.equal(moved.encode(x).to_dense(), sae.encode(x).to_dense())
    with pytest.raises(ItemError, match=r"d_in = 12, .* but got .*\[3, 11\]"):
        sae.encode(torch.zeros(3, 11))


def test_the_older_layout_of_the_project_is_another_adapters():
    """encoder.weight with the same file names is what the project wrote before mid-2025."""
    folder = SAMPLES.parent / "llama_scope" / "r1_lm_saes_jumprelu" / "sae" / "Llama-Scope-R1-Distill" / "L7R"
    reasons = {claim.adapter.name: claim.verdict.reason for claim in detect(FileView(folder), BY_NAME)}
    assert "since mid-2025 the library writes W_E" in reasons["llamascopium"]


@pytest.mark.parametrize(
    ("sample", "changes", "message"),
    [
        ("topk", {"sae_type": "crosscoder"}, "'sae_type' is 'crosscoder', which is not supported.*sae"),
        ("topk", {"sae_type": "clt"}, "'clt', which is not supported"),
        ("topk", {"sae_type": "lorsa"}, "'lorsa', which is not supported"),
        ("topk", {"sae_type": "molt"}, "'molt', which is not supported"),
        ("topk", {"act_fn": "layertopk"}, "'layertopk', which is not supported.*batchtopk"),
        ("topk", {"norm_activation": "batch-wise"}, "a row alone has no scale"),
        ("topk", {"expansion_factor": -2.0}, "'expansion_factor' is -2; expected"),
        (
            "topk",
            {"hook_point_in": "blocks.9.x", "hook_point_out": "blocks.9.x"},
            "norm.blocks.9.x'; expected",
        ),
        ("topk", {"top_k": None}, "config.json: field 'top_k' is missing; expected a positive integer"),
        ("topk", {"hook_point_in": None}, "config.json: field 'hook_point_in' is missing; expected the name"),
        ("transcoder", {"hook_point_out": None}, "config.json: field 'hook_point_out' is missing; expected"),
        ("jumprelu_no_decoder_bias", {"use_decoder_bias": None}, "'b_D'; expected.*'use_decoder_bias' of"),
        ("topk", {"act_fn": "jumprelu"}, "no tensor 'activation_function.log_jumprelu_threshold'"),
        ("topk", {"use_glu_encoder": True}, "no tensor 'W_E_glu'"),
        ("transcoder", {"norm_activation": "token-wise"}, "the hook points differ"),
        ("jumprelu_no_decoder_bias", {"use_decoder_bias": True}, "no tensor 'b_D'"),
    ],
)
def test_what_is_not_supported_names_file_and_field(tmp_path, sample, changes, message):
    """A configuration that asks for something else is refused by file and field."""
    folder = copied(tmp_path, sample, **changes)
    with pytest.raises(SAEFileError, match=message) as caught:
        load_sae(folder, adapters=BY_NAME)
    assert str(tmp_path) in str(caught.value)
