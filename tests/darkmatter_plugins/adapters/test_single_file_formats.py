"""Formats of one file: what is taken from names, what is refused, what a user must say."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from darkmatter.errors import SAEFileError
from darkmatter.files.view import FileView
from darkmatter.sae.detect import choose, detect
from darkmatter.sae.load import LoadOptions, load_sae, read
from darkmatter.sae.overrides import Overrides
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
GOODFIRE = SAMPLES / "goodfire/l19/sae/Llama-3.1-8B-Instruct-SAE-l19/Llama-3.1-8B-Instruct-SAE-l19.pth"
QWEN = SAMPLES / "qwen_scope/res/sae/SAE-Res-Qwen3-1.7B-Base-W1K-L0_6/layer5.sae.pt"
DEEPSEEK = next((SAMPLES / "deepseek_r1").rglob("*.pt"))
HOOK_Z = next((SAMPLES / "hook_z_attention").rglob("*.pt"))


def weights_of(path):
    """The tensors of a sample."""
    return torch.load(path, weights_only=True)


def given(path, **overrides):
    """An SAE read with what a user says of it."""
    view = FileView(path)
    adapter = choose(view, detect(view, BY_NAME))
    return read(view, adapter, LoadOptions(overrides=Overrides(**overrides)))


def about(sae):
    """What each assumption is about."""
    return [assumption.about for assumption in sae.assumptions]


@pytest.mark.parametrize(
    ("path", "model", "hook"),
    [
        (GOODFIRE, "meta-llama/Llama-3.1-8B-Instruct", "blocks.19.hook_resid_post"),
        (DEEPSEEK, "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "blocks.19.hook_resid_post"),
    ],
)
def test_model_and_layer_come_from_the_name_of_file_or_repository(tmp_path, path, model, hook):
    """A renamed file in the repository's folder says the same, and both are assumptions."""
    folder = tmp_path / path.stem / "sub"
    folder.mkdir(parents=True)
    shutil.copy(path, folder / f"weights{path.suffix}")
    for place in (path, folder / f"weights{path.suffix}", folder):
        sae = load_sae(place, adapters=BY_NAME)
        assert (sae.metadata.model, sae.hook_in) == (model, hook)
        assert {"model", "hook", "bos"} <= set(about(sae))


@pytest.mark.parametrize("path", [GOODFIRE, DEEPSEEK])
def test_a_file_far_from_its_repository_has_no_hook(tmp_path, path):
    """Tensors decide nothing about where an SAE reads: without names there is no hook point."""
    shutil.copy(path, tmp_path / f"sae{path.suffix}")
    sae = load_sae(tmp_path, adapters=BY_NAME)
    assert (sae.hook_in, sae.metadata.model, sae.metadata.context_length) == (None, None, None)
    assert {"model", "hook", "context_length", "bos"} <= set(about(sae))


def test_tensor_names_that_others_use_too_are_only_likely(tmp_path):
    """Four tensors of two linear layers are DeepSeek-R1's only where a name says so."""
    shutil.copy(DEEPSEEK, tmp_path / "sae.pt")
    for path, verdict in ((DEEPSEEK, "exact"), (tmp_path / "sae.pt", "likely")):
        (claim,) = detect(FileView(path), {"deepseek_r1": BY_NAME["deepseek_r1"]})
        assert claim.verdict.confidence == verdict
    torch.save(weights_of(DEEPSEEK) | {"threshold": torch.ones(24)}, tmp_path / "sae.pt")
    with pytest.raises(SAEFileError, match="no adapter recognises this"):
        load_sae(tmp_path, adapters=BY_NAME)


def test_two_files_in_one_folder_ask_which(tmp_path):
    """A repository of several layers is no single SAE."""
    for layer in (5, 6):
        shutil.copy(QWEN, tmp_path / f"layer{layer}.sae.pt")
    with pytest.raises(SAEFileError, match=r"2 files with SAEs \(layer5\.sae\.pt, layer6\.sae\.pt\)"):
        load_sae(tmp_path, adapters=BY_NAME)


def test_files_that_were_not_looked_into_are_not_denied(tmp_path):
    """Behind many other files an SAE is not found, and the answer does not say that it is not there."""
    for number in range(80):
        torch.save({"x": torch.ones(1)}, tmp_path / f"a{number:02}.pt")
    shutil.copy(GOODFIRE, tmp_path / "z.pt")
    with pytest.raises(SAEFileError, match=r"none of the first 64 .* 17 more were not looked into"):
        load_sae(tmp_path, adapters=BY_NAME)
    assert load_sae(tmp_path / "z.pt", adapters=BY_NAME).metadata.format == "goodfire"
    shutil.copy(GOODFIRE, tmp_path / "a00.pt")
    with pytest.raises(SAEFileError, match=r"1 file with an SAE among its first 64 of 81 \(a00\.pt\)"):
        load_sae(tmp_path, adapters=BY_NAME)


def test_qwen_scope_without_its_repositorys_name_needs_k(tmp_path):
    """The file does not hold k: without the name it is an error that says how to give it."""
    path = tmp_path / "layer5.sae.pt"
    shutil.copy(QWEN, path)
    with pytest.raises(SAEFileError, match=r"layer5\.sae\.pt: does not hold k.*--override k=NUMBER"):
        load_sae(path, adapters=BY_NAME)
    sae = given(path, k=4)
    assert (sae.activation.k, sae.hook_in, sae.metadata.model) == (4, "blocks.5.hook_resid_post", None)


def test_a_users_k_is_stronger_than_the_repositorys_name():
    """An override replaces what the name says."""
    assert given(QWEN).activation.k == 6
    assert given(QWEN, k=3).activation.k == 3


