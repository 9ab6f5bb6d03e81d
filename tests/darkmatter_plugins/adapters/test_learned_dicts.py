"""HoagyC's learned_dicts.pt: which dictionary, what each class computes, what training subtracted."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from darkmatter.errors import SAEFileError
from darkmatter.files import torch_files
from darkmatter.files.view import FileView
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
D_IN, D_SAE = 4, 6


@pytest.fixture
def classes(monkeypatch):
    """Makes objects of any class of the repository, by the name of the class."""
    package, module = ModuleType("autoencoders"), ModuleType("autoencoders.learned_dict")
    monkeypatch.setitem(sys.modules, "autoencoders", package)
    monkeypatch.setitem(sys.modules, "autoencoders.learned_dict", module)

    def make(name, **attributes):
        if not hasattr(module, name):
            setattr(module, name, type(name, (), {"__module__": module.__name__, "__qualname__": name}))
        made = getattr(module, name)()
        vars(made).update(attributes)
        return made

    return make


@pytest.fixture
def tied(classes):
    """Makes tied dictionaries of seeded weights."""

    def make(seed=0, **changes):
        gen = torch.Generator().manual_seed(seed)
        attributes = {
            "encoder": torch.randn(D_SAE, D_IN, generator=gen) * 2,
            "encoder_bias": torch.randn(D_SAE, generator=gen),
            "norm_encoder": True,
            "n_feats": D_SAE,
        } | changes
        return classes("TiedSAE", **{key: value for key, value in attributes.items() if value is not None})

    return make


def saved(tmp_path, content, run="tied_residual_l2_r4", config=None, means=None):
    """A run's step with its dictionaries."""
    folder = tmp_path / run / "_9"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / "learned_dicts.pt")
    if config is not None:
        (folder / "config.yaml").write_text(config)
    if means is not None:
        torch.save(means, folder.parent / "means.pt")
    return folder / "learned_dicts.pt"


def read(path, index=None):
    """The SAE, as a user loads it."""
    return load_sae(str(path) if index is None else f"{path}#{index}", adapters=BY_NAME)


def three(tied):
    """Three dictionaries of a sweep."""
    alphas = (1e-4, 3e-4, 1e-3)
    return [(tied(seed), {"l1_alpha": alpha, "dict_size": D_SAE}) for seed, alpha in enumerate(alphas)]


def sentences(sae, word):
    """The assumptions that have a word in them."""
    return [sentence for sentence in sae.assumptions if word in sentence]


def test_an_index_chooses_the_dictionary(tmp_path, tied):
    """Each index gives its own weights and hyperparameters, from the file or from its folder."""
    content = three(tied)
    path = saved(tmp_path, content)
    for index, (made, hyperparameters) in enumerate(content):
        sae = read(path, index)
        torch.testing.assert_close(sae.W_dec, torch.nn.functional.normalize(made.encoder))
        assert sae.metadata.extra == {"class": "TiedSAE", "index": index, "entries": 3, **hyperparameters}
        assert read(path.parent, index).fingerprint == sae.fingerprint


def test_a_missing_index_lists_what_there_is(tmp_path, tied):
    """Without an index, a file with several names each one and the reference to give."""
    path = saved(tmp_path, three(tied))
    with pytest.raises(SAEFileError, match="holds 3 dictionaries") as caught:
        read(path)
    assert f"{path}#0" in str(caught.value)
    assert "#1 TiedSAE, dict_size 6, l1_alpha 0.0003" in str(caught.value)


def test_an_index_beyond_the_last_names_the_last(tmp_path, tied):
    """An index out of range is an error with the nearest one that exists."""
    path = saved(tmp_path, three(tied))
    with pytest.raises(SAEFileError, match="has no dictionary 3") as caught:
        read(path, 3)
    assert f"{path}#2" in str(caught.value)


