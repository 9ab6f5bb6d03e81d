"""What circuit-tracer's files say, what they leave open, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter import api
from darkmatter.errors import SAEFileError
from darkmatter.plugins import host
from darkmatter.references import parse_reference
from darkmatter.sae.detect import choose, detect
from darkmatter.sae.load import LoadOptions, load_sae, open_view, read
from darkmatter.sae.overrides import Overrides

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"


def folder_of(name):
    """The folder in which a sample's files lie."""
    golden = json.loads((SAMPLES / name / "golden.json").read_text())
    return (SAMPLES / name / golden["path"]).parent


@pytest.fixture
def copied(tmp_path):
    """Copies a sample's files; gives their folder."""

    def copied(name):
        return Path(shutil.copytree(folder_of(f"circuit_tracer/{name}"), tmp_path / "files"))

    return copied


def rewritten(path, **changes):
    """Replace tensors of a file (None removes one)."""
    tensors = {**load_file(path), **changes}
    save_file({key: value for key, value in tensors.items() if value is not None}, path)


def loaded_with(path, **overrides):
    """The SAE, with what the user says of it."""
    view, adapters = open_view(parse_reference(str(path))), host().adapters()
    return read(view, choose(view, detect(view, adapters)), LoadOptions(overrides=Overrides(**overrides)))


@pytest.mark.parametrize("name", ["layer_3.safetensors", "W_enc_1.safetensors"])
def test_the_layer_is_in_the_files_name(copied, name):
    """Hook points are the configuration's, at the layer that the file is named after."""
    folder = copied("cross_layer_relu" if name.startswith("W") else "per_layer_relu")
    if name.startswith("layer"):
        (folder / "layer_5.safetensors").rename(folder / name)
    sae = load_sae(folder / name)
    layer = sae.metadata.extra["layer"]
    assert f"_{layer}." in name
    assert sae.hook_in == f"blocks.{layer}.hook_resid_mid"
    assert sae.hook_out == (f"blocks.{layer}.hook_mlp_out" if sae.reconstructs else sae.hook_in)


def test_a_folder_of_layers_asks_for_one(copied):
    """A cross-layer folder lists its layers, and a number picks one, the same as its file."""
    folder = copied("cross_layer_jumprelu")
    with pytest.raises(SAEFileError, match=r"holds several layers.*#LAYER\. Layers there: 0, 1, 2\."):
        load_sae(folder)
    assert load_sae(f"{folder}#2").fingerprint == load_sae(folder / "W_enc_2.safetensors").fingerprint
    with pytest.raises(SAEFileError, match=r"has no layer 7.*Layers there: 0, 1, 2\."):
        load_sae(f"{folder}#7")
    with pytest.raises(SAEFileError, match="leave out #2"):
        load_sae(f"{folder / 'W_enc_2.safetensors'}#2")


def test_layers_are_ordered_by_number(copied):
    """Layer 10 comes after layer 5, and a folder with one layer needs no number."""
    folder = copied("per_layer_relu")
    alone = load_sae(folder).fingerprint
    shutil.copy(folder / "layer_5.safetensors", folder / "layer_10.safetensors")
    with pytest.raises(SAEFileError, match=r"Layers there: 5, 10\."):
        load_sae(folder)
    assert load_sae(f"{folder}#10").fingerprint == alone


def test_what_no_configuration_says_is_said():
    """Without config.yaml hook points and model are unknown, and among the assumptions."""
    sae = load_sae(folder_of("circuit_tracer/per_layer_no_config"))
    assert (sae.hook_in, sae.hook_out, sae.metadata.model) == (None, None, None)
    assert [a.about for a in sae.assumptions] == ["hook", "model", "context_length", "bos", None, None]
    assert "position 0" in sae.assumptions[-1]
    assert "--skip-first 1" in sae.assumptions[-1].to_be_sure
    known = load_sae(folder_of("circuit_tracer/per_layer_relu"))
    assert [a.about for a in known.assumptions] == ["context_length", "bos", None, None]


def test_the_training_batch_is_no_context_length():
    """SAELens takes the batch size beside these weights for the context length; we say that it is unknown."""
    sae = load_sae(folder_of("per_layer_transcoder/relu"))
    assert sae.metadata.context_length is None
    assert (sae.hook_in, sae.hook_out) == ("blocks.5.mlp.hook_in", "blocks.5.hook_mlp_out")


def test_a_negative_threshold_keeps_negative_codes():
    """The library puts no ReLU beside its threshold: its samples hold negative codes, and so do ours."""
    folder = SAMPLES / "circuit_tracer" / "per_layer_jumprelu"
    expected = load_file(folder / "expected.safetensors")
    assert (expected["codes"] < 0).any()
    sae = load_sae(folder / "sae")
    assert type(sae.activation) is api.Threshold
    assert torch.equal(sae.encode(expected["x"]).to_dense() < 0, expected["codes"] < 0)


def test_a_threshold_that_is_nowhere_negative_is_the_usual_one(copied):
    """With thresholds of 0 and more the SAE is a JumpReLU like those of other formats."""
    folder = copied("per_layer_jumprelu")
    rewritten(folder / "layer_5.safetensors", **{"activation_function.threshold": torch.full((24,), 0.2)})
    assert type(load_sae(folder).activation) is api.JumpRelu


