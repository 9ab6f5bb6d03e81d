"""OpenAI's GPT-2 SAEs: what the state dict says, what the path says, and what is refused."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from darkmatter.errors import SAEFileError
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
SAMPLES = Path(__file__).parents[2] / "golden" / "samples" / "openai"
D_IN, D_SAE = 4, 6


class Hostile:
    """Pickles as a call that a loader of pickles would make."""

    def __reduce__(self):
        return os.system, ("touch must_not_exist",)


def state(**changes):
    """The state dict of a small TopK autoencoder; a change of None removes a key."""
    gen = torch.Generator().manual_seed(0)
    made = {
        "pre_bias": torch.randn(D_IN, generator=gen),
        "latent_bias": torch.randn(D_SAE, generator=gen),
        "encoder.weight": torch.randn(D_SAE, D_IN, generator=gen),
        "decoder.weight": torch.randn(D_IN, D_SAE, generator=gen),
        "activation": "TopK",
        "activation_state_dict": {"k": 3, "postact_fn": "ReLU"},
    } | {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in made.items() if value is not None}


def saved(tmp_path, folder="resid_post_mlp_v5_32k", name="6.pt", **changes):
    """A file at a published path."""
    place = tmp_path / "gpt2-small" / folder / "autoencoders"
    place.mkdir(parents=True, exist_ok=True)
    torch.save(state(**changes), place / name)
    return place / name


def read(path):
    """The SAE, as a user loads it."""
    return load_sae(path, adapters=BY_NAME)


def sentences(sae, about):
    """The assumptions about one field."""
    return [sentence for sentence in sae.assumptions if sentence.about == about]


@pytest.mark.parametrize(
    ("folder", "hook"),
    [
        ("resid_post_mlp_v5_128k", "blocks.6.hook_resid_post"),
        ("resid_delta_mlp_v4", "blocks.6.hook_mlp_out"),
        ("resid_post_attn_v5_32k", "blocks.6.hook_resid_mid"),
        ("resid_delta_attn", "blocks.6.hook_attn_out"),
        ("mlp_post_act", "blocks.6.mlp.hook_post"),
    ],
)
def test_the_hook_point_stands_in_the_path(tmp_path, folder, hook):
    """Every published location becomes its TransformerLens hook point, and the reader says so."""
    sae = read(saved(tmp_path, folder))
    assert sae.hook_in == hook
    (said,) = sentences(sae, "hook")
    assert hook in said
    assert "not recorded" in said


@pytest.mark.parametrize(("folder", "name"), [("somewhere", "6.pt"), ("resid_post_mlp", "sae.pt")])
def test_a_path_that_says_nothing_gives_no_hook_point(tmp_path, folder, name):
    """Away from the published names no hook point is made up."""
    sae = read(saved(tmp_path, folder, name))
    assert sae.hook_in is None
    assert "none taken" in sentences(sae, "hook")[0]
    assert sae.metadata.model is None
    assert "none taken" in sentences(sae, "model")[0]


def test_what_the_file_leaves_out_is_said(tmp_path):
    """Model, weight processing, context length, BOS policy and layer norm are assumptions."""
    sae = read(saved(tmp_path))
    assert sae.metadata.model == "gpt2"
    assert sentences(sae, "model")
    assert sentences(sae, "bos")
    assert sentences(sae, "context_length")
    assert any("center_writing_weights=False" in sentence for sentence in sentences(sae, "processing"))
    assert sae.metadata.processing == "raw"
    assert any("layer norm" in sentence for sentence in sae.assumptions)


def test_layer_norm_follows_the_activation(tmp_path):
    """TopK normalises its input and ReLU does not, though no key says so."""
    topk, relu = read(saved(tmp_path)), read(saved(tmp_path, name="7.pt", activation="ReLU"))
    assert topk.normalisation.kind == "layer_norm"
    assert relu.normalisation.kind == "none"


def test_the_eps_of_the_layer_norm_is_not_undone():
    """On rows as small as the eps, encoding has it and decoding does not."""
    folder = SAMPLES / "topk_small_rows"
    sae = read(folder / "sae" / "gpt2-small" / "resid_delta_mlp_v5_32k" / "autoencoders" / "6.pt")
    expected = load_file(folder / "expected.safetensors")
    x, codes = expected["x"], expected["codes"]
    small = x.std(dim=-1) < 1e-4
    deviation, mean = x.std(dim=-1, keepdim=True), x.mean(dim=-1, keepdim=True)
    decoded = codes @ sae.W_dec + sae.b_dec
    with_eps = decoded * (deviation + 1e-5) + mean
    assert int(small.sum()) > 4
    torch.testing.assert_close(sae.encode(x).to_dense(), codes, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(sae.reconstruct(x), expected["reconstruction"], atol=1e-7, rtol=1e-5)
    assert float((with_eps - expected["reconstruction"])[small].abs().max()) > 1e-5


def test_a_missing_activation_is_relu_and_said(tmp_path):
    """A file without an activation is read as the library reads it."""
    sae = read(saved(tmp_path, activation=None, activation_state_dict=None))
    assert sae.metadata.architecture == "standard"
    assert any("activation not recorded" in sentence for sentence in sae.assumptions)


def test_keys_that_newer_torch_adds_change_nothing(tmp_path):
    """A file saved again has activation.k as a key of its own; the SAE is the same."""
    again = saved(tmp_path, name="7.pt", activation__k=3, activation__postact_fn="ReLU")
    assert read(again).fingerprint == read(saved(tmp_path)).fingerprint


def test_negative_codes_stay_where_nothing_follows_topk(tmp_path):
    """With postact_fn Identity the k largest keep their sign."""
    sae = read(saved(tmp_path, activation_state_dict={"k": D_SAE, "postact_fn": "Identity"}))
    codes = sae.encode(torch.randn(8, D_IN)).to_dense()
    assert bool((codes < 0).any())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "GELU"}, "'GELU', which is not supported. Supported: ReLU, TopK, Identity"),
        ({"activation": 3}, "field 'activation'"),
        ({"activation_state_dict": None}, "activation_state_dict: field 'k' is missing"),
        ({"activation_state_dict": {"k": 3, "postact_fn": "Tanh"}}, "'Tanh', which is not supported"),
        ({"activation_state_dict": {"k": 3}}, "'postact_fn' is missing; expected ReLU or Identity"),
        ({"activation_state_dict": {"k": 99, "postact_fn": "ReLU"}}, "k between 1 and d_sae = 6"),
        (
            {"encoder__weight": torch.ones(D_SAE, 5)},
            r"'encoder.weight' has shape \[6, 5\]; expected \[6, 4\]",
        ),
        ({"decoder__weight": torch.ones(D_SAE, D_IN)}, r"'decoder.weight' has shape \[6, 4\]"),
        (
            {"decoder__weight": None},
            r"expected a tensor 'decoder.weight' of shape .* 'decoder.linear.weight' of shape \[6, 4\]",
        ),
        ({"pre_bias": torch.full((D_IN,), torch.nan)}, "'pre_bias' has 4 of 4 values"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, changes, message):
    """An error names the file and the key, what was found and what was expected."""
    path = saved(tmp_path, **changes)
    with pytest.raises(SAEFileError, match=message) as caught:
        read(path)
    assert "6.pt" in str(caught.value)


def test_a_folder_of_several_layers_asks_for_one(tmp_path):
    """A folder with a file for each layer is an error that lists them."""
    folder = saved(tmp_path).parent
    saved(tmp_path, name="7.pt")
    with pytest.raises(SAEFileError, match=r"2 files with SAEs \(6.pt, 7.pt\); give one of them: .*6.pt"):
        read(folder)


def test_a_folder_of_one_layer_is_that_layer(tmp_path):
    """Where the folder holds one file of the format, others in it do not matter."""
    path = saved(tmp_path)
    torch.save({"something": torch.ones(2)}, path.with_name("other.pt"))
    path.with_name("broken.pt").write_bytes(b"")
    assert read(path.parent).fingerprint == read(path).fingerprint


def test_a_truncated_file_is_named(tmp_path):
    """A download that was cut off is an error with the file's name."""
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SAEFileError, match=r"6\.pt"):
        read(path)