def test_an_index_that_cannot_be_read_is_not_suggested():
    """The reference to give is one that loads, and classes that are not supported are marked."""
    samples = Path(__file__).parents[2] / "golden" / "samples" / "hoagyc"
    folder = samples / "beside_refused" / "sae" / "tied_residual_l2_r4" / "_9"
    with pytest.raises(SAEFileError, match=rf"such as {folder}#2") as caught:
        read(folder)
    assert "#0 AddedNoise, dict_size 24 (not supported)" in str(caught.value)
    assert read(folder, 2).d_sae == 24


def test_one_dictionary_needs_no_index(tmp_path, tied):
    """A list of one, and an object saved alone, are read with index 0 or without."""
    alone = read(saved(tmp_path, tied(), run="a"))
    for index in (None, 0):
        assert read(saved(tmp_path, [(tied(), {})], run="b"), index).fingerprint == alone.fingerprint


def test_a_long_list_is_cut(tmp_path, tied):
    """An error stays readable where a file holds very many dictionaries."""
    path = saved(tmp_path, [(tied(), {})] * 70)
    with pytest.raises(SAEFileError, match="and 6 more"):
        read(path)


def test_hyperparameters_that_are_no_numbers_are_left_out(tmp_path, tied):
    """Numpy's numbers, huge integers and odd names in a stranger's file disturb nothing."""
    import numpy as np

    odd = {"l1_alpha": np.float64(1e-3), "huge": 10**400, "bad\x1b[31m": 1, "nan": float("nan"), "seed": 3}
    sae = read(saved(tmp_path, [(tied(), odd)]))
    assert sae.metadata.extra == {"class": "TiedSAE", "index": 0, "entries": 1, "dict_size": D_SAE, "seed": 3}


def test_norm_encoder_decides_how_codes_are_made(tmp_path, tied):
    """Codes come from unit rows or from rows as stored; decoding takes unit rows either way."""
    normed, raw = (read(saved(tmp_path, tied(norm_encoder=flag))) for flag in (True, False))
    encoder = tied().encoder
    torch.testing.assert_close(raw.W_enc.T, encoder)
    torch.testing.assert_close(normed.W_enc.T, torch.nn.functional.normalize(encoder))
    assert torch.equal(normed.W_dec, raw.W_dec)


def test_centring_that_changes_nothing_changes_nothing(tmp_path, tied):
    """An old file without centring and a new one with a neutral centring are the same function."""
    neutral = {"center_rot": torch.eye(D_IN), "center_scale": torch.ones(D_IN)}
    old = read(saved(tmp_path, tied()))
    new = read(saved(tmp_path, tied(center_trans=torch.zeros(D_IN), **neutral)))
    assert torch.equal(old.W_enc, new.W_enc)
    assert torch.equal(old.W_dec, new.W_dec)


def test_centring_is_undone_by_the_same_matrix(tmp_path, tied):
    """Inputs become R(x - t) * s before encoding, R transposed of x̂' / s, plus t, behind decoding."""
    gen = torch.Generator().manual_seed(5)
    t, R = torch.randn(D_IN, generator=gen), torch.randn(D_IN, D_IN, generator=gen)
    s = torch.rand(D_IN, generator=gen) + 0.5
    made = tied(center_trans=t, center_rot=R, center_scale=s)
    sae, x = read(saved(tmp_path, made)), torch.randn(9, D_IN, generator=gen)
    unit = torch.nn.functional.normalize(made.encoder)
    codes = torch.relu((((x - t) @ R.T) * s) @ unit.T + made.encoder_bias)
    torch.testing.assert_close(sae.encode(x).to_dense(), codes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sae.reconstruct(x), ((codes @ unit) / s) @ R + t, atol=1e-5, rtol=1e-5)


