"""From a reference to an SAE: detection, conflicts, errors, inspection."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter.descriptors import Detection, Refusal, SAEAdapter
from darkmatter.errors import ItemError, SAEFileError, UsageError
from darkmatter.sae.inspection import inspect_reference
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
BUILT_IN = {adapter.name: adapter for adapter in ADAPTERS}


def adapter(name, verdict, load=lambda _view, _options: None, filenames=("*.safetensors",)):
    """An adapter that always says the same."""
    return SAEAdapter(name, "a test", load, filenames=filenames, detect=lambda _: verdict)


def table(*adapters):
    """Adapters by name."""
    return {each.name: each for each in adapters}


@pytest.fixture
def sample(tmp_path):
    """A copy of a SAELens sample that a test may damage."""
    for file in (SAMPLES / "sae_lens" / "standard" / "sae").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_parsing_and_detection_import_no_torch():
    """References, views and detection are used where torch is too slow to import."""
    code = (
        "import sys, darkmatter.references, darkmatter.files.view;"
        "import darkmatter.sae.detect, darkmatter.sae.inspection;"
        "print([m for m in ('torch', 'numpy', 'yaml') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_two_exact_claims_are_an_error_that_lists_every_reason(sample):
    """Two adapters that are both sure must be decided between by the user."""
    adapters = table(adapter("one", Detection("I know it")), adapter("two", Detection("so do I")),
                     adapter("three", Refusal("not mine")))  # fmt: skip
    with pytest.raises(
        SAEFileError,
        match=r"(?s)--adapter one.*one claims it: I know it.*two claims it: so do I.*three does not claim it",
    ):
        load_sae(sample, adapters=adapters)


def test_the_named_adapter_decides(sample):
    """--adapter overrules detection; an unknown one is a usage error with the nearest name."""
    adapters = {**BUILT_IN, **table(adapter("rival", Detection("me too")))}
    assert load_sae(sample, adapter="saelens", adapters=adapters).d_sae == 24
    with pytest.raises(UsageError, match="Did you mean 'saelens'"):
        load_sae(sample, adapter="saelense", adapters=adapters)


def test_a_likely_claim_wins_only_alone(sample):
    """A likely claim yields to an exact one, and two likely ones are undecided."""
    likely = adapter("guess", Detection("perhaps", "likely"))
    assert load_sae(sample, adapters={**BUILT_IN, **table(likely)}).metadata.format == "saelens"
    with pytest.raises(SAEFileError, match="both read this"):
        load_sae(sample, adapters=table(likely, adapter("other", Detection("maybe", "likely"))))


def test_a_folder_without_a_matching_name_is_refused_without_asking(sample):
    """File names are looked at before detect is called."""

    def never(_view):
        raise AssertionError

    unasked = SAEAdapter("x", "a test", "a:b", filenames=("*.nothing",), detect=never)
    with pytest.raises(SAEFileError, match=r"there is no file named \*\.nothing"):
        load_sae(sample, adapters=table(unasked))


def test_a_broken_detect_does_not_hide_the_others(sample):
    """An adapter that raises while detecting is a refusal with its error as the reason."""

    def broken(_view):
        return 1 / 0

    bad = SAEAdapter("bad", "a test", "a:b", filenames=("*",), detect=broken)
    assert load_sae(sample, adapters={**BUILT_IN, "bad": bad}).d_in == 12
    with pytest.raises(SAEFileError, match="ZeroDivisionError"):
        load_sae(sample, adapters={"bad": bad})


def test_a_broken_load_names_the_adapter(sample):
    """A crash in a plugin's load, or a result that is no SAE, names the plugin."""
    with pytest.raises(SAEFileError, match="adapter 'one' returned a NoneType"):
        load_sae(sample, adapters=table(adapter("one", Detection("x"))))
    crash = adapter("one", Detection("x"), load=lambda _view, _options: 1 / 0)
    with pytest.raises(SAEFileError, match="adapter 'one' failed"):
        load_sae(sample, adapters=table(crash))


def test_a_folder_of_saes_says_which_there_are():
    """Pointing above the SAEs lists folders that hold one."""
    with pytest.raises(SAEFileError, match=r"It holds SAEs; give one of them: .*sae_lens") as caught:
        load_sae(SAMPLES / "sae_lens", adapters=BUILT_IN)
    assert re.search(r" and \d+ more\.$", str(caught.value))
    assert "none of their files" not in str(caught.value)


