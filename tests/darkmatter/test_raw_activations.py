"""Activations from tensors and from files, the same numbers either way."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from darkmatter.activations import ActivationStore
from darkmatter.errors import UsageError
from darkmatter.raw_activations import open_activations_file, tensor_activations

X = torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(0))


def everything():
    """One tensor of each name."""
    return {
        "x": X,
        "tokens": torch.arange(35, dtype=torch.int32).view(7, 5),
        "loss": X[..., 0].abs(),
        "labels": torch.arange(7) % 2,
        "mask": torch.arange(35).view(7, 5) % 3 > 0,
        "y": X[..., :2].double(),
    }


def test_file_and_memory_are_the_same_store(tmp_path):
    """All numbers, shapes and the key agree; labels per context reach every position."""
    path = tmp_path / "a.safetensors"
    save_file(everything(), path)
    for store in (open_activations_file(path), tensor_activations(**everything())):
        assert isinstance(store, ActivationStore)
        assert (store.n_contexts, store.n_positions, store.hooks) == (7, 5, ("activations", "y"))
        assert (store.dim("activations"), store.dim("y")) == (3, 2)
        assert torch.equal(store.read("activations", 2, 6), X[2:6])
        assert store.read("y", 0, 1).dtype == torch.float32
        assert torch.equal(store.tokens(), everything()["tokens"].long())
        assert torch.equal(store.mask(), everything()["mask"])
        assert store.labels()[:, 3].tolist() == [0, 1, 0, 1, 0, 1, 0]
        assert store.loss().shape == (7, 5)
        assert (store.default_skip_first, store.default_skip_last, store.shuffled) == (0, 0, False)
    assert open_activations_file(path).key == tensor_activations(**everything()).key


def test_flat_rows_are_contexts_of_one_position():
    """[n, d] input makes every row its own context."""
    x = X.flatten(0, 1)
    store = tensor_activations(x, labels=list(range(35)))
    assert (store.n_contexts, store.n_positions, store.independent_rows) == (35, 1, True)
    assert torch.equal(store.read("activations", 3, 9), x[3:9, None])
    assert store.labels().shape == (35, 1)


def test_reading_float32_copies_nothing():
    """A float32 tensor in memory is read as a view."""
    store = tensor_activations(X)
    assert store.read("activations", 1, 2).data_ptr() == X[1:2].data_ptr()


@pytest.mark.parametrize("change", ["x", "tokens", "loss", "labels", "mask", "y"])
def test_any_number_changes_the_key(change):
    """One other number in any tensor is another key, and so is one tensor less."""
    arrays = everything()
    changed = arrays[change].clone().flatten()
    changed[-1] = ~changed[-1] if change == "mask" else changed[-1] + 1
    keys = {tensor_activations(**arrays).key}
    keys.add(tensor_activations(**(arrays | {change: changed.view(arrays[change].shape)})).key)
    if change != "x":
        keys.add(tensor_activations(**{k: v for k, v in arrays.items() if k != change}).key)
    assert len(keys) == (2 if change == "x" else 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read_as_float32(tmp_path, dtype):
    """Whatever float type is stored, float32 is read."""
    save_file({"x": X.to(dtype)}, tmp_path / "a.safetensors")
    assert torch.equal(
        open_activations_file(tmp_path / "a.safetensors").read("activations", 0, 7), X.to(dtype).float()
    )


def test_read_only_arrays_are_taken_without_a_warning():
    """A numpy array that may not be written to is as good as any."""
    x = X.numpy().copy()
    x.flags.writeable = False
    assert np.array_equal(tensor_activations(x).read("activations", 0, 7).numpy(), x)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"acts": X}, "unknown tensor 'acts'"),
        ({"tokens": torch.zeros(2, 3, dtype=torch.int64)}, "no tensor 'x'"),
        ({"x": X, "token": X}, "unknown tensor 'token'"),
        ({"x": X[0, 0]}, r"shape \[3\]"),
        ({"x": X[:0]}, "not empty"),
        ({"x": X.long()}, "'x' has dtype int64"),
        ({"x": X, "tokens": X[..., 0]}, "'tokens' has dtype float32"),
        ({"x": X, "loss": torch.zeros(7, 4)}, r"'loss' has shape \[7, 4\]"),
        ({"x": X, "y": torch.zeros(7, 2)}, r"'y' has shape \[7, 2\]"),
        ({"x": X, "y": torch.zeros(7, 5, 0)}, "'y' is empty"),
    ],
)
def test_wrong_tensors_are_one_paragraph(tmp_path, arrays, message):
    """Names, shapes and dtypes are checked before anything is computed, with what was expected."""
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in arrays.items()}, tmp_path / "a.safetensors"
    )
    with pytest.raises(UsageError, match=message) as error:
        open_activations_file(tmp_path / "a.safetensors")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.safetensors", None, "There is no activations file"),
        ("a.pt", b"x", "save_file"),
        ("a.safetensors", b"", "not a safetensors file"),
        ("a.safetensors", b"\xff" * 40, "not a safetensors file"),
        ("a.safetensors", (2).to_bytes(8, "little") + b"[]", "expected a JSON object"),
        ("a.safetensors", (9).to_bytes(8, "little") + b'{"x": 1} ' + b"0" * 8, "expected dtype, shape"),
    ],
)
def test_files_that_are_no_tensors_are_refused(tmp_path, name, content, message):
    """A file that is missing, of another kind or damaged is named with what is wrong."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        open_activations_file(tmp_path / name)


