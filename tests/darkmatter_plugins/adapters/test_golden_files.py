"""Every golden sample of the formats read here, against what the real library computed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from darkmatter.errors import SAEFileError
from darkmatter.sae.detect import detect
from darkmatter.sae.load import as_reference, load_sae, open_view
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
ALL = sorted(path.parent for path in SAMPLES.glob("*/*/golden.json"))
READ = [path for path in ALL if json.loads((path / "golden.json").read_text())["adapter"] in BY_NAME]
UNSET = SAMPLES / "dictionary_learning" / "batchtopk_threshold_unset"
READ = [path for path in READ if path != UNSET]


def identify(path):
    """The sample's name in pytest's output."""
    return f"{path.parent.name}/{path.name}"


def opened(path):
    """(golden.json, the SAE as we read it)."""
    golden = json.loads((path / "golden.json").read_text())
    return golden, load_sae(f"path:{path / golden['path']}", adapters=BY_NAME)


@pytest.mark.parametrize("path", READ, ids=identify)
def test_codes_and_reconstruction_are_those_of_the_library(path):
    """Codes, their support and the reconstruction equal what the library that wrote the file computes."""
    golden, sae = opened(path)
    expected = load_file(path / "expected.safetensors")
    # The number of heads is in no SAELens file, so attention SAEs get their rows flattened.
    x = expected["x"]
    codes = sae.encode(x)
    dense = codes.to_dense()
    assert torch.equal(dense != 0, expected["codes"] != 0)
    torch.testing.assert_close(dense, expected["codes"], atol=golden["atol"], rtol=1e-5)
    assert sae.reconstructs != golden.get("activations_only", False)
    if sae.reconstructs:
        made = sae.reconstruct(x)
        torch.testing.assert_close(made, expected["reconstruction"], atol=golden["atol"], rtol=1e-5)
    if "decode_only" in expected:
        torch.testing.assert_close(sae.decode(codes), expected["decode_only"], atol=golden["atol"], rtol=1e-5)


@pytest.mark.parametrize("path", READ, ids=identify)
def test_what_the_files_record_is_found(path):
    """Sizes, format, model, context length, BOS policy and dataset come out as the files record them."""
    golden, sae = opened(path)
    recorded = golden["recorded"]
    assert (sae.d_in, sae.d_sae) == (golden["d_in"], golden["d_sae"])
    assert sae.metadata.format == golden["adapter"]
    assert sae.metadata.context_length == recorded.get("context_size")
    assert sae.metadata.dataset == recorded.get("dataset_path", recorded.get("dataset"))
    model = recorded.get("model_name", recorded.get("lm_name", recorded.get("model")))
    assert (sae.metadata.model or "").removeprefix("google/") == (model or "").removeprefix("google/")
    hook = golden.get("hook_in", golden["hook_name"])
    if hook and hook.startswith(("blocks.", "hook_")):
        assert sae.hook_in == hook
    if "hook_name_out" in recorded:
        assert sae.hook_out == recorded["hook_name_out"]
    assert all(assumption.endswith(".") for assumption in sae.assumptions)


@pytest.mark.parametrize("path", [*READ, UNSET], ids=identify)
def test_one_adapter_is_sure_of_every_sample(path):
    """The adapter of a sample's format is sure of it, and no other one is."""
    golden = json.loads((path / "golden.json").read_text())
    where = as_reference(f"path:{path / golden['path']}")
    claims = detect(open_view(where), BY_NAME)
    assert [claim.adapter.name for claim in claims if claim.exact] == [golden["adapter"]]


def test_a_threshold_that_was_never_set_is_an_error_that_says_what_to_do():
    """The library keeps every positive code of such a file, which is not the SAE that was trained."""
    golden = json.loads((UNSET / "golden.json").read_text())
    expected = load_file(UNSET / "expected.safetensors")
    assert ((expected["codes"] > 0).sum(1) > golden["recorded"]["k"]).any()
    with pytest.raises(
        SAEFileError, match=r"ae\.pt: tensor 'threshold' is -1: it was never set.*later checkpoint"
    ):
        opened(UNSET)
