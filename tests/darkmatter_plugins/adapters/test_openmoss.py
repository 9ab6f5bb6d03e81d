"""What OpenMOSS's formats share: a scale of the activations that enters thresholds and decoders."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter.errors import ItemError
from darkmatter.sae.load import load_sae

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
CONFIGS = ("hyperparams.json", "config.json")


def config_of(folder):
    """The configuration of a sample, wherever it lies."""
    return next(path for name in CONFIGS for path in folder.rglob(name))


def scaled_samples():
    """The samples of both formats whose scale is one number for all rows."""
    for format_name in ("llama_scope", "llamascopium"):
        for folder in sorted((SAMPLES / format_name).iterdir()):
            if json.loads(config_of(folder / "sae").read_text()).get("norm_activation") == "dataset-wise":
                yield f"{format_name}/{folder.name}"


SCALED = list(scaled_samples())


def with_norms(folder, norm):
    """Write another average norm of every hook point where the files of a copied sample have one."""
    path = config_of(folder)
    content = json.loads(path.read_text())
    if "dataset_average_activation_norm" in content:
        content["dataset_average_activation_norm"] = {"in": norm, "out": norm}
    path.write_text(json.dumps(content))
    for weights in folder.rglob("*.safetensors"):
        tensors = load_file(weights)
        norms = {name: torch.tensor(norm) for name in tensors if name.startswith("dataset_average")}
        save_file(tensors | norms, weights)


def test_both_formats_have_samples_with_a_scale():
    """The comparison below runs over SAEs, GLU encoders and transcoders of both formats."""
    assert {name.partition("/")[0] for name in SCALED} == {"llama_scope", "llamascopium"}
    assert any("transcoder" in name for name in SCALED)
    assert any("glu" in name for name in SCALED)


@pytest.mark.parametrize("sample", SCALED)
def test_a_factor_is_the_same_as_another_norm_in_the_files(sample, tmp_path):
    """norm_factor takes the place of the files' scale everywhere: input, thresholds and decoder.

    Of a transcoder it is 1: its weights are then read as those into which both scales are folded.
    """
    path = json.loads((SAMPLES / sample / "golden.json").read_text())["path"]
    x = load_file(SAMPLES / sample / "expected.safetensors")["x"]
    factor = 1.0 if "transcoder" in sample else 4 * math.sqrt(x.shape[-1]) / 7.5
    shutil.copytree(SAMPLES / sample / "sae", tmp_path / "sae")
    with_norms(tmp_path / "sae", math.sqrt(x.shape[-1]) / factor)

    original = load_sae(SAMPLES / sample / path)
    stated, edited = (
        load_sae(SAMPLES / sample / path, overrides={"norm_factor": factor}),
        load_sae(tmp_path / path),
    )
    codes, expected = stated.encode(x).to_dense(), edited.encode(x).to_dense()
    assert torch.equal(codes != 0, expected != 0)
    torch.testing.assert_close(codes, expected)
    torch.testing.assert_close(stated.reconstruct(x), edited.reconstruct(x))
    assert not torch.allclose(original.encode(x).to_dense(), codes)
    assert f"norm_factor {factor} was given by the user." in stated.assumptions
    assert any("in the place of which a norm_factor was stated" in each for each in stated.assumptions)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ("llama_scope/lm_saes_transcoder", "scales of their own"),
        ("llamascopium/transcoder", "scales of their own"),
        ("llama_scope/lm_saes_token_wise", "each row has a scale"),
        ("llamascopium/topk_glu_token_wise", "each row has a scale"),
    ],
)
def test_a_factor_that_says_too_little_is_refused(sample, reason):
    """One number is not both scales of a transcoder, and none of a row's own."""
    path = json.loads((SAMPLES / sample / "golden.json").read_text())["path"]
    with pytest.raises(ItemError, match=f"norm_factor 2 cannot be followed.*{reason}"):
        load_sae(SAMPLES / sample / path, overrides={"norm_factor": 2.0})
