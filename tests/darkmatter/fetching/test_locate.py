"""Loading what was fetched, and saying what to do where it was not; without any network."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from darkmatter.cli.main import main
from darkmatter.errors import ItemError, SAEFileError
from darkmatter.fetching import checked
from darkmatter.fetching.locate import FetchedView, Origin
from darkmatter.fetching.record import FetchedFile, Record, records_folder, sha256_of, write_record
from darkmatter.plugins import host
from darkmatter.references import parse_reference
from darkmatter.sae.detect import adapter_for
from darkmatter.sae.inspection import inspect_reference
from darkmatter.sae.load import LoadOptions, load_sae, open_view, read
from darkmatter.sae.overrides import Overrides

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
COMMIT = "c" * 40


@pytest.fixture
def offline(monkeypatch):
    """Any use of a network fails the test."""

    def refuse(*_arguments, **_options):
        raise AssertionError("a network was used")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def snapshot(tmp_path, cache, offline):
    """A sample at ``org/saes/run/a``, as ``darkmatter fetch`` leaves it."""
    top = tmp_path / "hub" / "models--org--saes" / "snapshots" / COMMIT
    shutil.copytree(SAMPLES / "sae_lens" / "standard" / "sae", top / "run" / "a")
    files = {
        path.relative_to(top).as_posix(): FetchedFile(size=path.stat().st_size, sha256=sha256_of(path))
        for path in top.rglob("*")
        if path.is_file()
    }
    write_record(
        Record(
            reference="hf:org/saes/run/a",
            repo="org/saes",
            commit=COMMIT,
            snapshot=str(top),
            fetched="2026-01-01T00:00:00+00:00",
            files=files,
        )
    )
    return top


@pytest.mark.parametrize(
    "reference",
    [
        "hf:org/saes/run/a@main",
        "saelens:gpt2-small-res-jb/blocks.8.hook_resid_pre",
        "neuronpedia:gpt2-small/0-res-jb",
    ],
)
@pytest.mark.parametrize("use", [load_sae, inspect_reference])
def test_what_was_not_fetched_says_how_to_fetch_it(reference, use, cache, offline):
    """Loading and inspecting never download: the error ends with the command that does."""
    with pytest.raises(ItemError) as caught:
        use(reference)
    assert str(caught.value).endswith(f": darkmatter fetch {reference}")


def test_a_run_goes_on_without_what_was_not_fetched(tmp_path, cache, offline, capsys):
    """The SAE that is not there is a failed item, exit status 1; the others are evaluated."""
    x = torch.randn(40, 8, 12, generator=torch.Generator().manual_seed(0))
    save_file({"x": x}, tmp_path / "x.safetensors")
    here = SAMPLES / "sae_lens" / "standard" / "sae"
    status = main(
        ["run", "--activations", str(tmp_path / "x.safetensors"), "--out", str(tmp_path / "out"),
         "--sae", f"good={here}", "--sae", "absent=hf:org/saes/run/a", "--evaluators", "reconstruction"]
    )  # fmt: skip
    printed = capsys.readouterr()

    assert status == 1
    assert "| good " in printed.out
    assert "darkmatter fetch hf:org/saes/run/a" in printed.err


def test_what_was_fetched_says_where_it_comes_from(snapshot):
    """Repository, commit and hashes stand in the metadata, and so in results."""
    source = load_sae("hf:org/saes/run/a").metadata.extra["source"]

    assert (source["repo"], source["commit"]) == ("org/saes", COMMIT)
    assert source["files"]["run/a/cfg.json"] == sha256_of(snapshot / "run" / "a" / "cfg.json")
    assert inspect_reference("hf:org/saes/run/a").metadata["extra"]["source"] == source


def test_a_view_of_fetched_files_ends_at_the_repository(snapshot):
    """Adapters that look for a run's configuration above never leave the snapshot."""
    view, seen = open_view(parse_reference("hf:org/saes/run/a")), []
    while view is not None:
        seen.append(view.root)
        view = view.parent()

    assert seen == [snapshot / "run" / "a", snapshot / "run", snapshot]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{}")])
def test_files_that_are_not_as_they_came_are_found_before_loading(damage, snapshot):
    """A missing file or another size is an error that names the file and ends with the command."""
    damage(snapshot / "run" / "a" / "cfg.json")
    with pytest.raises(SAEFileError, match=r"cfg\.json") as caught:
        load_sae("hf:org/saes/run/a")
    assert str(caught.value).endswith(": darkmatter fetch hf:org/saes/run/a")


def reads(monkeypatch):
    """The names of the files that are read to be hashed, as it happens."""
    seen = []
    monkeypatch.setattr(checked, "sha256_of", lambda path: seen.append(path.name) or sha256_of(path))
    return seen