def test_the_nearest_misses_come_first(sample):
    """Unreadable files, then the most precise names, with their reasons; the others are only counted."""
    (sample / "cfg.json").write_text("{")
    with pytest.raises(SAEFileError) as caught:
        load_sae(sample, adapters=BUILT_IN)
    head, nearest, *_, others = str(caught.value).splitlines()
    assert "no adapter recognises this. Files there: cfg.json, sae_weights.safetensors." in head
    assert re.search(r"saelens failed to look: .*cfg.json: is not valid JSON", nearest)
    assert re.search(r"^  \d+ more adapters found none of their files", others)


def test_a_file_called_as_one_format_does_is_compared_with_it_first(tmp_path):
    """Of the adapters that refuse ae.pt, the one that looks for ae.pt speaks before those for *.pt."""
    torch.save({"a": torch.zeros(1)}, tmp_path / "ae.pt")
    with pytest.raises(SAEFileError) as caught:
        load_sae(tmp_path, adapters=BUILT_IN)
    assert (
        "dictionary_learning does not claim it: there is no config.json" in str(caught.value).splitlines()[1]
    )


def test_a_file_of_an_sae_points_to_its_folder(sample):
    """Pointing at the configuration alone says to give the folder."""
    with pytest.raises(SAEFileError, match="give its folder"):
        load_sae(sample / "cfg.json", adapters=BUILT_IN)
    assert load_sae(sample / "sae_weights.safetensors", adapters=BUILT_IN).d_in == 12


@pytest.mark.parametrize("name", ["W_enc", "W_dec", "b_enc", "b_dec"])
def test_non_finite_weights_name_the_tensor_and_the_count(sample, name):
    """An SAE with NaN in any weight is an item failure that says where."""
    path = sample / "sae_weights.safetensors"
    tensors = load_file(path)
    tensors[name].view(-1)[:2] = float("nan")
    save_file(tensors, path)
    with pytest.raises(SAEFileError, match=rf"tensor '{name}' has 2 of \d+ values that are NaN"):
        load_sae(sample, adapters=BUILT_IN)


def test_a_transposed_matrix_is_named(sample):
    """A matrix stored the other way round is refused with both shapes."""
    path = sample / "sae_weights.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "W_enc": tensors["W_enc"].T.contiguous()}, path)
    with pytest.raises(SAEFileError, match=r"'W_enc' has shape \[24, 12\]; expected \[12, 24\]"):
        load_sae(sample, adapters=BUILT_IN)


def test_a_fault_of_the_weights_names_the_file(sample):
    """What the SAE's own checks find is reported with the path."""
    config = json.loads((sample / "cfg.json").read_text())
    (sample / "cfg.json").write_text(json.dumps({**config, "architecture": "topk", "k": 25}))
    with pytest.raises(SAEFileError, match=f"{sample}.*TopK needs k between 1 and d_sae = 24"):
        load_sae(sample, adapters=BUILT_IN)


