"""Files of mats_sae_training: pickled configurations and groups, read without their library."""

import sys
import types
from pathlib import Path

import pytest
import torch

from darkmatter.errors import SAEFileError
from darkmatter.files.view import FileView
from darkmatter.sae.detect import detect
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples" / "mats_training"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}


def sample(name):
    """The folder of a sample's files."""
    return SAMPLES / name / "sae"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Writes a file whose configuration is a pickled object of the library's class, with these fields."""
    module = types.ModuleType("sae_training.config")
    module.LanguageModelSAERunnerConfig = type(
        "LanguageModelSAERunnerConfig", (), {"__module__": "sae_training.config"}
    )
    monkeypatch.setitem(sys.modules, "sae_training", types.ModuleType("sae_training"))
    monkeypatch.setitem(sys.modules, "sae_training.config", module)

    def write(tensors=None, **fields):
        cfg = module.LanguageModelSAERunnerConfig()
        vars(cfg).update({"d_in": 4, "expansion_factor": 2, "hook_point": "blocks.0.hook_mlp_out"} | fields)
        gen = torch.Generator().manual_seed(0)
        shapes = {"W_enc": (4, 8), "W_dec": (8, 4), "b_enc": (8,), "b_dec": (4,)}
        weights = {name: torch.randn(*shape, generator=gen) for name, shape in shapes.items()}
        torch.save({"cfg": cfg, "state_dict": weights | (tensors or {})}, tmp_path / "sae.pt")
        return tmp_path / "sae.pt"

    return write


def test_the_folder_of_a_run_is_enough():
    """The log of sparsities beside the weights is passed over."""
    folder = sample("dictionary")
    assert len(list(folder.glob("*.pt"))) == 2
    sae = load_sae(folder, adapters=BY_NAME)
    assert (sae.hook_in, sae.metadata.model) == ("blocks.8.hook_resid_pre", "gpt2-small")


def test_the_library_is_not_imported():
    """The pickled classes stay names: nothing of their package is looked for."""
    before = set(sys.modules)  # other tests import some of them
    load_sae(sample("group_of_one"), adapters=BY_NAME)
    assert not {"sae_training", "transformer_lens", "sae_lens"} & (set(sys.modules) - before)


def test_a_group_of_several_needs_an_index():
    """Which SAE of a group is meant is the user's to say; a number that is not there is named."""
    (file,) = sample("group_of_two").iterdir()
    with pytest.raises(SAEFileError, match=r"2 SAEs \(#0 blocks\.3\.\S+, #1 blocks\.5\.\S+\); give one"):
        load_sae(file, adapters=BY_NAME)
    with pytest.raises(SAEFileError, match="there is no #2"):
        load_sae(f"path:{file}#2", adapters=BY_NAME)
    first, second = (load_sae(f"path:{file}#{n}", adapters=BY_NAME) for n in (0, 1))
    assert (first.hook_in, second.hook_in) == ("blocks.3.hook_resid_pre", "blocks.5.hook_resid_pre")
    assert first.fingerprint != second.fingerprint


def test_a_single_sae_takes_no_index():
    """An index into a file of one SAE is refused, since it chooses nothing."""
    (file,) = sample("group_of_one").iterdir()
    with pytest.raises(SAEFileError, match="leave out #0"):
        load_sae(f"path:{file}#0", adapters=BY_NAME)


def test_the_processing_of_the_models_weights_is_said():
    """Centred weights give activations of another mean, and no file of the time says that they were."""
    sae = load_sae(sample("dictionary"), adapters=BY_NAME)
    assert any("taken as compat" in sentence for sentence in sae.assumptions)
    assert sae.metadata.processing == "compat"
    assert [each.about for each in sae.assumptions] == ["processing", "bos"]


def test_one_head_is_said():
    """An SAE of a single head says which one it reads."""
    sae = load_sae(sample("dictionary_head"), adapters=BY_NAME)
    assert "reads head 7 of its hook point only." in sae.assumptions


def test_sizes_follow_from_the_expansion_factor(made):
    """A configuration without d_sae has d_in times expansion_factor latents."""
    assert load_sae(made(), adapters=BY_NAME).d_sae == 8


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"activation_fn": "gelu"}, r"Config: field 'activation_fn' is 'gelu', which is not supported"),
        ({"d_in": 5}, r"sae\.pt: tensor 'b_dec' has shape \[4\]; expected \[5\]"),
        ({"d_in": None}, "field 'd_in' is missing"),
    ],
)
def test_what_does_not_fit_is_named(made, fields, message):
    """Errors name the file and the tensor or field, as for every format."""
    with pytest.raises(SAEFileError, match=message):
        load_sae(made(**fields), adapters=BY_NAME)


def test_noise_of_training_is_left_out_and_said(made):
    """noise_scale made the library's forward random; codes are those without it."""
    assert not any("noise" in each for each in load_sae(made(noise_scale=0.0), adapters=BY_NAME).assumptions)
    assert any("noise" in each for each in load_sae(made(noise_scale=0.1), adapters=BY_NAME).assumptions)


def test_other_dictionaries_with_a_state_dict_are_not_claimed(tmp_path):
    """A checkpoint of another project has a cfg and a state_dict too."""
    torch.save({"cfg": {"d_in": 4}, "state_dict": {"W_enc": torch.ones(4, 8)}}, tmp_path / "x.pt")
    (claim,) = detect(FileView(tmp_path / "x.pt"), {"mats_training": BY_NAME["mats_training"]})
    assert "no .pt or .pth file holds a LanguageModelSAERunnerConfig" in claim.verdict.reason


def test_a_class_that_the_format_never_stores_is_refused(made):
    """The stubs cover the library's own classes, not whatever else a pickle names."""
    assert load_sae(made(cached=Path("a")), adapters=BY_NAME).d_in == 4
    with pytest.raises(SAEFileError, match=r"mats_training failed to look: .*asks for `__builtin__\.print`"):
        load_sae(made(extra=print), adapters=BY_NAME)
