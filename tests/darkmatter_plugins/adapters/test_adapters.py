"""What the built-in adapters take from files beside the weights, and what they say they assumed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter.errors import SAEFileError
from darkmatter.sae.assumption import Assumption
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS
from darkmatter_plugins.adapters._hooks import module_input, module_output

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}


def copied(tmp_path, sample, **changes):
    """A copy of a sample's folder with fields of its configuration changed (None removes one)."""
    golden = json.loads((SAMPLES / sample / "golden.json").read_text())
    shutil.copytree(SAMPLES / sample / "sae", tmp_path / "sae")
    folder = tmp_path / golden["path"]
    (config,) = [folder / name for name in ("cfg.json", "config.json") if (folder / name).is_file()]
    content = json.loads(config.read_text())
    for name, value in changes.items():
        place, _, field = name.rpartition("__")
        target = content[place] if place else content
        target[field] = value
        if value is None:
            del target[field]
    config.write_text(json.dumps(content))
    return folder


def test_importing_the_adapters_imports_no_torch():
    """`darkmatter list adapters` must answer at once."""
    code = "import sys, darkmatter_plugins.adapters; print(any(m in sys.modules for m in ('torch', 'numpy')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("layers.10", "blocks.10.hook_resid_pre", "blocks.10.hook_resid_post"),
        ("layers.10.mlp", "blocks.10.mlp.hook_in", "blocks.10.hook_mlp_out"),
        ("h.3.attn", "blocks.3.attn.hook_in", "blocks.3.hook_attn_out"),
        ("gpt_neox.layers.2.attention", "blocks.2.attn.hook_in", "blocks.2.hook_attn_out"),
        ("model.layers.0", "blocks.0.hook_resid_pre", "blocks.0.hook_resid_post"),
        ("embed_tokens", None, "hook_embed"),
        ("layers.1.mlp.gate_proj", None, None),
        ("something", None, None),
    ],
)
def test_module_paths_become_hook_points(path, before, after):
    """A Hugging Face module's input and output have TransformerLens names, or none that we know."""
    assert (module_input(path), module_output(path)) == (before, after)


@pytest.mark.parametrize(
    ("sample", "hook_in", "hook_out"),
    [
        ("sparsify/topk", "blocks.1.hook_resid_post", "blocks.1.hook_resid_post"),
        ("sparsify/seeds", "blocks.1.hook_resid_post", "blocks.1.hook_resid_post"),
        ("sparsify/transcoder", "blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out"),
        ("sparsify/embed_tokens", "hook_embed", "hook_embed"),
        ("dictionary_learning/topk", "blocks.5.hook_resid_post", "blocks.5.hook_resid_post"),
        ("gemma_scope/transcoder", "blocks.3.ln2.hook_normalized", "blocks.3.hook_mlp_out"),
    ],
)
def test_hooks_that_are_not_recorded_are_taken_and_said(sample, hook_in, hook_out):
    """A hook point worked out from names is among the assumptions."""
    golden = json.loads((SAMPLES / sample / "golden.json").read_text())
    sae = load_sae(SAMPLES / sample / golden["path"], adapters=BY_NAME)
    assert (sae.hook_in, sae.hook_out) == (hook_in, hook_out)
    assert any("hook point" in sentence and "not recorded" in sentence for sentence in sae.assumptions)


def test_a_gemma_scope_transcoder_says_where_in_the_norm_it_reads():
    """Its input is neither the residual stream nor the MLP's own input, so the assumption names it."""
    golden = json.loads((SAMPLES / "gemma_scope" / "transcoder" / "golden.json").read_text())
    sae = load_sae(SAMPLES / "gemma_scope" / "transcoder" / golden["path"], adapters=BY_NAME)
    (said,) = [each for each in sae.assumptions if each.about == "hook"]
    assert "took blocks.3.ln2.hook_normalized to blocks.3.hook_mlp_out" in said
    assert "without its gain" in said


def test_a_saelens_file_with_everything_assumes_nothing():
    """A version 6 file that records all of it has no assumptions."""
    assert load_sae(SAMPLES / "sae_lens" / "standard" / "sae", adapters=BY_NAME).assumptions == ()


def test_a_missing_normalisation_scale_is_said():
    """expected_average_only_in without a scale in the files is an assumption that an override settles."""
    sae = load_sae(SAMPLES / "sae_lens" / "standard_expected_average" / "sae", adapters=BY_NAME)
    (assumption,) = sae.assumptions
    assert (assumption.about, sae.normalisation.kind) == ("norm_factor", "none")
    assert "do not hold the scaling_factor" in assumption
    assert "not those of training" in assumption