def test_position_0_is_not_zeroed():
    """A row's codes do not depend on its place; whoever wants circuit-tracer's zeros leaves it out."""
    folder = SAMPLES / "circuit_tracer" / "per_layer_relu"
    expected = load_file(folder / "expected.safetensors")
    assert load_sae(folder / "sae").encode(expected["x"][None]).to_dense()[0, 0].any()


@pytest.mark.parametrize(
    ("name", "file", "suffix"),
    [("per_layer_relu", "layer_5", ""), ("cross_layer_relu", "W_enc_0", "_0")],
)
def test_a_square_encoder_is_refused_until_the_user_says_how_it_lies(copied, name, file, suffix):
    """As many latents as features: the shape tells nothing, and each answer gives the other's transpose."""
    path = copied(name) / f"{file}.safetensors"
    generator = torch.Generator().manual_seed(3)
    square = torch.randn(12, 12, generator=generator)
    changes = {f"W_enc{suffix}": square, f"b_enc{suffix}": torch.zeros(12)}
    rewritten(path, **changes, **({} if suffix else {"W_dec": square + 1}))
    with pytest.raises(SAEFileError, match=r"square.*--override orientation=d_in,d_sae"):
        load_sae(path)
    assert torch.equal(loaded_with(path, orientation="d_sae,d_in").W_enc, square.T)
    assert torch.equal(loaded_with(path, orientation="d_in,d_sae").W_enc, square)


def test_the_decoders_of_a_cross_layer_transcoder_are_not_read(copied):
    """They change no code, so a layer can be measured without gigabytes of decoders."""
    folder = copied("cross_layer_relu")
    before = load_sae(f"{folder}#1").fingerprint
    for path in folder.glob("W_dec_*"):
        path.unlink()
    assert load_sae(f"{folder}#1").fingerprint == before


@pytest.mark.parametrize(
    ("name", "file", "changes", "message"),
    [
        (
            "per_layer_relu",
            "layer_5",
            {"W_dec": torch.zeros(24, 11)},
            r"'W_dec' has shape \[24, 11\]; expected \[24, 12\]",
        ),
        (
            "per_layer_skip",
            "layer_5",
            {"W_skip": torch.zeros(12, 11)},
            r"'W_skip' has shape \[12, 11\]; expected \[12, 12\]",
        ),
        (
            "per_layer_jumprelu",
            "layer_5",
            {"activation_function.threshold": torch.zeros(23)},
            r"threshold' has shape \[23\]; expected \[24\]",
        ),
        ("per_layer_relu", "layer_5", {"b_enc": None}, "layer_5.safetensors has no tensor b_enc"),
        (
            "cross_layer_jumprelu",
            "W_enc_0",
            {"threshold_0": torch.zeros(3)},
            r"'threshold_0' has shape \[3\]",
        ),
        ("cross_layer_relu", "W_enc_0", {"W_enc_0": torch.zeros(24, 13)}, r"'W_enc_0' has shape \[24, 13\]"),
        ("cross_layer_relu", "W_enc_0", {"b_dec_0": None}, "W_enc_0.safetensors has no tensor b_dec_0"),
    ],
)
def test_what_does_not_fit_is_named(copied, name, file, changes, message):
    """A wrong shape names file and tensor, with what was found and what was expected."""
    folder = copied(name)
    path = folder / f"{file}.safetensors"
    rewritten(path, **changes)
    with pytest.raises(SAEFileError, match=message) as caught:
        load_sae(path)
    assert str(path) in str(caught.value)


def test_a_configuration_of_another_kind_is_named(copied):
    """A hook point that is no text is refused with file and field."""
    folder = copied("per_layer_relu")
    (folder / "config.yaml").write_text("feature_input_hook: [a, b]\n")
    with pytest.raises(
        SAEFileError, match=r"config\.yaml: field 'feature_input_hook' is list; expected a string"
    ):
        load_sae(folder)


def test_a_transcoder_needs_both_hook_points_or_none(copied):
    """A configuration that says what is read and not what is predicted is refused by file and field."""
    folder = copied("per_layer_relu")
    (folder / "config.yaml").write_text("feature_input_hook: hook_resid_mid\n")
    with pytest.raises(
        SAEFileError, match=r"config\.yaml: field 'feature_output_hook' is missing; expected the hook point"
    ):
        load_sae(folder)


@pytest.mark.parametrize(("name", "kind"), [("relu", ""), ("jumprelu", "jumprelu_")])
def test_the_architecture_says_whether_there_are_thresholds(name, kind):
    """Tensors alone tell a JumpReLU layer of a cross-layer transcoder from a ReLU one."""
    sae = load_sae(folder_of(f"circuit_tracer/cross_layer_{name}") / "W_enc_1.safetensors")
    assert sae.metadata.architecture == f"{kind}cross_layer_transcoder"


def test_one_layer_says_why_it_reconstructs_nothing():
    """The reason names the layer and what would be needed."""
    sae = load_sae(folder_of("circuit_tracer/cross_layer_relu") / "W_enc_2.safetensors")
    with pytest.raises(api.ItemError, match="It is layer 2 of a cross-layer transcoder, which gives codes"):
        sae.reconstruct(torch.ones(1, 12))
