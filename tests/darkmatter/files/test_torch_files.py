"""Reading what torch.save writes, without torch.load."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from darkmatter.errors import SAEFileError, UnsafeFileError
from darkmatter.files.stubs import Stub
from darkmatter.files.torch_files import SavedTensor, read_torch
from darkmatter.files.view import FileView

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]
LAYOUTS = [True, False]


def loaded(thing, path, new):
    """Save with torch, read with ours."""
    torch.save(thing, path, _use_new_zipfile_serialization=new)
    return FileView(path.parent).tensors(path.name)


@pytest.mark.parametrize("new", LAYOUTS, ids=["zip", "legacy"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_comes_back(tmp_path, dtype, new):
    """Values and dtype of a saved tensor are those that were saved, in both layouts."""
    x = torch.arange(6).reshape(2, 3).to(dtype)
    back = loaded({"x": x}, tmp_path / "x.pt", new)["x"]
    assert back.dtype == dtype
    assert torch.equal(back, x)


@pytest.mark.parametrize("new", LAYOUTS, ids=["zip", "legacy"])
def test_views_scalars_and_empty_tensors(tmp_path, new):
    """Transposes, slices, shared storages, scalars and empty tensors come back as they were."""
    base = torch.randn(4, 6)
    things = {"t": base.T, "s": base[1:3, ::2], "z": torch.tensor(3.0), "e": torch.empty(0, 3), "b": base}
    back = loaded(things, tmp_path / "x.pt", new)
    assert all(torch.equal(back[name], thing) for name, thing in things.items())


@pytest.mark.parametrize("new", LAYOUTS, ids=["zip", "legacy"])
def test_a_module_state_and_its_parameters(tmp_path, new):
    """A state dict, parameters and their metadata are read."""
    layer = nn.Linear(3, 2)
    back = loaded(layer.state_dict(), tmp_path / "x.pt", new)
    assert torch.equal(back["weight"], layer.weight)
    back = loaded(OrderedDict(p=nn.Parameter(torch.ones(2))), tmp_path / "y.pt", new)
    assert torch.equal(back["p"], torch.ones(2))


def test_plain_values_stay_beside_the_tensors(tmp_path):
    """Containers and numbers around the tensors are plain Python objects."""
    state = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(state.parameters()).state_dict()
    thing = {
        "ae": state.state_dict(),
        "optimizer": optimizer,
        "step": 3,
        "f": 0.5,
        "l": [1, (2, None)],
        "s": {4},
    }
    torch.save({**thing, "size": torch.Size([2, 3]), "dtype": torch.float32}, tmp_path / "x.pt")
    back = read_torch(tmp_path / "x.pt")
    assert (back["step"], back["f"], back["l"], back["s"]) == (3, 0.5, [1, (2, None)], {4})
    assert (back["size"], back["dtype"]) == ((2, 3), "torch.float32")
    assert isinstance(back["ae"]["weight"], SavedTensor)
    assert back["optimizer"]["param_groups"][0]["params"] == [0, 1]


def test_the_nearest_dictionary_with_the_marker_is_taken(tmp_path):
    """A checkpoint keeps the weights one level down; a marker finds them."""
    torch.save({"ae": {"W_enc": torch.ones(2)}, "step": 1}, tmp_path / "x.pt")
    assert list(FileView(tmp_path).tensors("x.pt", "W_enc")) == ["W_enc"]


def test_objects_of_named_classes_become_stubs(tmp_path, monkeypatch):
    """An object of an old library is its name and state where the reader of its format names the class."""
    import sys
    import types

    module = types.ModuleType("autoencoders.learned_dict")

    class TiedSAE:
        def __init__(self):
            self.encoder, self.n = torch.ones(2, 3), 7

    TiedSAE.__module__, TiedSAE.__qualname__ = module.__name__, "TiedSAE"
    module.TiedSAE = TiedSAE
    monkeypatch.setitem(sys.modules, "autoencoders", types.ModuleType("autoencoders"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save([(TiedSAE(), {"l1_alpha": 0.1})], tmp_path / "x.pt")
    monkeypatch.undo()
    with pytest.raises(UnsafeFileError, match=r"autoencoders\.learned_dict\.TiedSAE"):
        read_torch(tmp_path / "x.pt")  # the core itself knows the classes of no format
    ((stub, settings),) = read_torch(tmp_path / "x.pt", ("autoencoders.*",))
    assert isinstance(stub, Stub)
    assert (stub.name, stub.state["n"], settings) == (
        "autoencoders.learned_dict.TiedSAE",
        7,
        {"l1_alpha": 0.1},
    )
    assert torch.equal(stub.state["encoder"].load(), torch.ones(2, 3))


def test_an_adapters_own_stubs_are_known_only_where_named(tmp_path, monkeypatch):
    """A format's class names are accepted when its adapter gives them, and refused otherwise."""
    stream = b"\x80\x02cmy_lab.sae\nConfig\n)\x81}X\x01\x00\x00\x00kK\x07sb."
    import io

    from darkmatter.files.pickles import Machine

    assert Machine("x", stubs=("my_lab.*",)).read(io.BytesIO(stream)).state == {"k": 7}
    with pytest.raises(SAEFileError, match=r"my_lab\.sae\.Config"):
        Machine("x").read(io.BytesIO(stream))


def test_the_shapes_of_a_pt_file_are_known_without_its_numbers(tmp_path):
    """``saved_header`` follows the pickle and reads no storage."""
    torch.save({"ae": {"W": torch.zeros(2, 3)}, "b": torch.zeros(4, dtype=torch.bfloat16)}, tmp_path / "x.pt")
    header = FileView(tmp_path).saved_header("x.pt")
    assert {name: str(info) for name, info in header.items()} == {"b": "bfloat16[4]", "ae.W": "float32[2, 3]"}


def test_a_list_is_not_a_dictionary_of_tensors(tmp_path):
    """Asking a file without a dictionary for its tensors says what it holds instead."""
    torch.save([torch.zeros(1)], tmp_path / "x.pt")
    with pytest.raises(SAEFileError, match="holds a list"):
        FileView(tmp_path).tensors("x.pt")


@pytest.mark.parametrize("new", LAYOUTS, ids=["zip", "legacy"])
def test_a_storage_is_read_once_and_not_kept_by_small_views(tmp_path, new, monkeypatch):
    """A storage's bytes are fetched once for all its views, and a view holds its own numbers alone."""
    base = torch.arange(1000.0)
    torch.save(
        {f"v{i}": base[i : i + 1] for i in range(50)}, tmp_path / "x.pt", _use_new_zipfile_serialization=new
    )
    made, frombuffer = [], torch.frombuffer
    monkeypatch.setattr(torch, "frombuffer", lambda *what, **how: made.append(1) or frombuffer(*what, **how))
    back = FileView(tmp_path).tensors("x.pt")
    assert len(made) == 1
    assert [back[f"v{i}"].item() for i in range(50)] == list(range(50))
    assert all(tensor.untyped_storage().nbytes() == 4 for tensor in back.values())


def test_two_names_of_one_tensor_share_no_memory(tmp_path):
    """Tied weights come back as two tensors: changing one leaves the other."""
    x = torch.ones(3)
    torch.save({"a": x, "b": x, "c": x[:2]}, tmp_path / "x.pt")
    back = FileView(tmp_path).tensors("x.pt")
    assert list(back) == ["a", "b", "c"]
    back["a"].zero_()
    assert (back["b"].sum(), back["c"].sum()) == (3, 2)
