"""``darkmatter fetch`` against a stand-in of the hub."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading

import pytest

from darkmatter.fetching import fetch as fetching
from darkmatter.fetching.record import read_record, write_record
from darkmatter.fetching.select import RemoteFile
from darkmatter.references import parse_reference
from darkmatter.sae.load import load_sae

WEIGHTS = "sae_weights.safetensors"


@pytest.fixture
def saes(hub, sample):
    """A repository with two SAEs below ``run``, and what a publisher leaves beside them."""
    files = sample("sae_lens/standard", "run/a/") | sample("sae_lens/topk", "run/b/")
    files |= {
        "README.md": b"# SAEs",
        "config.yaml": b"model: gpt2",
        "run/config.json": b"{}",
        "run/history.json": b" " * 1_000_001,
        "run/a/optimizer.pt": b"state",
        "run/a/activations_store_state.safetensors": b"state",
    }
    return hub.repository("org/saes", files)


def test_a_branch_is_resolved_to_a_commit_and_loads(saes, darkmatter):
    """What a reference without a revision names is pinned, recorded with hashes, and usable."""
    done = darkmatter("fetch", "hf:org/saes/run/a")
    commit = saes.names["main"]
    name = f"run/a/{WEIGHTS}"
    digest = hashlib.sha256(saes.commits[commit][name]).hexdigest()

    assert done.returncode == 0, done.stderr
    assert commit[:12] in done.stdout
    record = read_record("hf:org/saes/run/a")
    assert (record.commit, record.files[name].sha256) == (commit, digest)
    source = load_sae("hf:org/saes/run/a").metadata.extra["source"]
    assert (source["repo"], source["commit"], source["files"][name]) == ("org/saes", commit, digest)


def test_what_came_is_found_from_every_folder(saes, darkmatter):
    """Where HF_HOME is relative, the record holds the folder that it meant."""
    done = darkmatter("fetch", "hf:org/saes/run/a", HF_HOME="here")

    assert done.returncode == 0, done.stderr
    load_sae("hf:org/saes/run/a")


def test_only_what_an_sae_needs_is_fetched(saes, hub, darkmatter):
    """The weights, their configurations and those above; no training state, no neighbour, no long log."""
    done = darkmatter("fetch", "hf:org/saes/run/a")

    assert sorted(hub.downloads()) == ["config.yaml", "run/a/cfg.json", f"run/a/{WEIGHTS}", "run/config.json"]
    assert f"run/a/{WEIGHTS}" in done.stderr  # the plan
    assert (
        "parts of the training: run/a/activations_store_state.safetensors, run/a/optimizer.pt" in done.stderr
    )


def test_a_branch_moves_when_it_is_fetched_again_and_not_before(saes, sample, darkmatter):
    """Loading keeps to the recorded commit; a new fetch says from where to where the branch moved."""
    darkmatter("fetch", "hf:org/saes/run/a")
    before, old = load_sae("hf:org/saes/run/a"), saes.names["main"]
    new = saes.commit(sample("sae_lens/jumprelu", "run/a/"))
    assert load_sae("hf:org/saes/run/a").fingerprint == before.fingerprint
    done = darkmatter("fetch", "hf:org/saes/run/a")

    assert f"moved from commit {old[:12]} to {new[:12]}" in done.stdout
    assert load_sae("hf:org/saes/run/a").fingerprint != before.fingerprint


def test_a_pinned_commit_stays_and_needs_no_network_again(saes, hub, sample, darkmatter):
    """A reference to a commit never moves; while its files are whole nothing is asked of the hub."""
    old = saes.names["main"]
    saes.commit(sample("sae_lens/jumprelu", "run/a/"))
    pinned = f"hf:org/saes/run/a@{old}"
    first = darkmatter("fetch", pinned)
    hub.requests.clear()
    again = darkmatter("fetch", pinned, HF_HUB_OFFLINE="1")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert read_record(pinned).commit == old
    assert hub.requests == []


def test_a_single_file_comes_with_its_configurations(hub, darkmatter):
    """A reference may name one file of many, and which SAE in it."""
    files = {f"layer_{n}.{suffix}": b"{}" for n in (0, 1) for suffix in ("safetensors", "json")}
    hub.repository("org/flat", files)
    done = darkmatter("fetch", "hf:org/flat/layer_1.safetensors#2")

    assert done.returncode == 0, done.stderr
    record = read_record("hf:org/flat/layer_1.safetensors")
    assert sorted(record.files) == ["layer_0.json", "layer_1.json", "layer_1.safetensors"]
    with pytest.raises(Exception, match=r"layer_1\.safetensors"):
        load_sae("hf:org/flat/layer_1.safetensors#2")


def test_names_above_the_files_reach_the_adapter(hub, sample, darkmatter):
    """A repository's name is in the path of its snapshot, where Gemma Scope's hook points come from."""
    files = sample("gemma_scope/res")
    files = {name.removeprefix("gemma-scope-2b-pt-res/"): content for name, content in files.items()}
    hub.repository("google/gemma-scope-2b-pt-res", files)
    (folder,) = {name.rpartition("/")[0] for name in files}
    done = darkmatter("fetch", f"hf:google/gemma-scope-2b-pt-res/{folder}")

    assert done.returncode == 0, done.stderr
    sae = load_sae(f"hf:google/gemma-scope-2b-pt-res/{folder}")
    assert (sae.hook_in, sae.metadata.model) == ("blocks.3.hook_resid_post", "google/gemma-2-2b")


@pytest.mark.parametrize("name", [f"run/a/{WEIGHTS}", "run/a/cfg.json"])
def test_a_download_that_is_not_what_the_hub_states_is_refused(name, saes, hub, darkmatter):
    """A damaged file is tried twice, named, and not recorded; the next fetch mends it."""
    hub.garbled.add(name)
    done = darkmatter("fetch", "hf:org/saes/run/a")

    assert done.returncode == 1
    assert f"{name} is damaged" in done.stderr
    assert hub.downloads().count(name) == 2
    assert read_record("hf:org/saes/run/a") is None
    hub.garbled.clear()
    assert darkmatter("fetch", "hf:org/saes/run/a").returncode == 0
    load_sae("hf:org/saes/run/a")


def test_an_interrupted_fetch_goes_on_where_it_stopped(saes, hub, darkmatter):
    """What came before the trouble is kept and not downloaded again."""
    hub.broken.add("run/config.json")
    done = darkmatter("fetch", "hf:org/saes/run/a")
    assert done.returncode == 1
    assert "status 500" in done.stderr
    assert read_record("hf:org/saes/run/a") is None
    assert f"run/a/{WEIGHTS}" in hub.downloads()
    hub.broken.clear()
    hub.requests.clear()

    assert darkmatter("fetch", "hf:org/saes/run/a").returncode == 0
    assert hub.downloads() == ["run/config.json"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("hf:org/saes/run/c", r"no such folder or file .* Did you mean hf:org/saes/run/[ab]"),
        ("hf:org/saes", "is no SAE itself; 2 folders below it hold weights. Name one: hf:org/saes/run/a, "),
        ("hf:org/saes/run/a@v9", "org/saes has no branch, tag or commit 'v9'"),
        ("hf:org/nothing", r"no repository 'org/nothing' .* log in with `hf auth login`"),
        ("hf:org/gated", r"access to org/gated is restricted. Accept .* `hf auth login`"),
        ("hf:org/empty", "holds no weights"),
        ("saelens:gpt2-small-res-jc/x", "Did you mean 'gpt2-small-res-jb'"),
    ],
)
def test_what_cannot_be_fetched_says_why_in_plain_words(reference, message, saes, hub, darkmatter):
    """Each failure names the reference and the next step, without a traceback."""
    hub.repository("org/gated", {}).gated = True
    hub.repository("org/empty", {"README.md": b"nothing"})
    done = darkmatter("fetch", reference)

    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


def test_one_failure_does_not_stop_the_others(saes, darkmatter):
    """Every reference is tried; the exit status and the JSON say which failed."""
    done = darkmatter("fetch", "hf:org/nothing", "hf:org/saes/run/a", "--json")
    first, second = json.loads(done.stdout)

    assert done.returncode == 1
    assert "no repository" in first["error"]
    assert second["commit"] == saes.names["main"]


def test_too_much_is_refused_before_anything_is_downloaded(saes, hub, darkmatter):
    """Above --max-size the size is named and nothing comes."""
    done = darkmatter("fetch", "hf:org/saes/run/a", "--max-size", "1KB")

    assert done.returncode == 1
    assert "more than 1 kB" in done.stderr
    assert "--max-size" in done.stderr
    assert hub.downloads() == []


def test_a_size_that_the_hub_does_not_state_is_said_before_anything_is_downloaded(saes, hub, darkmatter):
    """It is not taken for 0, which --max-size would let through and every download would contradict."""
    hub.sizeless.add("run/a/cfg.json")
    done = darkmatter("fetch", "hf:org/saes/run/a")

    assert done.returncode == 1
    assert "the hub states no size of run/a/cfg.json" in done.stderr
    assert hub.downloads() == []


def test_two_fetches_of_a_moving_branch_leave_the_newer_commit(cache, tmp_path, monkeypatch):
    """The second waits for the first; else a slow download of the old commit would replace its record."""
    commits, recorded = iter(["1" * 40, "2" * 40]), threading.Event()
    (tmp_path / "params.npz").write_bytes(b"x" * 10)
    started = threading.Event()

    def download(_repo, commit, _file, _advance, *, force):
        started.set()
        if commit == "1" * 40:
            recorded.wait(0.5)  # until the other is done, if it does not wait for this one
        return tmp_path / "params.npz", tmp_path

    def note_record(record):
        write_record(record)
        recorded.set()

    monkeypatch.setattr(fetching, "said_plainly", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(fetching, "listing", lambda *_: (next(commits), [RemoteFile("params.npz", 10)]))
    monkeypatch.setattr(fetching, "download", download)
    monkeypatch.setattr(fetching, "write_record", note_record)
    reference = parse_reference("hf:org/saes/params.npz")
    both = [threading.Thread(target=fetching.fetch, args=(reference,)) for _ in range(2)]
    both[0].start()
    started.wait()
    both[1].start()
    for thread in both:
        thread.join()

    assert read_record("hf:org/saes/params.npz").commit == "2" * 40


def test_a_hub_that_cannot_be_reached_is_said_so(darkmatter):
    """Connection trouble names the address and what to check."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}"
    done = darkmatter("fetch", "hf:org/saes/run/a", HF_ENDPOINT=address)

    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "secret" not in done.stderr


