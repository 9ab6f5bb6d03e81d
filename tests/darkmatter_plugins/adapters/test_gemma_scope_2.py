"""What Gemma Scope 2's files and folders say, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter.errors import ItemError, SAEFileError
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters._hooks import module_end

SAMPLES = Path(__file__).parents[2] / "golden" / "samples" / "gemma_scope_2"
REPOSITORY = "gemma-scope-2-1b-pt"


def folder_of(name):
    """The folder in which a sample's files lie."""
    path = SAMPLES / name / json.loads((SAMPLES / name / "golden.json").read_text())["path"]
    return path if path.is_dir() else path.parent


def placed(tmp_path, name, place, **changes):
    """A copy of a sample's files in another folder, with fields of config.json changed (None removes one)."""
    folder = Path(shutil.copytree(folder_of(name), tmp_path / place))
    if (folder / "config.json").is_file():
        config = json.loads((folder / "config.json").read_text()) | changes
        kept = {key: value for key, value in config.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))
    return folder


@pytest.mark.parametrize(
    ("path", "hook"),
    [
        ("model.layers.7.output", "blocks.7.hook_resid_post"),
        ("model.layers.7.self_attn.o_proj.input", "blocks.7.attn.hook_z"),
        ("model.language_model.layers.7.post_feedforward_layernorm.output", "blocks.7.hook_mlp_out"),
        ("model.layers.17.pre_feedforward_layernorm.output", "blocks.17.mlp.hook_in"),
        ("model.layers.7.input", None),
        ("model.layers.7", None),
        ("model.norm.output", None),
    ],
)
def test_ends_of_modules_become_hook_points(path, hook):
    """The publisher's names of places have TransformerLens names, or none that we know."""
    assert module_end(path) == hook


@pytest.mark.parametrize(
    ("name", "place", "hook_in", "hook_out"),
    [
        ("resid_post", "resid_post_all/layer_3_width_16k_l0_big", "hook_resid_post", "hook_resid_post"),
        ("attn_out", "attn_out/layer_3_width_16k_l0_small", "attn.hook_z", "attn.hook_z"),
        ("mlp_out", "mlp_out_all/layer_3_width_16k_l0_small", "hook_mlp_out", "hook_mlp_out"),
        ("transcoder", "transcoder/layer_3_width_16k_l0_big", "mlp.hook_in", "hook_mlp_out"),
    ],
)
def test_without_a_configuration_the_folders_say_it(tmp_path, name, place, hook_in, hook_out):
    """Repository, site and layer are read from the names, with all of it among the assumptions."""
    folder = placed(tmp_path, name, f"{REPOSITORY}/{place}")
    (folder / "config.json").unlink()
    sae = load_sae(folder)
    assert (sae.hook_in, sae.hook_out) == (f"blocks.3.{hook_in}", f"blocks.3.{hook_out}")
    assert sae.metadata.model == "google/gemma-3-1b-pt"
    assert {a.about for a in sae.assumptions} == {"hook", "model", "context_length", "bos", None}


def test_the_configuration_is_believed_before_the_folders(tmp_path):
    """A recorded hook point counts, whatever the folder is called, and is no assumption."""
    sae = load_sae(placed(tmp_path, "resid_post", f"{REPOSITORY}/mlp_out/layer_3_width_16k_l0_big"))
    assert sae.hook_in == "blocks.7.hook_resid_post"
    assert [a.about for a in sae.assumptions] == ["context_length", "bos", None]


def test_a_file_far_from_its_repository_says_what_is_unknown(tmp_path):
    """Without configuration and folder names, hook point and model are unknown and said to be."""
    folder = placed(tmp_path, "resid_post_no_config", "downloads")
    sae = load_sae(folder)
    assert (sae.hook_in, sae.metadata.model) == (None, None)
    assert {"hook", "model"} <= {a.about for a in sae.assumptions}


def test_a_place_without_a_name_is_said(tmp_path):
    """A hook point that we cannot name is not guessed, neither for the input nor for the target."""
    folder = placed(tmp_path, "transcoder", "t", hf_hook_point_out="model.layers.7.mlp.down_proj.output")
    sae = load_sae(folder)
    assert (sae.hook_in, sae.hook_out) == (None, None)
    assert "model.layers.7.mlp.down_proj.output have no TransformerLens name" in sae.assumptions[0]


def test_a_transcoder_must_say_what_it_predicts(tmp_path):
    """Without a target its output would be compared with its input."""
    folder = placed(tmp_path, "transcoder", "t", hf_hook_point_out=None)
    with pytest.raises(
        SAEFileError, match=r"config\.json: field 'hf_hook_point_out' is missing; expected the place"
    ):
        load_sae(folder)


@pytest.mark.parametrize(
    ("written", "model"),
    [
        ("gemma-v3-1b-pt", "google/gemma-3-1b-pt"),
        ("google/gemma-3-4b-pt", "google/gemma-3-4b-pt"),
        ("google/gemma-3-270m-pt", "google/gemma-3-270m"),
        ("google/gemma-3-270m-it", "google/gemma-3-270m-it"),
    ],
)
def test_the_model_is_named_as_its_repository(tmp_path, written, model):
    """Configurations spell models in their own ways; the smallest has no -pt in its repository's name."""
    assert load_sae(placed(tmp_path, "resid_post", "p", model_name=written)).metadata.model == model