def test_a_hash_stands_in_results_only_if_the_file_has_it(snapshot):
    """Other bytes of the same length, with the old time put back, are not passed off as what came."""
    path = snapshot / "run" / "a" / "sae_weights.safetensors"
    load_sae("hf:org/saes/run/a")
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(SAEFileError, match=r"sae_weights\.safetensors: its content has changed") as caught:
        load_sae("hf:org/saes/run/a")
    assert str(caught.value).endswith(": darkmatter fetch hf:org/saes/run/a")


def test_files_are_read_once_to_be_hashed(snapshot, monkeypatch):
    """Loading again costs nothing while the system says that they are the same files."""
    seen = reads(monkeypatch)
    load_sae("hf:org/saes/run/a")
    assert sorted(seen) == ["cfg.json", "sae_weights.safetensors"]
    load_sae("hf:org/saes/run/a")
    assert len(seen) == 2
    os.utime(snapshot / "run" / "a" / "cfg.json")
    load_sae("hf:org/saes/run/a")
    assert seen[2:] == ["cfg.json"]


@pytest.mark.parametrize("content", ["{", "[]", '{"run/a/cfg.json": 1}', '{"run/a/cfg.json": ["x"]}'])
def test_notes_that_cannot_be_understood_are_made_anew(content, snapshot, monkeypatch):
    """What was checked is only remembered: without it the files are read again."""
    load_sae("hf:org/saes/run/a")
    (note,) = (records_folder() / "checked").iterdir()
    note.write_text(content)
    seen = reads(monkeypatch)
    load_sae("hf:org/saes/run/a")

    assert "cfg.json" in seen
    assert note.read_text() != content


def test_files_that_were_not_fetched_are_not_seen(snapshot):
    """What lies in the snapshot without being recorded was never checked: no reader gets to see it."""
    for name in ("run/a/darkmatter.json", "run/a/ae.pt", "run/config.json", "run/a/b/ae.pt"):
        (snapshot / name).parent.mkdir(exist_ok=True)
        (snapshot / name).write_text("{}")
    view = open_view(parse_reference("hf:org/saes/run/a"))

    assert view.names() == ("cfg.json", "sae_weights.safetensors")
    assert not view.has("ae.pt")
    assert not view.parent().has("config.json")
    assert list(view.subfolders()) == []
    assert [folder.root.name for folder in view.parent().subfolders()] == ["a"]
    with pytest.raises(SAEFileError, match="there is no such file"):
        view.json("darkmatter.json")


def test_a_damaged_record_is_an_error_that_names_it(snapshot):
    """A record that is no longer JSON is not taken for one that is not there."""
    (record,) = records_folder().iterdir()
    record.write_text("{")
    with pytest.raises(SAEFileError, match=record.name):
        load_sae("hf:org/saes/run/a")


def origin(top, **known):
    files = frozenset(path for path in top.rglob("*") if path.is_file())
    return Origin(top=top, files=files, source={"repo": "org/saes"}, **known)


def test_the_adapter_that_a_catalogue_names_is_used_unless_the_user_names_one(snapshot):
    """It decides where several claim a file; one that is not installed leaves it to detection."""
    adapters = host().adapters()
    for named, asked, used in [
        ("sparsify", None, "sparsify"),
        ("sparsify", "saelens", "saelens"),
        ("not_installed", None, "saelens"),
    ]:
        view = FetchedView(snapshot / "run" / "a", None, origin(snapshot, adapter=named))
        assert adapter_for(view, adapters, asked).name == used


def test_what_a_catalogue_states_is_followed_and_the_user_comes_first(snapshot):
    """The adapter is given the catalogue's overrides, replaced by the user's where both speak."""
    seen = []

    def load(view, options):
        seen.append(options.overrides.given())
        return adapters["saelens"].resolve()(view, options)

    adapters = host().adapters()
    known = origin(snapshot, overrides=Overrides(model="theirs", context_length=64))
    view = FetchedView(snapshot / "run" / "a", None, known)
    read(
        view,
        dataclasses.replace(adapters["saelens"], implementation=load),
        LoadOptions(overrides=Overrides(model="mine")),
    )

    assert seen == [{"model": "mine", "context_length": 64}]


def test_a_statement_of_a_catalogue_that_nobody_follows_is_its_fault(snapshot):
    """The user did not give it and cannot leave it out; the message says whose it is."""
    known = origin(snapshot, overrides=Overrides(k=3), stated_by="the catalogue toys")
    view = FetchedView(snapshot / "run" / "a", None, known)

    with pytest.raises(ItemError, match=r"the catalogue toys states k 3.*The entry is wrong; name its files"):
        read(view, host().adapters()["saelens"], LoadOptions())


def test_an_index_reaches_the_adapter(snapshot):
    """hf:…#2 is refused where a file holds one SAE, as for a path."""
    with pytest.raises(SAEFileError, match="leave out #2"):
        load_sae("hf:org/saes/run/a#2")
