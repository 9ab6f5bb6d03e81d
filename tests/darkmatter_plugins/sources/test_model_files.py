"""From a model's name to its files, and to a sentence where there are none."""

import shutil

import huggingface_hub
import pytest

from darkmatter.cache.spec import ModelSpec
from darkmatter.errors import UsageError
from darkmatter_plugins.sources.model_files import find_model
from darkmatter_plugins.sources.transformer_lens import TransformerLensProvider


def test_fingerprint_follows_the_bytes_and_not_the_place(models, tmp_path):
    """A copy is the same model; one other weight, or another tokenizer, is not."""
    copy = tmp_path / "copy"
    shutil.copytree(models("gpt2"), copy)
    original, copied = (find_model(ModelSpec(name=str(folder))) for folder in (models("gpt2"), copy))
    assert original.fingerprint() == copied.fingerprint()
    assert original.tokenizer_fingerprint() == copied.tokenizer_fingerprint()
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert original.fingerprint() != copied.fingerprint()
    assert original.tokenizer_fingerprint() == copied.tokenizer_fingerprint()
    with (copy / "tokenizer.json").open("a") as handle:
        handle.write(" ")
    assert original.tokenizer_fingerprint() != copied.tokenizer_fingerprint()


def test_missing_folder_names_the_nearest(models, tmp_path):
    """A misspelt folder is answered with its nearest sibling, not with the Hub's grammar."""
    (tmp_path / "my_model").mkdir()
    (tmp_path / "my_model" / "config.json").write_text("{}")
    (tmp_path / "my_models").mkdir()  # holds none itself
    with pytest.raises(UsageError, match=r"Did you mean 'my_model'\?$"):
        find_model(ModelSpec(name=str(tmp_path / "my_modle")))
    with pytest.raises(UsageError, match="does not exist either"):
        find_model(ModelSpec(name=str(tmp_path / "no" / "such" / "model")))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no config.json"),
        (["config.json"], r"no \*\.safetensors"),
        (["config.json", "pytorch_model.bin"], "may run code"),
    ],
)
def test_folders_without_safe_weights_are_refused(tmp_path, files, message):
    """A folder without configuration, or with pickled weights alone, is refused by name."""
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match=message):
        find_model(ModelSpec(name=str(tmp_path)))


def test_file_or_revision_where_a_folder_is_expected(models):
    """A file is no model, and a folder has no revision."""
    with pytest.raises(UsageError, match="is a file"):
        find_model(ModelSpec(name=str(models("gpt2") / "config.json")))
    with pytest.raises(UsageError, match="no revision"):
        find_model(ModelSpec(name=str(models("gpt2")), revision="main"))


def test_hub_model_is_known_by_its_commit(models, tmp_path, monkeypatch):
    """Name and revision reach the Hub's client, only safe files are asked for, the commit is the key."""
    folder = tmp_path / "0123abcd"
    shutil.copytree(models("gpt2"), folder)
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    spec = ModelSpec(name="org/model", revision="v1", device="cpu")
    identity = TransformerLensProvider().identify(spec)
    assert (identity.fingerprint, identity.tokenizer) == ("0123abcd", "0123abcd")
    assert (asked["name"], asked["revision"]) == ("org/model", "v1")
    assert not any(pattern.endswith((".bin", ".pt", ".py")) for pattern in asked["allow_patterns"])
    assert TransformerLensProvider().load(spec).n_vocab == 19


def test_hub_model_that_cannot_be_had_says_what_to_do(tmp_path, monkeypatch):
    """Offline, the error names both readings of the name and the way out."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"There is no model folder org/none.*offline, download the model"):
        find_model(ModelSpec(name="org/none"))


def test_damaged_weights_and_foreign_models_are_one_paragraph(models, tmp_path):
    """What transformers raises is turned into one sentence that names the folder."""
    folder = tmp_path / "damaged"
    shutil.copytree(models("gpt2"), folder)
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UsageError, match="cannot be loaded as a causal language model") as error:
        TransformerLensProvider().load(ModelSpec(name=str(folder), device="cpu"))
    assert "\n" not in str(error.value)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UsageError, match="tokenizer cannot be loaded"):
        TransformerLensProvider().load_tokenizer(ModelSpec(name=str(folder)))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match="has no tokenizer"):
        TransformerLensProvider().load_tokenizer(ModelSpec(name=str(folder)))


def test_remote_code_is_never_run(models, tmp_path):
    """A configuration that names its own code is refused, and the code does not run."""
    folder = tmp_path / "remote"
    shutil.copytree(models("gpt2"), folder)
    canary = tmp_path / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w')\n")
    config = (folder / "config.json").read_text().replace('"model_type": "gpt2"', '"model_type": "evil"')
    code = '{"auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"},'
    (folder / "config.json").write_text(config.replace("{", code, 1))
    with pytest.raises(UsageError, match="cannot be loaded"):
        TransformerLensProvider().load(ModelSpec(name=str(folder), device="cpu"))
    assert not canary.exists()