def test_matrices_stored_in_different_ways_are_refused(tmp_path):
    """One matrix turned and the other not is a damaged file; both are named."""
    made = weights_of(QWEN)
    path = tmp_path / QWEN.parent.name / QWEN.name
    path.parent.mkdir()
    torch.save(made | {"W_enc": made["W_enc"].T.contiguous()}, path)
    with pytest.raises(SAEFileError, match=r"'W_enc' and 'W_dec' both have shape \[12, 24\]; expected"):
        given(path)


def test_a_goodfire_file_without_a_tensor_is_refused_by_name(tmp_path):
    """The refusal says which tensors the format has."""
    made = weights_of(GOODFIRE)
    del made["decoder_linear.bias"]
    torch.save(made, tmp_path / "sae.pth")
    with pytest.raises(SAEFileError, match=r"all of the tensors decoder_linear\.bias"):
        load_sae(tmp_path / "sae.pth", adapters=BY_NAME)


def test_qwen_scope_orients_both_matrices_by_shape(tmp_path):
    """The same weights stored the other way round give the same SAE."""
    made = weights_of(QWEN)
    turned = {name: value.T.contiguous() if value.ndim == 2 else value for name, value in made.items()}
    path = tmp_path / QWEN.parent.name / QWEN.name
    path.parent.mkdir()
    torch.save(turned, path)
    x = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(given(path).reconstruct(x), given(QWEN).reconstruct(x))


def test_a_square_encoder_is_refused_until_the_user_says_how_it_is_stored(tmp_path):
    """Shapes do not tell [d_in, d_sae] from [d_sae, d_in] where both are equal."""
    gen = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(12, 12, generator=gen) for name in ("W_enc", "W_dec")}
    tensors |= {name: torch.randn(12, generator=gen) for name in ("b_enc", "b_dec")}
    path = tmp_path / QWEN.parent.name / QWEN.name
    path.parent.mkdir()
    torch.save(tensors, path)
    with pytest.raises(SAEFileError, match=r"'W_enc' is square.*--override orientation=d_in,d_sae"):
        load_sae(path, adapters=BY_NAME)
    x = torch.randn(8, 12, generator=gen)
    stored, turned = given(path, orientation="d_sae,d_in"), given(path, orientation="d_in,d_sae")
    h = x @ tensors["W_enc"].T + tensors["b_enc"]
    codes = stored.encode(x).to_dense()
    assert torch.equal(codes != 0, (h >= h.topk(6).values[:, -1:]) & (h > 0))
    torch.testing.assert_close(stored.decode(stored.encode(x)), codes @ tensors["W_dec"].T + tensors["b_dec"])
    assert not torch.equal(codes, turned.encode(x).to_dense())


@pytest.mark.parametrize("heads", [2, 3, 4, 6])
def test_an_attention_sae_takes_any_split_into_heads(heads):
    """The number of heads is in no file, so every heads x d_head that gives d_in is read."""
    sae = load_sae(HOOK_Z, adapters=BY_NAME)
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    split = x.reshape(5, heads, 12 // heads)
    assert torch.equal(sae.encode(split).to_dense(), sae.encode(x).to_dense())
    assert sae.reconstruct(split).shape == split.shape


def test_attention_settings_are_read_from_the_file_beside(tmp_path):
    """Model, hook point and context length are those of x_cfg.json, not always GPT-2's."""
    shutil.copy(HOOK_Z, tmp_path / "run.pt")
    settings = {"act_name": "blocks.0.attn.hook_z", "model_name": "gelu-2l", "seq_len": 64, "dict_mult": 2}
    (tmp_path / "run_cfg.json").write_text(json.dumps(settings))
    sae = load_sae(tmp_path, adapters=BY_NAME)
    assert (sae.hook_in, sae.metadata.model) == ("blocks.0.attn.hook_z", "gelu-2l")
    assert (sae.metadata.context_length, about(sae)) == (64, [None, "bos", None])


def test_the_one_layer_script_that_records_no_hook_point_is_read(tmp_path):
    """The layout's first script recorded sizes alone: hook point and model are then not known."""
    shutil.copy(HOOK_Z, tmp_path / "25.pt")
    (tmp_path / "25_cfg.json").write_text(json.dumps({"d_mlp": 12, "dict_mult": 2, "seq_len": 128}))
    sae = load_sae(tmp_path / "25.pt", adapters=BY_NAME)
    assert (sae.d_sae, sae.hook_in, about(sae)) == (24, None, ["hook", "model", None, "bos", None])


def test_settings_that_do_not_fit_the_weights_name_the_tensor(tmp_path):
    """A size in the settings that is not the tensor's is an error, not a guess."""
    shutil.copy(HOOK_Z, tmp_path / "x.pt")
    (tmp_path / "x_cfg.json").write_text(json.dumps({"act_name": "a", "act_size": 16}))
    with pytest.raises(SAEFileError, match=r"x\.pt: tensor 'b_dec' has shape \[12\]; expected \[16\]"):
        load_sae(tmp_path, adapters=BY_NAME)


def test_weights_without_settings_are_not_claimed(tmp_path):
    """W_enc and W_dec alone are of no format: their file says neither k nor whether b_dec is subtracted."""
    shutil.copy(HOOK_Z, tmp_path / "x.pt")
    with pytest.raises(SAEFileError, match=r"x\.pt has the tensors of an SAE, but no x_cfg\.json beside it"):
        load_sae(tmp_path / "x.pt", adapters=BY_NAME)
    (tmp_path / "x_cfg.json").write_text(json.dumps({"lr": 1}))
    with pytest.raises(SAEFileError, match=r"x_cfg\.json has none of act_name"):
        load_sae(tmp_path / "x.pt", adapters=BY_NAME)
