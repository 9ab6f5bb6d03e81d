"""Which files of a repository an SAE needs."""

from __future__ import annotations

import pytest

from darkmatter.errors import ItemError
from darkmatter.fetching.select import Known, RemoteFile, choose_files, is_safe
from darkmatter.plugins import host


def chosen(names, inside):
    files = [RemoteFile(name, 10) if isinstance(name, str) else name for name in names]
    known = Known.of(host().adapters().values())
    return [file.path for file in choose_files(files, inside, "org/repo", known).files]


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_checkpoints_of_a_finished_run_stay_where_they_are(suffix):
    """A run's steps lie in a folder beside its result; they are offered where there is none, or by name."""
    steps = [f"r/t/checkpoints/ae_{step}.{suffix}" for step in (0, 9)]
    config, result = "r/t/config.json", f"r/t/ae.{suffix}"
    with pytest.raises(ItemError, match=r"1 folder below it holds weights\. Name one: hf:org/repo/r/t\.$"):
        chosen([*steps, config, result], "r")
    with pytest.raises(ItemError, match=r"Name one: hf:org/repo/r/t/checkpoints\.$"):
        chosen([*steps, config], "r/t")
    assert chosen([*steps, config, result], "r/t") == [result, config]
    assert chosen([*steps, config, result], "r/t/checkpoints") == [*steps, config]


def test_the_core_knows_checkpoints_from_the_adapters_alone():
    """Whoever's format it is: a plugin says where its runs keep their steps."""
    files = [RemoteFile(f"r/{name}", 10) for name in ("final.pt", "steps/1.pt", "checkpoints/ae_1.pt")]
    ours = choose_files(files, "r", "org/repo", Known(("*.pt",), checkpoints=("steps/*.pt",)))
    assert [file.path for file in ours.left_out] == ["r/steps/1.pt"]


@pytest.mark.parametrize(
    ("names", "inside", "companion"),
    [
        (["run/_5/learned_dicts.pt", "run/_5/config.yaml"], "run/_5", "run/means.pt"),
        (["run/_5/learned_dicts.pt", "run/_5/config.yaml"], "run/_5/learned_dicts.pt", "run/means.pt"),
        (["a/sae_weights.safetensors", "a/cfg.json"], "a", "a/activation_whitening.safetensors"),
        (["a/sae_weights.safetensors", "a/cfg.json"], "a/sae_weights.safetensors",
         "a/activation_whitening.safetensors"),
    ],
)  # fmt: skip
def test_what_a_format_needs_beside_or_above_its_weights_comes_along(names, inside, companion):
    """Without its means or its whitening an SAE would load and give other codes."""
    neighbours = [
        "run/_9/learned_dicts.pt",
        "b/sae_weights.safetensors",
        "b/activation_whitening.safetensors",
    ]
    assert chosen([*names, companion, *neighbours], inside) == sorted([*names, companion])


def test_a_companion_makes_no_folder_an_sae():
    """The mean of a run lies in its folder; the SAEs are those of its steps."""
    with pytest.raises(ItemError, match="Name one: hf:org/repo/run/_5, hf:org/repo/run/_9"):
        chosen(["run/means.pt", "run/_5/learned_dicts.pt", "run/_9/learned_dicts.pt"], "run")


def test_an_saes_folder_brings_nothing_from_those_below():
    """Other SAEs lie there, each with a name of its own."""
    own = ["a/cfg.json", "a/sae_weights.safetensors"]
    assert chosen([*own, "a/b/cfg.json", "a/b/sae_weights.safetensors"], "a") == own


def test_a_language_model_above_its_saes_is_not_fetched():
    """No adapter reads a file of that name: the folders with SAEs are named instead."""
    names = ["config.json", "model.safetensors", "sae/a/sae.safetensors", "sae/a/cfg.json"]
    with pytest.raises(ItemError, match=r"is no SAE itself; .* Name one: hf:org/repo/sae/a\.$"):
        chosen(names, "")
    with pytest.raises(ItemError, match=r"under a name that an adapter reads; there are model\.safetensors"):
        chosen(names[:2], "")


def test_parts_of_the_training_are_told_by_whole_words_and_named():
    """An SAE may be called optimal; what is left out is said, so that nobody misses it."""
    assert chosen(["a/optimal_k.pt", "a/optimizer.pt", "a/lr_scheduler.pt"], "a") == ["a/optimal_k.pt"]
    assert chosen(["a/optimizer.pt"], "a/optimizer.pt") == ["a/optimizer.pt"]
    with pytest.raises(
        ItemError, match=r"parts of the training: a/activations_store_state\.safetensors; name"
    ):
        chosen(["a/activations_store_state.safetensors"], "a")


def test_weights_one_folder_down_belong_to_a_folder_with_a_configuration():
    """Llama Scope keeps hyperparams.json above checkpoints/final.safetensors."""
    names = ["L0/hyperparams.json", "L0/checkpoints/final.safetensors", "L1/checkpoints/final.safetensors"]
    assert chosen(names, "L0") == sorted(names[:2])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/x.pt", "b/x.pt"], "2 folders below it hold weights. Name one: hf:org/repo/a, hf:org/repo/b."),
        ([f"a{n}/x.pt" for n in range(20)], "hf:org/repo/a0, .* and 12 more"),
        (["README.md"], "Nothing else in it holds weights"),
    ],
)
def test_a_repository_of_many_saes_names_some(names, message):
    """The root of a repository is refused with the first folders that hold weights."""
    with pytest.raises(ItemError, match=message):
        chosen(names, "")


def test_a_folder_named_like_a_prefix_is_another_folder():
    """layer_1 is not layer_10."""
    assert chosen(["layer_1/x.pt", "layer_10/x.pt"], "layer_1") == ["layer_1/x.pt"]


def test_configurations_that_no_reader_would_read_are_left_out():
    """In the folder up to the size that readers accept, above it only small ones."""
    big = [RemoteFile("a/big.json", 2_000_000), RemoteFile("big.json", 2_000_000)]
    huge = RemoteFile("a/huge.json", 100_000_000)
    assert chosen(["a/params.npz", *big, huge], "a") == ["a/big.json", "a/params.npz"]


@pytest.mark.parametrize(
    "name", ["", "/a", "a//b", "../a", "a/..", "./a", "a\\b", "a\x00b", "a\nb", "a\u202eb", "a" * 1001]
)
def test_names_that_are_no_relative_printable_paths_are_unsafe(name):
    """Nothing from the hub can leave the snapshot or steer a terminal."""
    assert not is_safe(name)
    assert is_safe("layer_5/width_16k/x:v1.pt")