def test_means_are_subtracted_and_added(tmp_path, tied):
    """The run's means.pt, one folder up, moves input and output, on top of a dictionary's own centre."""
    t, mean = torch.full((D_IN,), 0.5), torch.arange(D_IN).float()
    plain = read(saved(tmp_path, tied(center_trans=t), run="a"))
    moved = read(saved(tmp_path, tied(center_trans=t), run="b", means=mean))
    x = torch.randn(9, D_IN)
    torch.testing.assert_close(moved.encode(x).to_dense(), plain.encode(x - mean).to_dense())
    torch.testing.assert_close(moved.reconstruct(x), plain.reconstruct(x - mean) + mean)
    assert sentences(moved, "means.pt is subtracted")
    assert not sentences(plain, "means.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(D_IN + 1), r"'means' has shape \[5\]; expected \[4\]"),
        ([1.0], "holds a list; expected a tensor"),
        (torch.full((D_IN,), torch.inf), "'means' has 4 of 4 values"),
    ],
)
def test_means_that_do_not_fit_are_named(tmp_path, tied, content, message):
    """A means.pt of another run or a damaged one is an error with its name."""
    path = saved(tmp_path, tied(), means=content)
    with pytest.raises(SAEFileError, match=message) as caught:
        read(path)
    assert "means.pt" in str(caught.value)


@pytest.mark.parametrize("field", ["center_activations", "center_dataset"])
def test_a_mean_that_is_missing_is_said(tmp_path, tied, field):
    """A run that was centred by a mean which is not there is read without it, and says so."""
    sae = read(saved(tmp_path, tied(), config=f"{field}: true\n"))
    assert sentences(sae, f"{field} is true")


@pytest.mark.parametrize(
    ("run", "config", "hook"),
    [
        ("tied_residual_l2_r4", None, "blocks.2.hook_resid_post"),
        ("output_hoagy_dense_sweep_tied_resid_l3_r1", None, "blocks.3.hook_resid_post"),
        ("lr1e-3__mlp_l1_r1", None, "blocks.1.mlp.hook_post"),
        ("l5_mlpout", None, "blocks.5.hook_mlp_out"),
        ("tied_attn_concat_l0_r2", None, "blocks.0.attn.hook_z"),
        ("tied_attn_l0_r2", None, "blocks.0.hook_resid_post"),
        ("tied_residual_l2_r4", "layer: 5\nlayer_loc: mlpout\n", "blocks.5.hook_mlp_out"),
        ("run", None, None),
        ("run", "layer: 5\nlayer_loc: elsewhere\n", None),
    ],
)
def test_hook_points_come_from_the_configuration_or_the_folder(tmp_path, tied, run, config, hook):
    """The layer and layer_loc in config.yaml come first, then the folder's name; nothing is made up."""
    sae = read(saved(tmp_path, tied(), run=run, config=config))
    assert sae.hook_in == hook
    (said,) = [sentence for sentence in sae.assumptions if sentence.about == "hook"]
    assert (hook or "none taken") in said


@pytest.mark.parametrize("config", ["", "layer: 2\ndtype: !!python/name:torch.float32 ''\n"])
def test_a_configuration_that_cannot_be_read_stops_nothing(tmp_path, tied, config):
    """The published script leaves config.yaml empty or with Python objects in it; that is said."""
    sae = read(saved(tmp_path, tied(), config=config))
    assert sae.hook_in == "blocks.2.hook_resid_post"
    assert sentences(sae, "config.yaml cannot be read")


def test_the_processing_of_the_models_weights_is_assumed(tmp_path, tied):
    """The repository takes its activations from TransformerLens, whose defaults centre weights."""
    sae = read(saved(tmp_path, tied()))
    assert sae.metadata.processing == "compat"
    assert [each.about for each in sae.assumptions if "taken as compat" in each] == ["processing"]


def test_the_model_is_recorded_or_said_to_be_missing(tmp_path, tied):
    """A model in config.yaml is metadata; without one, that it is missing is an assumption."""
    named = read(saved(tmp_path, tied(), run="a", config="model_name: pythia-70m\n"))
    silent = read(saved(tmp_path, tied(), run="b"))
    assert named.metadata.model == "pythia-70m"
    assert [s.about for s in named.assumptions].count("model") == 0
    assert [s.about for s in silent.assumptions].count("model") == 1