def test_attention_heads_may_stand_apart(tmp_path):
    """An attention SAE of a known model takes [heads, head size]; 27b has smaller heads than the others."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        "w_enc": torch.randn(512, 3, generator=generator),
        "w_dec": torch.zeros(3, 512),
        "b_enc": torch.zeros(3),
        "b_dec": torch.zeros(512),
        "threshold": torch.zeros(3),
    }
    for size, shape in (("1b", (2, 256)), ("27b", (4, 128))):
        folder = tmp_path / f"gemma-scope-2-{size}-it" / "attn_out" / "layer_3_width_16k_l0_big"
        folder.mkdir(parents=True)
        save_file(weights, folder / "params.safetensors")
        assert load_sae(folder).head_shape == shape


def test_the_affine_connection_is_part_of_the_reconstruction():
    """It is stored [d_in, d_out] and added to what the codes decode to; the codes know nothing of it."""
    folder = folder_of("transcoder_affine")
    stored = load_file(folder / "params.safetensors")["affine_skip_connection"]
    sae, x = load_sae(folder), torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sae.reconstruct(x) - sae.decode(sae.encode(x)), x @ stored)


def test_a_missing_affine_connection_is_an_error(tmp_path):
    """A configuration that speaks of a connection which the weights lack is refused, with both files."""
    folder = placed(tmp_path, "transcoder", "t", affine_connection=True)
    with pytest.raises(SAEFileError, match=r"no tensor 'affine_skip_connection', though .*config.json has"):
        load_sae(folder)


def test_another_architecture_is_refused(tmp_path):
    """A configuration that asks for another activation names what there is."""
    with pytest.raises(
        SAEFileError, match=r"config\.json: field 'architecture' is 'topk'.*Supported: jump_relu"
    ):
        load_sae(placed(tmp_path, "resid_post", "p", architecture="topk"))


def test_a_folder_of_layers_asks_for_one():
    """Cross-layer folders hold a file per layer; a number picks one, the same as its file."""
    folder = folder_of("clt")
    with pytest.raises(SAEFileError, match=r"holds several layers.*Layers there: 0, 1\."):
        load_sae(folder)
    one = load_sae(f"{folder}#1")
    assert one.fingerprint == load_sae(folder / "params_layer_1.safetensors").fingerprint
    assert load_sae(f"{folder}#0").hook_in == "blocks.0.mlp.hook_in"
    with pytest.raises(ItemError, match="It is layer 1 of a cross-layer transcoder"):
        one.reconstruct(torch.ones(1, 12))


def test_a_cross_layer_file_needs_no_configuration(tmp_path):
    """The layer is in the file's name, and the hook point follows from what a clt folder holds."""
    folder = placed(tmp_path, "clt", "anywhere")
    (folder / "config.json").unlink()
    sae = load_sae(folder / "params_layer_1.safetensors")
    assert sae.hook_in == "blocks.1.mlp.hook_in"
    assert "hook" in {a.about for a in sae.assumptions}


@pytest.mark.parametrize("how", ["configuration", "folder"])
def test_a_crosscoder_is_not_taken_for_a_layer(tmp_path, how):
    """It has the same files and tensors, but its codes need several layers at once: refused by name."""
    if how == "configuration":
        folder = placed(tmp_path, "clt", "anywhere", type="crosscoder")
    else:
        folder = placed(tmp_path, "clt", "crosscoder/layer_5_9_12_15_width_1m_l0_big", type=None)
    with pytest.raises(SAEFileError, match=r"is a crosscoder.*reads several layers at once"):
        load_sae(f"{folder}#1")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("resid_post", {"w_enc": torch.zeros(24, 12)}, r"'w_enc' has shape \[24, 12\]; expected \[12, 24\]"),
        ("resid_post", {"w_enc": torch.zeros(13, 24)}, r"'w_enc' has shape \[13, 24\]; expected \[12, 24\]"),
        ("transcoder_affine", {"affine_skip_connection": torch.zeros(10, 12)}, r"expected \[12, 12\]"),
        ("clt", {"w_dec": torch.zeros(24, 12)}, r"'w_dec' has shape \[24, 12\]; expected \[24, any, 12\]"),
        ("clt", {"b_enc": torch.zeros(23)}, r"'b_enc' has shape \[23\]; expected \[24\]"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, name, changes, message):
    """A wrong shape names file and tensor, with what was found and what was expected."""
    folder = placed(tmp_path, name, "p")
    path = next(folder.glob("params*"))
    save_file({**load_file(path), **changes}, path)
    with pytest.raises(SAEFileError, match=message) as caught:
        load_sae(path)
    assert str(path) in str(caught.value)


def test_capital_names_are_another_format(tmp_path):
    """Weights named as in other formats are refused, with the tensors that are missing."""
    folder = placed(tmp_path, "resid_post", "p")
    tensors = load_file(folder / "params.safetensors")
    save_file(
        {key.replace("w_", "W_"): value for key, value in tensors.items()}, folder / "params.safetensors"
    )
    with pytest.raises(
        SAEFileError, match=r"gemma_scope_2 does not claim it: params.safetensors has no tensor w_dec, w_enc"
    ):
        load_sae(folder)