def test_a_normalisation_scale_beside_the_weights_is_used():
    """A training checkpoint holds the scale in a file of its own, and then nothing is assumed of it."""
    folder = SAMPLES / "sae_lens" / "standard_checkpoint_scaled" / "sae"
    sae = load_sae(folder, adapters=BY_NAME)
    scale = json.loads((folder / "activation_scaler.json").read_text())["scaling_factor"]
    assert (sae.normalisation.kind, sae.normalisation.factor) == ("scale", scale)
    assert not any(getattr(each, "about", None) == "norm_factor" for each in sae.assumptions)


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("sae_lens/standard", "metadata__hook_head_index"),
        ("sae_lens/legacy_standard", "hook_point_head_index"),
    ],
)
def test_an_sae_of_one_head_says_so(tmp_path, sample, name):
    """A head index is among what a reader must know, whatever version wrote it."""
    sae = load_sae(copied(tmp_path, sample, **{name: 3}), adapters=BY_NAME)
    assert "reads head 3 of its hook point only." in sae.assumptions


@pytest.mark.parametrize(("flag", "factor"), [(True, 2.0), (None, 2.0)])
def test_versions_to_2_always_scale_their_codes(tmp_path, flag, factor):
    """A scaling_factor without a word of the configuration is used, as those versions did."""
    folder = copied(tmp_path, "sae_lens_legacy/v2_standard", finetuning_scaling_factor=flag)
    before = load_sae(folder, adapters=BY_NAME)
    tensors = load_file(folder / "sae_weights.safetensors")
    tensors["scaling_factor"] = torch.full((24,), factor)
    save_file(tensors, folder / "sae_weights.safetensors")
    torch.testing.assert_close(load_sae(folder, adapters=BY_NAME).W_dec, before.W_dec * factor)


def test_a_finetuned_factor_that_the_configuration_denies_is_an_error(tmp_path):
    """Weights and configuration of versions 3 to 5 must say the same of finetuning."""
    folder = copied(tmp_path, "sae_lens_legacy/v3_finetuned", finetuning_scaling_factor=False)
    with pytest.raises(SAEFileError, match="tensor 'finetuning_scaling_factor' is not all ones"):
        load_sae(folder, adapters=BY_NAME)


def test_every_adapters_assumptions_say_what_they_are_about():
    """An assumption that an override can settle is found by its field, so none is a bare string."""
    for path in sorted(SAMPLES.glob("*/*/golden.json")):
        golden = json.loads(path.read_text())
        if golden["adapter"] not in BY_NAME or golden["architecture"] == "temporal" or "unset" in str(path):
            continue
        sae = load_sae(f"path:{path.parent / golden['path']}", adapters=BY_NAME)
        bare = [each for each in sae.assumptions if not isinstance(each, Assumption)]
        assert bare == [], path


def test_a_finetuned_scaling_factor_scales_the_decoder(tmp_path):
    """Before version 6 codes were multiplied by scaling_factor in decode, if the configuration says so."""
    folder = copied(tmp_path, "sae_lens/legacy_scaling_factor_ones", finetuning_scaling_factor=True)
    before = load_sae(folder, adapters=BY_NAME)
    path = folder / "sae_weights.safetensors"
    tensors = load_file(path)
    tensors["scaling_factor"] = torch.full((24,), 2.0)
    save_file(tensors, path)
    after = load_sae(folder, adapters=BY_NAME)
    torch.testing.assert_close(after.W_dec, before.W_dec * 2)
    (tmp_path / "two").mkdir()
    folder = copied(tmp_path / "two", "sae_lens/legacy_scaling_factor_ones", finetuning_scaling_factor=False)
    save_file(tensors, folder / "sae_weights.safetensors")
    with pytest.raises(SAEFileError, match="finetuning_scaling_factor"):
        load_sae(folder, adapters=BY_NAME)