def test_dtype_and_device_are_applied(sample):
    """The precision asked for is the one the SAE computes in."""
    assert load_sae(sample, dtype=torch.float64, adapters=BUILT_IN).dtype == torch.float64


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("hf:org/repo/a@main", "darkmatter fetch hf:org/repo/a@main"),
        ("saelens:r/i", "no release 'r'"),
        ("neuronpedia:m/s", "no model 'm'"),
        ("baseline:pca,k=2", "fitted on the training rows"),
        ("/no/such/place", "no such file or folder"),
    ],
)
def test_what_cannot_be_loaded_says_what_to_do(reference, message):
    """References without a loader are item failures with the next step."""
    with pytest.raises(ItemError, match=message):
        load_sae(reference, adapters=BUILT_IN)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """An importable module with functions that make SAEs."""
    (tmp_path / "sae_makers_for_tests.py").write_text(
        "import torch\n"
        "class Thing:\n"
        "    d_in, d_sae = 3, 3\n"
        "    def encode(self, x): return x.relu()\n"
        "    def decode(self, f): return f\n"
        "def make(): return Thing()\n"
        "def crash(): return 1 / 0\n"
        "def wrong(): return 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "python:sae_makers_for_tests"
    sys.modules.pop("sae_makers_for_tests", None)


def test_a_users_function_gives_an_sae(module):
    """python:module:function is called, and an SAE-like object is wrapped."""
    sae = load_sae(f"{module}:make")
    x = torch.randn(4, 3)
    assert torch.equal(sae.reconstruct(x), x.relu())
    assert inspect_reference(f"{module}:make").semantics.startswith("f = encode(x)")


@pytest.mark.parametrize("function", ["crash", "wrong", "missing"])
def test_a_users_function_that_fails_is_an_item_failure(module, function):
    """A crash, a wrong type and a missing name are errors of this item alone."""
    with pytest.raises(ItemError):
        load_sae(f"{module}:{function}")


def test_inspection_says_what_a_file_is():
    """The inspection names adapter, tensors, sizes, hook, formula and fingerprint, and is JSON-able."""
    found = inspect_reference(SAMPLES / "sae_lens" / "topk_rescale" / "sae", adapters=BUILT_IN)
    assert (found.adapter, found.d_in, found.d_sae, found.error) == ("saelens", 12, 24, None)
    assert found.settings["k"] == 10
    assert found.hook_in == "blocks.7.hook_resid_post"
    assert found.tensors["sae_weights.safetensors:W_enc"] == {"shape": [12, 24], "dtype": "float32"}
    assert found.semantics == (
        "x' = x - subtract; h = (x' W_enc + b_enc) · code_scale; f = the 10 largest of relu(h); "
        "x̂ = (f / code_scale) W_dec + b_dec"
    )
    assert {claim["verdict"] for claim in found.claims} == {"exact", "refused"}
    assert json.loads(json.dumps(found.as_json()))["fingerprint"] == found.fingerprint


def test_inspection_of_a_transcoder_and_of_a_pt_file():
    """Normalisation, skip connection and the tensors of a .pt file are shown."""
    found = inspect_reference(SAMPLES / "sae_lens" / "skip_transcoder_layer_norm" / "sae", adapters=BUILT_IN)
    assert found.semantics.startswith("x' = (x - mean(x)) / (std(x) + 1e-05)")
    assert found.semantics.endswith("x̂ = f W_dec + b_dec + x W_skip")
    found = inspect_reference(
        SAMPLES / "dictionary_learning" / "standard" / "sae" / "trainer_0", adapters=BUILT_IN
    )
    assert found.tensors["ae.pt:encoder.weight"] == {"shape": [24, 12], "dtype": "float32"}


def test_an_index_into_a_file_with_one_sae_is_refused(sample):
    """file#3 must not silently mean the file's only SAE."""
    with pytest.raises(SAEFileError, match=r"holds a single SAE.*leave out #3"):
        load_sae(f"{sample}#3", adapters=BUILT_IN)


def test_inspection_shows_an_unsafe_file_beside_the_sae(sample):
    """A hostile .pt in the folder is named, though the SAE's own files are fine."""
    (sample / "x.pt").write_bytes(b"\x80\x02cposix\nsystem\nX\x01\x00\x00\x00a\x85R.")
    found = inspect_reference(sample, adapters=BUILT_IN)
    (problem,) = [file["problem"] for file in found.files if "problem" in file]
    assert "posix.system" in problem
    assert found.error is None


def test_inspection_of_a_damaged_file_still_answers(sample):
    """What goes wrong while loading is part of the inspection."""
    (sample / "sae_weights.safetensors").write_bytes(b"PK nonsense")
    found = inspect_reference(sample, adapters=BUILT_IN)
    assert "starts like a zip archive" in found.error


def test_a_device_that_is_not_there_is_said_in_words():
    """Without the device a user gets one sentence, not what torch raises inside."""
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(ItemError, match="cannot be moved to the device 'cuda': "):
        load_sae(SAMPLES / "sae_lens" / "standard" / "sae", device="cuda", adapters=BUILT_IN)


@pytest.mark.parametrize(
    ("place", "hint"),
    [
        ("{here}/saez", "Did you mean 'sae'?"),
        ("{here}/sae#x", "The index after # must be a number, such as {here}/sae#0."),
        ("{here}/sae#-1", "The index after # must be a number, such as {here}/sae#0."),
        ("nobody/such-repository", "write hf:nobody/such-repository."),
        ("{here}/quite-another", "there is no such file or folder."),
    ],
)
def test_a_path_to_nothing_says_what_may_have_been_meant(place, hint):
    """Only names that are really near are suggested; a hub repository and a bad index are told."""
    here = SAMPLES / "sae_lens" / "standard"
    with pytest.raises(SAEFileError) as caught:
        load_sae(place.format(here=here))
    assert str(caught.value).endswith(hint.format(here=here))


def test_every_sae_has_a_short_name_of_itself():
    """An SAE without a repr of its own shows kind, sizes and hook point."""
    sae = load_sae(SAMPLES / "sae_lens" / "temporal" / "sae", adapters=BUILT_IN)
    assert repr(sae) == "<TemporalSAE temporal, 8 -> 24, blocks.7.hook_resid_post>"


@pytest.mark.parametrize(
    "name", ["sae_lens/temporal", "llamascopium/jumprelu_glu", "sae_lens/matching_pursuit"]
)
def test_the_formula_of_a_special_sae_begins_with_its_input(name):
    """What x' is, and how x̂ is made, is said of SAEs outside the canonical form too."""
    semantics = inspect_reference(SAMPLES / name / "sae").semantics
    assert semantics.startswith("x' = x")
    assert "; x̂ = " in semantics
    assert "4 d" not in semantics
