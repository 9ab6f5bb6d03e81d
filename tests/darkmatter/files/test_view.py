"""What adapters see of a folder or a file."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from darkmatter.errors import SAEFileError
from darkmatter.files.fields import Fields
from darkmatter.files.view import FileView


@pytest.fixture
def folder(tmp_path):
    """A folder with one file of each kind."""
    here = tmp_path / "run" / "layers.1"
    here.mkdir(parents=True)
    save_file({"W": torch.ones(2, 3), "h": torch.ones(2, dtype=torch.bfloat16)}, here / "w.safetensors")
    np.savez(here / "p.npz", a=np.ones((2, 3), np.float32), f=np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    (here / "cfg.json").write_text('{"k": 4}')
    (here / "c.yaml").write_text("layer: 3\nname: x\n")
    (here.parent / "config.json").write_text('{"model": "m"}')
    return here


def test_a_folder_shows_its_files_and_a_file_itself(folder):
    """names() lists a folder's files; a file's view has one name and may read its neighbours."""
    assert FileView(folder).names() == ("c.yaml", "cfg.json", "p.npz", "w.safetensors")
    view = FileView(folder / "w.safetensors", index=2)
    assert (view.names(), view.index, view.json("cfg.json")) == (("w.safetensors",), 2, {"k": 4})


def test_headers_say_shapes_without_loading(folder):
    """Safetensors and npz headers give names, shapes and dtypes; a .pt says nothing before it is read."""
    view = FileView(folder)
    header = {name: str(info) for name, info in view.header("w.safetensors").items()}
    assert header == {"W": "float32[2, 3]", "h": "bfloat16[2]"}
    assert {name: str(info) for name, info in view.header("p.npz").items()} == {
        "a": "float32[2, 3]",
        "f": "float64[2, 3]",
    }
    torch.save({}, folder / "x.pt")
    assert FileView(folder).header("x.pt") is None


def test_npz_in_both_orders(folder):
    """Row-major and column-major arrays give the same tensor as numpy."""
    tensors = FileView(folder).tensors("p.npz")
    assert torch.equal(tensors["f"], torch.arange(6.0, dtype=torch.float64).reshape(2, 3))
    assert torch.equal(tensors["a"], torch.ones(2, 3))


def test_the_parent_and_yaml(folder):
    """A run's configuration above, and YAML, are read."""
    assert FileView(folder).parent().json("config.json") == {"model": "m"}
    assert FileView(folder).yaml("c.yaml") == {"layer": 3, "name": "x"}


def test_links_to_files_are_followed_as_the_hub_cache_needs(folder, tmp_path):
    """A snapshot folder made of links to blobs reads like any other."""
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "cfg.json").symlink_to(folder / "cfg.json")
    assert FileView(snapshot).json("cfg.json") == {"k": 4}


def test_a_missing_file_names_the_nearest(folder):
    """Asking for a file that is not there names those that are."""
    with pytest.raises(SAEFileError, match=r"Did you mean 'cfg\.json'"):
        FileView(folder).json("config.jso")
    with pytest.raises(SAEFileError, match="no such file or folder"):
        FileView(folder / "nowhere")


def test_subfolders_come_nearest_first(tmp_path):
    """Folders below are offered level by level, without following links."""
    for name in ("b/c", "a", "b/c/d"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [view.root.relative_to(tmp_path).as_posix() for view in FileView(tmp_path).subfolders()]
    assert found == ["a", "b", "b/c", "b/c/d"]


def test_nan_in_json_is_refused_unless_asked_for(folder):
    """Python writes NaN into JSON; a format that needs it says so."""
    (folder / "nan.json").write_text(json.dumps({"x": float("nan")}))
    with pytest.raises(SAEFileError, match="NaN"):
        FileView(folder).json("nan.json")
    assert FileView(folder).json("nan.json", allow_nan=True)["x"] != 0


def test_weights_are_taken_with_shape_and_values_checked(folder):
    """A missing tensor, a wrong shape and a NaN are errors that name file and tensor."""
    bad = torch.ones(2, 3)
    bad[0, 1] = float("nan")
    save_file({"W_enc": torch.ones(2, 3), "bad": bad, "t": torch.tensor(1.5)}, folder / "x.safetensors")
    weights = FileView(folder).weights("x.safetensors")
    assert weights.take("W_enc", 2, None).dtype == torch.float32
    assert (weights.number("t"), weights.maybe("nothing", 2)) == (1.5, None)
    with pytest.raises(
        SAEFileError, match=r"x\.safetensors: tensor 'W_enc' has shape \[2, 3\]; expected \[3, 2\]"
    ):
        weights.take("W_enc", 3, 2)
    with pytest.raises(SAEFileError, match=r"tensor 'bad' has 1 of 6 values that are NaN"):
        weights.take("bad", 2, 3)
    with pytest.raises(
        SAEFileError, match=r"no tensor 'W_en'; expected one of shape \[2, any\]\. Did you mean 'W_enc'"
    ):
        weights.take("W_en", 2, None)


def test_a_shape_that_does_not_fit_names_where_the_sizes_are_from(folder):
    """Where a size was read off one tensor, either of the two may be wrong: the error names both."""
    save_file({"W": torch.ones(2, 3), "b": torch.ones(4)}, folder / "x.safetensors")
    weights = FileView(folder).weights("x.safetensors")
    (d_sae,) = weights.take("b", None).shape
    with pytest.raises(
        SAEFileError,
        match=r"tensor 'W' has shape \[2, 3\]; expected \[2, 4\] \(sizes were read off 'b' \[4\]\)\.",
    ):
        weights.take("W", 2, d_sae)


def test_fields_name_file_and_field():
    """A field of the wrong type is refused with the file, the field and what was expected."""
    fields = Fields({"k": "ten", "n": 3.0, "b": 1, "o": {"x": 1}, "z": -1, "f": float("inf")}, "cfg.json")
    assert (fields.size("n"), fields.inside("o").size("x"), fields.size("none", 5)) == (3, 1, 5)
    for call in (
        lambda: fields.size("k"),
        lambda: fields.flag("b", default=True),
        lambda: fields.inside("k"),
    ):
        with pytest.raises(SAEFileError, match=r"cfg\.json: field '[kb]' is .*; expected"):
            call()
    for call in (
        lambda: fields.size("z"),
        lambda: fields.number("f"),
        lambda: fields.text("n"),
        lambda: fields.integer("k"),
    ):
        with pytest.raises(SAEFileError, match="expected"):
            call()


def test_a_folder_in_place_of_a_file_is_named_as_one(tmp_path):
    """A name that is rejected is never suggested; a folder of that name is called a folder."""
    (tmp_path / "cfg.json").mkdir()
    (tmp_path / "cfg2.json").touch()
    with pytest.raises(SAEFileError, match=r"cfg\.json: is a folder.*Did you mean 'cfg2\.json'\?"):
        FileView(tmp_path).json("cfg.json")


def test_a_file_that_went_away_is_not_suggested(tmp_path):
    """A file that was listed and then removed is not offered in place of itself."""
    (tmp_path / "cfg.json").touch()
    view = FileView(tmp_path)
    assert view.names() == ("cfg.json",)
    (tmp_path / "cfg.json").unlink()
    with pytest.raises(SAEFileError, match=r"no such file\. There is none"):
        view.json("cfg.json")