@pytest.mark.parametrize(
    ("sample", "changes", "message"),
    [
        (
            "sae_lens/standard",
            {"architecture": "crosscoder"},
            r"'crosscoder', which is not supported.*standard",
        ),
        ("sae_lens/standard", {"normalize_activations": "zscore"}, "'zscore', which is not supported"),
        ("sae_lens/standard", {"d_sae": 23}, r"'W_enc' has shape \[12, 24\]; expected \[12, 23\]"),
        ("sae_lens/topk", {"k": None}, "field 'k' is missing; expected a positive integer"),
        (
            "sae_lens_legacy/v5_tanh_relu",
            {"activation_fn_str": "gelu"},
            "'activation_fn_str' is 'gelu', which is not supported. Supported: relu, tanh-relu, topk",
        ),
        (
            "sae_lens_legacy/v5_gated",
            {"activation_fn_str": "tanh-relu"},
            "'activation_fn_str' is 'tanh-relu' with the architecture 'gated'",
        ),
        ("sae_lens_legacy/v3_topk", {"activation_fn_kwargs": {}}, "field 'k' is missing"),
        (
            "sae_lens_legacy/v3_standard",
            {"finetuning_scaling_factor": True},
            r"no tensor 'finetuning_scaling_factor'; expected one of shape \[24\]",
        ),
        (
            "dictionary_learning/topk",
            {"trainer__dict_class": "CrossCoder"},
            "'CrossCoder', which is not supported",
        ),
        ("dictionary_learning/topk", {"trainer__dict_size": 12}, r"tensor 'encoder.weight' has shape"),
        ("sparsify/topk", {"activation": "softmax"}, "'softmax', which is not supported"),
        ("sparsify/topk", {"skip_connection": True}, "no tensor 'W_skip'"),
        ("sparsify/topk", {"num_latents": 0, "expansion_factor": 3}, r"expected \[36, 12\]"),
    ],
)
def test_what_is_not_supported_names_file_field_and_choices(tmp_path, sample, changes, message):
    """A configuration that asks for something else is refused by field, with what there is."""
    folder = copied(tmp_path, sample, **changes)
    with pytest.raises(SAEFileError, match=message) as caught:
        load_sae(folder, adapters=BY_NAME)
    assert str(tmp_path) in str(caught.value)


def test_a_sparsify_file_that_does_not_say_what_it_predicts_is_an_assumption(tmp_path):
    """Before there was a field transcode, only the run's command line said it."""
    sae = load_sae(copied(tmp_path, "sparsify/topk", transcode=None), adapters=BY_NAME)
    assert any("transcode not recorded" in sentence for sentence in sae.assumptions)
    whole = SAMPLES / "sparsify" / "topk" / "sae" / "layers.1"
    assert not any("transcode" in sentence for sentence in load_sae(whole, adapters=BY_NAME).assumptions)


def test_signed_sparsify_files_keep_signs(tmp_path):
    """Old sparsify could select by magnitude and keep negative codes."""
    sae = load_sae(copied(tmp_path, "sparsify/topk", signed=True), adapters=BY_NAME)
    assert type(sae.activation).__name__ == "AbsTopK"


def test_a_dictionary_in_safetensors(tmp_path):
    """ae.safetensors is preferred to ae.pt and read the same way."""
    folder = copied(tmp_path, "dictionary_learning/standard")
    before = load_sae(folder, adapters=BY_NAME)
    tensors = torch.load(folder / "ae.pt", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "ae.safetensors")
    assert load_sae(folder, adapters=BY_NAME).fingerprint == before.fingerprint
    (folder / "ae.pt").unlink()
    assert load_sae(folder, adapters=BY_NAME).fingerprint == before.fingerprint


def test_a_folder_of_checkpoints_asks_which(tmp_path):
    """Several checkpoints in one folder need the file to be named."""
    sample = SAMPLES / "dictionary_learning" / "topk_run_checkpoint" / "sae" / "trainer_0"
    shutil.copytree(sample, tmp_path / "t")
    folder = tmp_path / "t" / "checkpoints"
    assert load_sae(folder, adapters=BY_NAME).d_sae == 24
    shutil.copy(folder / "ae_2.pt", folder / "ae_4.pt")
    with pytest.raises(SAEFileError, match=r"ae_2\.pt, ae_4\.pt; give one"):
        load_sae(folder, adapters=BY_NAME)


def test_gemma_scope_without_its_folder_names(tmp_path):
    """A params.npz far from its repository is read, with what could not be known said."""
    sample = next((SAMPLES / "gemma_scope" / "res").rglob("params.npz"))
    shutil.copy(sample, tmp_path / "params.npz")
    sae = load_sae(tmp_path, adapters=BY_NAME)
    assert (sae.hook_in, sae.metadata.model) == (None, None)
    assert any("no folder is named layer_N" in sentence for sentence in sae.assumptions)
