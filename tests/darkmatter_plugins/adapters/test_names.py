"""What folders' names may say, and which folders are asked."""

import re
import shutil
from pathlib import Path

import pytest

from darkmatter.fetching.locate import FetchedView, Origin
from darkmatter.files.view import FileView
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters._names import folders, match_in_folders

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
PARAMS = next((SAMPLES / "gemma_scope").rglob("params.npz"))
TEMPORAL = next((SAMPLES / "temporal").rglob("conf.yaml")).parent


def test_folders_end_at_the_repository(tmp_path):
    """What lies above a fetched repository is not asked, and its folder has the repository's name."""
    snapshot = tmp_path / "layer_9" / "models--lab--gemma-scope-2b-pt-res" / "snapshots" / "0a1b"
    (snapshot / "layer_3").mkdir(parents=True)
    origin = Origin(top=snapshot, source={"repo": "lab/gemma-scope-2b-pt-res"}, files=frozenset())
    view = FetchedView(snapshot / "layer_3", None, origin)
    assert list(folders(view)) == ["layer_3", "gemma-scope-2b-pt-res"]
    assert list(folders(view.parent())) == ["gemma-scope-2b-pt-res"]
    plain = list(folders(FileView(snapshot / "layer_3")))
    assert plain == ["layer_3", "0a1b", "snapshots", "gemma-scope-2b-pt-res"]


def test_a_part_of_a_folders_name_says_nothing(tmp_path):
    """multilayer_9_study is no layer_9."""
    folder = tmp_path / "layer_4" / "multilayer_9_study" / "mine"
    folder.mkdir(parents=True)
    assert match_in_folders(FileView(folder), re.compile(r"layer_(\d+)"))[1] == "4"
    assert match_in_folders(FileView(folder), re.compile(r"study")) is None


@pytest.mark.parametrize(
    ("files", "name"), [([PARAMS], "multilayer_9_study"), (sorted(TEMPORAL.iterdir()), "my_layer_9")]
)
def test_no_hook_is_made_of_a_part_of_a_name(tmp_path, files, name):
    """A number in a longer name, anywhere in the path, is no layer."""
    folder = tmp_path / name / "mine"
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)
    assert load_sae(folder).hook_in is None
