"""Temporal SAEs: whole sequences are read, rows are refused, and a run says why."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import darkmatter as dm
from darkmatter.errors import ItemError, SAEFileError
from darkmatter.sae.load import load_sae

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
SAMPLE = SAMPLES / "temporal" / "topk"
FOLDER = SAMPLE / "sae" / "temporalSAEs" / "layer_5" / "temporal"


def copied(tmp_path, **changes):
    """A copy of canrager's layout with fields of conf.yaml changed (section__field; None removes one)."""
    folder = tmp_path / "layer_5" / "temporal"
    shutil.copytree(FOLDER, folder)
    content = yaml.safe_load((folder / "conf.yaml").read_text())
    for name, value in changes.items():
        section, _, field = name.partition("__")
        content[section][field] = value
        if value is None:
            del content[section][field]
    (folder / "conf.yaml").write_text(yaml.safe_dump(content))
    return folder


def sequences():
    """The sample's activations [4, 8, 8]."""
    return load_file(SAMPLE / "expected.safetensors")["x"]


def test_rows_are_refused_and_a_run_reports_the_reason():
    """A temporal SAE cannot be evaluated row by row; the run's rows say so, and other SAEs are measured."""
    sae = load_sae(FOLDER)
    with pytest.raises(ItemError, match=r"reads whole sequences.*cannot be evaluated row by row"):
        sae.encode(torch.zeros(5, 8))
    with pytest.raises(ItemError, match=r"whole sequences \[contexts, tokens, 8\], at least 3 dimensions"):
        sae.reconstruct(torch.zeros(2, 5, 7))
    plain = dm.SAE.from_functions(lambda x: x, lambda codes: codes, d_in=8, d_sae=8)
    x = torch.randn(40, 16, 8, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="row by row"):
        results = dm.evaluate({"temporal": sae, "plain": plain}, activations=x, evaluators="reconstruction")
    frame = results.to_pandas()
    assert set(frame[frame.sae == "plain"].status) <= {"ok", "undefined"}
    failed = frame[frame.sae == "temporal"]
    assert len(failed)
    assert set(failed.status) == {"failed"}
    assert failed.reason.str.contains("cannot be evaluated row by row").all()


def test_sequences_that_are_not_finite_are_refused():
    """Activations with NaN are an error that names the row, not codes of NaN."""
    with pytest.raises(ItemError, match="Row 0 of 10 holds NaN or infinite activations"):
        load_sae(FOLDER).encode(torch.full((2, 5, 8), torch.nan))


def test_later_tokens_do_not_change_earlier_ones():
    """The prediction of a token comes from the tokens before it only, and the first has none."""
    sae, x = load_sae(FOLDER), sequences()
    changed = x.clone()
    changed[:, 5:] += 1
    before, after = (sae.encode(each).to_dense() for each in (x, changed))
    torch.testing.assert_close(after[:, :5], before[:, :5])
    assert not torch.allclose(after[:, 5:], before[:, 5:])
    torch.testing.assert_close(sae.reconstruct(x[:, :5]), sae.reconstruct(x)[:, :5])


def test_shapes_before_the_tokens_are_kept():
    """Sequences x [a, b, L, d] give codes [a, b, L, d_sae] and a reconstruction of x's shape."""
    sae, x = load_sae(FOLDER), sequences()
    nested = x.reshape(2, 2, 8, 8)
    assert sae.encode(nested).shape == (2, 2, 8, 24)
    torch.testing.assert_close(sae.reconstruct(nested).reshape(x.shape), sae.reconstruct(x))


def test_prediction_is_not_among_the_codes():
    """decode(codes) is what is new alone; reconstruct adds what attention predicts."""
    sae, x = load_sae(FOLDER), sequences()
    assert not torch.allclose(sae.decode(sae.encode(x)), sae.reconstruct(x), atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"sae__kval_topk": 6},
        {"sae__sae_diff_type": "relu"},
        {"sae__n_heads": 1},
        {"sae__scaling_factor": 0.5},
    ],
)
def test_the_fingerprint_knows_every_rule(tmp_path, changes):
    """Another k, selection, number of heads or scale is another SAE."""
    assert load_sae(copied(tmp_path, **changes)).fingerprint != load_sae(FOLDER).fingerprint


def test_the_fingerprint_knows_the_attention(tmp_path):
    """One weight of an attention layer changes the fingerprint, and moving the SAE does not."""
    folder = copied(tmp_path)
    tensors = load_file(folder / "latest_ckpt.safetensors")
    tensors["attn_layers.0.c_proj.bias"][3] += 1
    save_file(tensors, folder / "latest_ckpt.safetensors")
    sae = load_sae(FOLDER)
    assert load_sae(folder).fingerprint != sae.fingerprint
    moved = sae.to(device="cpu", dtype=torch.float64)
    assert moved.fingerprint == sae.fingerprint
    assert torch.equal(moved.reconstruct(sequences()), sae.reconstruct(sequences()))
    assert "attention" in sae.formula


