"""SAELens's list of SAEs as references."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import sys

import pytest

from darkmatter.errors import ItemError, UsageError
from darkmatter.plugins import host
from darkmatter.references import parse_reference
from darkmatter.testing import check_catalogue
from darkmatter_plugins.catalogues import registry as lists
from darkmatter_plugins.catalogues import saelens
from darkmatter_plugins.catalogues.registry import SNAPSHOT, compressed, pack, registry
from darkmatter_plugins.catalogues.saelens import ADAPTERS, by_neuronpedia, by_release, entry_of

LIST = {
    "r": {
        "repo_id": "org/repo",
        "model": "m",
        "conversion_func": None,
        "links": {"page": "x"},
        "saes": [{"id": "a", "path": "a"}, {"id": "b", "path": 0, "l0": 3, "neuronpedia": "m/0-x"}],
    }
}


@pytest.fixture(autouse=True)
def only_the_copy(monkeypatch):
    """What this machine has besides the copy does not matter."""
    monkeypatch.delenv(lists.VARIABLE, raising=False)
    monkeypatch.setattr(lists, "_installed", lambda: None)


@pytest.mark.parametrize("name", ["saelens", "neuronpedia"])
def test_both_catalogues_conform(name):
    """They keep the rules of darkmatter.testing, cheap imports among them."""
    assert check_catalogue(name) == ()


def test_the_copy_is_whole_and_small():
    """170 releases with 13,857 SAEs of sae-lens 6.54.12, in less than 300 kB, as the script packs it."""
    content = SNAPSHOT.read_bytes()
    found = registry()

    assert (found.version, len(found.releases)) == ("sae-lens 6.54.12", 170)
    assert sum(1 for _ in found.everything()) == 13857
    assert len(content) < 300_000
    assert gzip.decompress(compressed(found.version, found.releases)) == gzip.decompress(content)
    assert content[4:8] == bytes(4)  # no time of writing


def test_every_loader_has_an_adapter():
    """No SAE of the list is left to chance: the adapter for each of SAELens's loaders is named."""
    assert {one.loader for one in registry().everything()} - set(ADAPTERS) == set()
    assert set(ADAPTERS.values()) <= set(host().adapters())


def test_a_layer_of_a_cross_layer_transcoder_is_its_encoders_file():
    """The list gives a number, SAELens's loader makes a file name of it."""
    entry = by_release("mntss-gemma-2-2b-2.5m-clt-as-per-layer/layer_3")
    assert entry.reference == "hf:mntss/clt-gemma-2-2b-2.5M/W_enc_3.safetensors"


def test_every_entry_is_a_reference_or_a_reason():
    """All SAEs of the list parse as hf: references, but for those of which it says why not."""
    refused, known = {}, registry()
    for one in known.everything():
        try:
            entry = entry_of(one, f"saelens:{one.release}/{one.id}", known)
        except ItemError as error:
            refused.setdefault(one.release, str(error))
        else:
            assert parse_reference(entry.reference).kind == "hf"

    assert sorted(refused) == ["mistral-7b-res-wg"]
    assert "normalize_activations = 'constant_norm_rescale'" in refused["mistral-7b-res-wg"]


@pytest.mark.parametrize(
    ("resolve", "target"),
    [(by_release, "gpt2-small-res-jb/blocks.0.hook_resid_pre"), (by_neuronpedia, "gpt2-small/0-res-jb")],
)
def test_a_name_is_looked_up_in_one_list(resolve, target, monkeypatch):
    """One entry comes from one reading of the list: finding it may take a while, and it may change."""
    asked = []
    monkeypatch.setattr(saelens, "registry", lambda: asked.append(1) or registry())
    resolve(target)

    assert len(asked) == 1


