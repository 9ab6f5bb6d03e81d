"""Which files of a repository an SAE needs."""

from __future__ import annotations

import pytest

from darkmatter.errors import ItemError
from darkmatter.fetching.select import RemoteFile, choose_files, is_safe


def chosen(names, inside):
    files = [RemoteFile(name, 10) if isinstance(name, str) else name for name in names]
    return [file.path for file in choose_files(files, inside, "org/repo")]


def test_checkpoints_of_a_finished_run_stay_where_they_are():
    """dictionary_learning keeps its steps in a folder beside ae.pt; alone they are the SAE."""
    steps = ["t/checkpoints/ae_0.pt", "t/checkpoints/ae_9.pt", "t/config.json"]
    assert chosen([*steps, "t/ae.pt"], "t") == ["t/ae.pt", "t/config.json"]
    assert chosen(steps, "t") == sorted(steps)


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
    assert chosen(["a/x.npz", *big, huge], "a") == ["a/big.json", "a/x.npz"]


@pytest.mark.parametrize(
    "name", ["", "/a", "a//b", "../a", "a/..", "./a", "a\\b", "a\x00b", "a\nb", "a\u202eb", "a" * 1001]
)
def test_names_that_are_no_relative_printable_paths_are_unsafe(name):
    """Nothing from the hub can leave the snapshot or steer a terminal."""
    assert not is_safe(name)
    assert is_safe("layer_5/width_16k/x:v1.pt")
