"""Tensor files that the safetensors library reads too, and rows without reading the file."""

import pytest
import torch
from safetensors.torch import load_file

from darkmatter.files.atomic import file_hash
from darkmatter.files.tensors import (
    TensorFileError,
    encode_tensors,
    hash_pieces,
    map_tensors,
    write_pieces,
)

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.bool]


def test_what_is_written_is_read_here_and_by_safetensors(tmp_path):
    """Every dtype and shape, an empty one included, comes back the same from both readers."""
    tensors = {str(dtype): (torch.arange(24) % 5).to(dtype).view(4, 3, 2) for dtype in DTYPES}
    tensors["empty"] = torch.empty(0, 3)
    tensors["turned"] = torch.arange(6.0).view(2, 3).T
    path = tmp_path / "a.safetensors"
    pieces = encode_tensors(tensors)
    write_pieces(path, pieces)
    assert hash_pieces(pieces) == file_hash(path)
    mapped, library = map_tensors(path), load_file(path)
    assert set(mapped) == set(library) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(library[name], tensor)
        assert torch.equal(mapped[name].all(), tensor)
        assert torch.equal(mapped[name].rows(1, 2), tensor[1:2]) or name == "empty"


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_views_of_the_file(tmp_path, dtype):
    """Two readings of the same rows share their memory; writing to them leaves the file alone."""
    path = tmp_path / "a.safetensors"
    write_pieces(path, encode_tensors({"x": torch.ones(4, 2, dtype=dtype)}))
    tensor = map_tensors(path)["x"]
    rows = tensor.rows(1, 3)
    assert rows.data_ptr() == tensor.rows(1, 2).data_ptr()
    rows.zero_()
    assert torch.equal(load_file(path)["x"], torch.ones(4, 2, dtype=dtype))


X = b'"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{" + X + b"," + X.replace(b'"x"', b'"y"') + b"}", "overlaps"),
        (b"{" + X + b"," + X.replace(b"0,8", b"8,16") + b"}", "occurs twice"),
        (b"{" + X + b"," + X + b"}", "occurs twice"),
    ],
)
def test_mapping_checks_headers_as_strictly_as_loading(tmp_path, header, message):
    """Tensors that overlap, and names that occur twice, are refused here as they are for weights."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    with pytest.raises(TensorFileError, match=message):
        map_tensors(path)