def test_a_malicious_file_is_refused(tmp_path, monkeypatch):
    """A pickle that names a function is refused, and the function is not called."""
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, extra=Hostile())
    with pytest.raises(SAEFileError, match="system"):
        read(path)
    assert not (tmp_path / "must_not_exist").exists()


def test_detection_reads_no_numbers(tmp_path, monkeypatch):
    """The format is recognised from the pickle's structure, without loading a tensor."""
    from darkmatter.files import torch_files, view
    from darkmatter.files.view import FileView

    def fail(*_):
        message = "numbers were read"
        raise AssertionError(message)

    monkeypatch.setattr(torch_files, "load_tensors", fail)
    monkeypatch.setattr(view, "load_tensors", fail)
    assert "6.pt" in BY_NAME["openai"].detect(FileView(saved(tmp_path))).reason


def test_a_tied_decoder_is_the_encoder(tmp_path):
    """decoder.linear.weight, as a tied autoencoder saves it, decodes with the encoder's rows."""
    sample = SAMPLES / "relu_tied" / "sae"
    shutil.copytree(sample, tmp_path / "sae")
    (path,) = (tmp_path / "sae").rglob("*.pt")
    raw = torch.load(path, weights_only=True)
    assert torch.equal(read(path).W_dec, raw["encoder.weight"])