def test_untied_weights_come_from_the_tensor_e(tmp_path):
    """With tied_weights false the encoder is E, stored [d_in, d_sae]; E = Dᵀ is the tied SAE again."""
    folder = copied(tmp_path, sae__tied_weights=False)
    with pytest.raises(SAEFileError, match="no tensor 'E'"):
        load_sae(folder)
    tensors = load_file(folder / "latest_ckpt.safetensors")
    save_file({**tensors, "E": tensors["D"].T.contiguous()}, folder / "latest_ckpt.safetensors")
    assert load_sae(folder).fingerprint == load_sae(FOLDER).fingerprint


def test_the_layer_is_in_the_folders_name_only(tmp_path):
    """The hook point is taken from a folder called layer_N, and said; elsewhere there is none."""
    sae = load_sae(FOLDER)
    assert sae.hook_in == sae.hook_out == "blocks.5.hook_resid_post"
    assert any("hook point not recorded; took blocks.5" in sentence for sentence in sae.assumptions)
    shutil.copytree(FOLDER, tmp_path / "sae")
    assert load_sae(tmp_path / "sae").hook_in is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sae__sae_diff_type": "nullify"}, "'sae_diff_type' is 'nullify', which is not supported"),
        ({"sae__kval_topk": 25}, "'kval_topk' is 25; expected at most the 24 latents"),
        ({"sae__n_heads": 5}, "do not divide the 24 latents"),
        ({"sae__n_attn_layers": 2}, "no tensor 'attn_layers.1.k_ctx.weight'"),
        ({"sae__scaling_factor": 0}, "'scaling_factor' is 0; expected a number above 0"),
        ({"sae__exp_factor": None}, "'exp_factor' is missing"),
        ({"sae__exp_factor": 6}, "tensor 'D' has shape"),
        ({"llm__dimin": None}, "'dimin' is missing"),
        ({"sae__n_heads": None}, "'n_heads' is missing; expected a positive integer"),
        ({"sae__kval_topk": None}, "'kval_topk' is missing; expected a positive integer"),
        ({"sae__tied_weights": None}, "'tied_weights' is missing; expected true or false"),
    ],
)
def test_what_does_not_fit_names_file_and_field(tmp_path, changes, message):
    """A configuration that does not fit the weights is refused by file and field."""
    folder = copied(tmp_path, **changes)
    with pytest.raises(SAEFileError, match=message) as caught:
        load_sae(folder)
    assert str(tmp_path) in str(caught.value)


def test_layers_that_the_configuration_does_not_name_are_refused(tmp_path):
    """A file with more attention layers than n_attn_layers is another SAE than the one that is asked for."""
    folder = copied(tmp_path)
    tensors = load_file(folder / "latest_ckpt.safetensors")
    more = {name.replace(".0.", ".1."): tensor.clone() for name, tensor in tensors.items() if ".0." in name}
    save_file({**tensors, **more}, folder / "latest_ckpt.safetensors")
    with pytest.raises(SAEFileError, match=r"'attn_layers.1.*has n_attn_layers 1"):
        load_sae(folder)


def test_saelens_temporal_under_a_row_norm(tmp_path):
    """SAELens's file may normalise each token: its codes then carry what undoes it."""
    shutil.copytree(SAMPLES / "sae_lens" / "temporal" / "sae", tmp_path / "sae")
    config = tmp_path / "sae" / "cfg.json"
    fields = json.loads(config.read_text()) | {"normalize_activations": "layer_norm"}
    config.write_text(json.dumps(fields))
    sae, x = load_sae(tmp_path / "sae"), sequences()
    codes = sae.encode(x)
    assert codes.row_scale is not None
    assert sae.decode(codes).shape == x.shape
    torch.testing.assert_close(sae.encode(x * 3 + 1).to_dense(), codes.to_dense(), atol=1e-4, rtol=1e-3)


def test_saelens_defaults_of_a_temporal_sae_are_said(tmp_path):
    """A field that SAELens has a default for may be missing; the field and what is taken are said."""
    shutil.copytree(SAMPLES / "sae_lens" / "temporal" / "sae", tmp_path / "sae")
    config = tmp_path / "sae" / "cfg.json"
    fields = json.loads(config.read_text())
    del fields["kval_topk"]
    config.write_text(json.dumps(fields))
    sae = load_sae(tmp_path / "sae")
    assert "kval_topk not recorded; taken as no limit, SAELens's default." in sae.assumptions
    assert int((sae.encode(sequences()).to_dense() != 0).sum(-1).max()) > 5