HEADERS = [
    '{"x":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,16]}}',
    '{"x":{"dtype":"F32","shape":[2,2],"data_offsets":[0,64]}}',
    '{"x":{"dtype":"F32","shape":[-2,-2],"data_offsets":[0,16]}}',
    '{"x":{"dtype":"F99","shape":[2,2],"data_offsets":[0,16]}}',
    '{"x":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}',
]


@pytest.mark.parametrize("header", HEADERS)
def test_lying_headers_are_refused(tmp_path, header):
    """Declared sizes must fill the file exactly; nothing is allocated for a lie."""
    data = header.encode()
    (tmp_path / "a.safetensors").write_bytes(len(data).to_bytes(8, "little") + data + b"\0" * 16)
    with pytest.raises(UsageError, match=r"a\.safetensors"):
        open_activations_file(tmp_path / "a.safetensors")


def test_unaligned_tensors_are_read(tmp_path):
    """A header of odd length, which some writers make, costs a copy and nothing else."""
    data = b'{"x":{"dtype":"F32","shape":[1,3],"data_offsets":[0,12]}} '
    assert (8 + len(data)) % 4
    (tmp_path / "a.safetensors").write_bytes(
        len(data).to_bytes(8, "little") + data + X[0, :1].numpy().tobytes()
    )
    assert torch.equal(
        open_activations_file(tmp_path / "a.safetensors").read("activations", 0, 1)[0], X[0, :1]
    )


MEASURE = """
import sys
import torch
from pathlib import Path
from darkmatter.raw_activations import open_activations_file
def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon"))
before = anonymous()
store = open_activations_file(Path(sys.argv[1]))
for shard in store.shards():
    store.read("activations", shard.start, shard.stop).sum()
print(anonymous() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_reading_a_file_takes_little_memory(tmp_path):
    """Opening, hashing and reading 64 MB costs less than a quarter of it."""
    save_file({"x": torch.zeros(65536, 256)}, tmp_path / "a.safetensors")
    path = tmp_path / "a.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 16 * 1024


def test_a_folder_in_place_of_a_file_is_named_as_one(tmp_path):
    """A folder is called one, and what is suggested is a file in it, never the folder's own name."""
    folder = tmp_path / "sd"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"sd is a folder.*Expected x"):
        open_activations_file(folder)
    (folder / "acts.safetensors").touch()
    with pytest.raises(UsageError, match=r"sd is a folder.*Did you mean 'acts\.safetensors'\?"):
        open_activations_file(folder)


def test_only_files_are_suggested(tmp_path):
    """A missing file's neighbours are suggested where they are files."""
    (tmp_path / "acts1").mkdir()
    (tmp_path / "acts2").touch()
    with pytest.raises(UsageError, match=r"Did you mean 'acts2'\?"):
        open_activations_file(tmp_path / "acts")
