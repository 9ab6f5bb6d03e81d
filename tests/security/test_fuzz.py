"""Damaged files: whatever bytes are flipped or cut, a reader answers with an SAE or an error of ours."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkmatter.errors import DarkmatterError
from darkmatter.files.view import FileView
from darkmatter.sae.inspection import inspect_reference
from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[1] / "golden" / "samples"
CHOSEN = [
    "sae_lens/standard",
    "sae_lens/jumprelu_float16",
    "sae_lens/legacy_topk",
    "sae_lens/batchtopk_checkpoint_scaled",
    "sae_lens/matching_pursuit",
    "dictionary_learning/standard",
    "dictionary_learning/gated",
    "dictionary_learning/topk_backup",
    "sparsify/groupmax",
    "sparsify/skip_transcoder",
    "gemma_scope/res",
    "gemma_scope/transcoder",
]
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}


def attempt(folder):
    """Load and inspect; anything but success or an error of ours is the test's failure."""
    try:
        load_sae(folder, adapters=BY_NAME)
    except DarkmatterError as error:
        assert "the adapter" not in str(error), f"an adapter crashed: {error}"  # noqa: PT017
    found = inspect_reference(folder, adapters=BY_NAME)
    assert not any("detection failed" in claim["reason"] for claim in found.claims)
    json.dumps(found.as_json(), allow_nan=False)


def copied(tmp_path_factory, name):
    """(folder to load, its damaged-able files) of a fresh copy of a sample."""
    golden = json.loads((SAMPLES / name / "golden.json").read_text())
    target = tmp_path_factory.mktemp("fuzz") / "sae"
    shutil.copytree(SAMPLES / name / "sae", target)
    folder = target.parent / golden["path"]
    return folder, sorted(path for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize("name", CHOSEN)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_damage_never_escapes_as_anything_but_our_error(tmp_path_factory, name, data):
    """Random byte flips, and cuts at any place, end in an SAE or in a DarkmatterError."""
    folder, files = copied(tmp_path_factory, name)
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    # Half of the flips go to the front, where headers, pickles and JSON are.
    front = st.integers(0, min(len(content), 400) - 1)
    places = st.one_of(front, st.integers(0, len(content) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        content[place] = value
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    try:
        attempt(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", CHOSEN)
def test_every_truncation_is_noticed(tmp_path_factory, name):
    """A weights file cut at any of a hundred places is refused, never read as a smaller SAE."""
    folder, files = copied(tmp_path_factory, name)
    weights = next(
        path for path in files if path.suffix in {".safetensors", ".pt", ".npz"} and "spars" not in path.name
    )
    whole = weights.read_bytes()
    for cut in range(0, len(whole) - 1, max(1, len(whole) // 100)):
        weights.write_bytes(whole[:cut])
        with pytest.raises(DarkmatterError) as caught:
            load_sae(folder, adapters=BY_NAME)
        assert str(folder) in str(caught.value)


ARCHIVES = sorted(path for path in SAMPLES.rglob("sae/**/*") if path.suffix in {".pt", ".pth", ".npz"})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damage_inside_an_archive_with_valid_checksums(tmp_path_factory, data):
    """A zip's checksums catch accidents, not attackers: damaged pickles and arrays are packed anew."""
    source = data.draw(st.sampled_from(ARCHIVES))
    with zipfile.ZipFile(source) as archive:
        members = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    victim = members[data.draw(st.sampled_from([n for n in members if n.endswith(("data.pkl", ".npy"))]))]
    places = st.integers(0, min(len(victim), 1500 if source.suffix != ".npz" else 128) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=5)):
        victim[place] = value
    path = tmp_path_factory.mktemp("fuzz") / source.name
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(content))
    try:
        FileView(path).tensors(path.name)
    except DarkmatterError as error:
        assert path.name in str(error)  # noqa: PT017
    finally:
        shutil.rmtree(path.parent, ignore_errors=True)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 50), st.floats(), st.text(max_size=5)),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3), st.dictionaries(st.text(max_size=5), inside, max_size=3)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("name", CHOSEN)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_value_in_any_field_ends_in_our_error_or_an_sae(tmp_path_factory, name, data):
    """Each field of a configuration may hold anything, at the top and one level down."""
    folder, files = copied(tmp_path_factory, name)
    configs = [path for path in files if path.suffix == ".json"]
    if not configs:
        return
    path = data.draw(st.sampled_from(configs))
    content = json.loads(path.read_text())
    inner = [value for value in content.values() if isinstance(value, dict)]
    place = data.draw(st.sampled_from([content, *inner]))
    if place:
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(VALUES)
    path.write_text(json.dumps(content))
    try:
        attempt(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