@pytest.mark.parametrize("name", ["AddedNoise", "ReverseSAE", "LISTADenoisingSAE", "Unheard"])
def test_classes_that_are_not_read_are_named(tmp_path, classes, tied, name):
    """A class without a reader is refused by name with those that have one, and others stay readable."""
    path = saved(tmp_path, [(classes(name, encoder=torch.ones(D_SAE, D_IN)), {}), (tied(), {})])
    with pytest.raises(SAEFileError, match=f"#0: is of the class '{name}'.*Supported: TiedSAE, UntiedSAE"):
        read(path, 0)
    assert read(path, 1).d_sae == D_SAE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": torch.ones(D_SAE)}, r"'encoder' has shape \[6\]; expected \[any, any\]"),
        ({"encoder": None}, "has no tensor 'encoder'"),
        ({"encoder_bias": torch.ones(3)}, r"'encoder_bias' has shape \[3\]; expected \[6\]"),
        ({"encoder_bias": [0.0]}, "has no tensor 'encoder_bias'"),
        ({"norm_encoder": None}, "field 'norm_encoder' is missing"),
        ({"norm_encoder": 1}, "field 'norm_encoder' is '?1'?; expected true or false"),
        ({"center_rot": torch.ones(D_IN, 2)}, r"'center_rot' has shape \[4, 2\]"),
        ({"center_scale": torch.zeros(D_IN)}, "'center_scale' has zeros"),
        ({"encoder": torch.full((D_SAE, D_IN), torch.nan)}, "'encoder' has 24 of 24 values"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, tied, changes, message):
    """An error names the file, the index and the attribute, what was found and what was expected."""
    path = saved(tmp_path, [(tied(**changes), {})])
    with pytest.raises(SAEFileError, match=message) as caught:
        read(path)
    assert "learned_dicts.pt#0" in str(caught.value)


def test_an_identity_of_any_size_is_not_made(tmp_path, classes):
    """A number in a file of a few bytes cannot ask for a matrix of terabytes."""
    path = saved(tmp_path, classes("Identity", activation_size=1 << 30))
    with pytest.raises(SAEFileError, match="'activation_size' is 1073741824; expected at most 16384"):
        read(path)


def test_a_truncated_file_is_named(tmp_path, tied):
    """A download that was cut off is an error with the file's name."""
    path = saved(tmp_path, three(tied))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SAEFileError, match=r"learned_dicts\.pt"):
        read(path, 0)


def test_a_malicious_file_is_refused(tmp_path, monkeypatch, tied, classes):
    """A pickle that names a function is refused, and the function is not called."""

    class Hostile:
        def __reduce__(self):
            return os.system, ("touch must_not_exist",)

    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, [(tied(), {"l1_alpha": Hostile()})])
    with pytest.raises(SAEFileError, match="system"):
        read(path)
    assert not (tmp_path / "must_not_exist").exists()


def test_lists_of_other_things_are_not_claimed(tmp_path, tied):
    """A list with anything but the repository's objects in it belongs to nobody here."""
    for content in ([], [(tied(), {}), torch.ones(2)], [(torch.ones(2), {})], [(tied(), 3)], {"a": tied()}):
        with pytest.raises(SAEFileError, match="no adapter recognises this"):
            read(saved(tmp_path, content))


def test_only_the_chosen_dictionary_is_loaded(tmp_path, monkeypatch, tied):
    """Detection loads no numbers; loading reads the tensors of one dictionary that its class uses."""
    content = [*three(tied), (tied(optimiser=torch.ones(2)), {})]
    path, loaded, load = saved(tmp_path, content), [], torch_files.load_tensors
    monkeypatch.setattr(torch_files, "load_tensors", lambda saved: loaded.append(saved) or load(saved))
    assert "4 learned dictionaries" in BY_NAME["learned_dicts"].detect(FileView(path)).reason
    assert loaded == []
    read(path, 2)
    assert len(loaded) == 2
    with pytest.raises(SAEFileError, match="has tensor 'optimiser', which this format does not have"):
        read(path, 3)