def test_offline_mode_is_said_so(saes, hub, darkmatter):
    """With HF_HUB_OFFLINE nothing is asked, and the message says which variable to unset."""
    done = darkmatter("fetch", "hf:org/saes/run/a", HF_HUB_OFFLINE="1")

    assert done.returncode == 1
    assert "HF_HUB_OFFLINE" in done.stderr
    assert hub.requests == []


def test_verify_finds_a_changed_file_and_fetch_mends_it(saes, darkmatter):
    """A byte changed on disk is found by --verify, named, and put right by the next fetch."""
    darkmatter("fetch", "hf:org/saes/run/a")
    record = read_record("hf:org/saes/run/a")
    blob = record.path(f"run/a/{WEIGHTS}").resolve()
    content = blob.read_bytes()
    assert darkmatter("fetch", "--verify").returncode == 0
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    found = darkmatter("fetch", "--verify", "hf:org/saes/run/a")
    mended = darkmatter("fetch", "hf:org/saes/run/a")

    assert found.returncode == 1
    assert WEIGHTS in found.stdout
    assert "darkmatter fetch hf:org/saes/run/a" in found.stderr
    assert mended.returncode == 0
    assert record.path(f"run/a/{WEIGHTS}").read_bytes() == content


def test_list_shows_what_is_there(saes, darkmatter):
    """Every record with its commit, size and what is missing."""
    assert "0 fetched" in darkmatter("fetch", "--list").stdout
    darkmatter("fetch", "hf:org/saes/run/a")
    commit = saes.names["main"]

    assert commit[:12] in darkmatter("fetch", "--list").stdout
    (shown,) = json.loads(darkmatter("fetch", "--list", "--json").stdout)
    assert (shown["recorded_as"], shown["commit"], shown["problems"]) == ("hf:org/saes/run/a", commit, [])


@pytest.mark.parametrize(
    "arguments",
    [(), ("runs/a",), ("baseline:pca",), ("--list", "--verify"), ("hf:org/saes", "--max-size", "much")],
)
def test_wrong_usage_is_status_2(arguments, darkmatter):
    """What has nothing to fetch, or options that contradict each other, is wrong usage."""
    assert darkmatter("fetch", *arguments).returncode == 2


def test_names_that_could_do_harm_are_left_alone(hub, sample, darkmatter):
    """Names with control characters or parent folders are never downloaded nor printed."""
    evil = {"a/../../x.safetensors": b"x", "a/\x1b[2J.safetensors": b"x", "/etc/x.pt": b"x"}
    hub.repository("org/evil", sample("sae_lens/standard", "a/") | evil)
    done = darkmatter("fetch", "hf:org/evil/a")

    assert done.returncode == 0, done.stderr
    assert sorted(hub.downloads()) == ["a/cfg.json", f"a/{WEIGHTS}"]
    assert "\x1b" not in done.stderr + done.stdout