def test_what_the_files_do_not_say_becomes_overrides_and_notes():
    """The norm factor, the model's settings and statements on model and hook point are carried over."""
    scaled = by_release("gpt2-small-mlp-tm/blocks.0.hook_mlp_out")
    assert scaled.overrides.given() == {"norm_factor": 1.049317316132615, "processing": "compat"}
    assert scaled.extra["model_from_pretrained_kwargs"] == {"center_writing_weights": True}
    assert "center_writing_weights=True" in scaled.notes[0]
    temporal = by_release("temporal-sae-gemma-2-2b/blocks.12.hook_resid_post")
    stated = temporal.overrides.without("norm_factor").given()
    assert stated == {"hook": "blocks.12.hook_resid_post", "model": "gemma-2-2b"}


def test_neuronpedias_name_leads_to_the_same_entry():
    """One SAE under two names is one reference with one meaning."""
    assert by_neuronpedia("gpt2-small/0-res-jb") == by_release("gpt2-small-res-jb/blocks.0.hook_resid_pre")


@pytest.mark.parametrize(
    ("resolve", "target", "message"),
    [
        (
            by_release,
            "gpt2-small-res-jc/x",
            "no release 'gpt2-small-res-jc'. Did you mean 'gpt2-small-res-jb'",
        ),
        (by_release, "gpt2-small-res-jb/blocks.8.hook_resid", "Did you mean 'blocks.8.hook_resid_pre'"),
        (
            by_release,
            "gemma-scope-2b-pt-res/layer_7/width_16k/average_l0_1",
            "Did you mean 'layer_7/width_16k",
        ),
        (by_neuronpedia, "gpt2-small/0-res-jc", "Did you mean '0-res-jb'"),
        (by_neuronpedia, "gpt2-smal/0-res-jb", "Did you mean 'gpt2-small'"),
    ],
)
def test_unknown_names_show_the_nearest(resolve, target, message):
    """A misspelt release, id, model or source is an item failure that shows what is there."""
    with pytest.raises(ItemError, match=message):
        resolve(target)


def test_a_list_in_saelens_form_is_packed():
    """Numbers become paths, links are left out, a path that equals the id is not kept twice."""
    assert pack(LIST) == {
        "r": {
            "repo": "org/repo",
            "model": "m",
            "loader": "sae_lens",
            "overrides": {},
            "saes": [["a"], ["b", "0", 3, None, None, "m/0-x"]],
        }
    }


def test_an_installed_newer_saelens_is_used_without_importing_it(tmp_path, monkeypatch):
    """The newer list wins; the package that holds it would fail if it were imported."""
    package = tmp_path / "sae_lens"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / lists.FILE).write_text(json.dumps(LIST))
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "99.0.0")

    assert registry().version == "sae-lens 99.0.0"
    assert by_release("r/a").reference == "hf:org/repo/a"
    assert "sae_lens" not in sys.modules
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "6.51.1")
    assert registry().version == "sae-lens 6.54.12"


def test_a_list_named_by_the_environment_comes_first(tmp_path, monkeypatch):
    """DARKMATTER_SAELENS_REGISTRY names a list; one that is none is an error that names it."""
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(LIST))
    monkeypatch.setenv(lists.VARIABLE, str(path))
    assert by_release("r/b").extra["version"].startswith("mine.yaml with SHA-256 ")
    path.write_text("[1, 2]")
    with pytest.raises(ItemError, match=r"mine\.yaml"):
        by_release("r/b")


def test_a_loader_that_is_not_known_yet_is_refused(monkeypatch):
    """A newer list may name a loader of which nothing is known here."""
    newer = {"r": {**LIST["r"], "conversion_func": "brand_new"}}
    monkeypatch.setattr(
        "darkmatter_plugins.catalogues.saelens.registry", lambda: lists.Registry("x", pack(newer))
    )
    with pytest.raises(ItemError, match="brand_new"):
        by_release("r/a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("saelens:gpt2-small-res-j", "expected saelens:RELEASE/ID. There is no release .*gpt2-small-res-jb'"),
        ("saelens:gpt2-small-res-jb", "Name an SAE of 'gpt2-small-res-jb'. Known: blocks.0.hook_resid_pre, "),
    ],
)
def test_half_a_reference_is_answered_with_what_may_follow(text, message):
    """A release alone lists its SAEs, and a misspelt one names the nearest releases."""
    with pytest.raises(UsageError, match=message):
        parse_reference(text)
