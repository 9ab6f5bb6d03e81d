"""Activations are computed once, survive kills and damage, and are what the model gave."""

import logging
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from darkmatter.activations import ActivationStore
from darkmatter.cache.build import Builder
from darkmatter.cache.manage import find_entry
from darkmatter.cache.store import CachedActivations, open_cached
from darkmatter.errors import CacheError, UsageError
from darkmatter.models import token_losses

FIRST, SECOND = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
CONFTEST = Path(__file__).with_name("conftest.py")


def snapshot(folder):
    """All bytes below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_store_gives_what_the_model_gave(request_for, provider, root):
    """Any range of contexts, across shards too, holds the model's numbers, tokens and losses."""
    store = open_cached(request_for((FIRST, SECOND)), provider, root)
    assert isinstance(store, ActivationStore)
    assert (store.n_contexts, store.n_positions, store.dim(SECOND)) == (20, 16, 6)
    assert [(s.start, s.stop) for s in store.shards()] == [*((i, i + 3) for i in range(0, 18, 3)), (18, 20)]
    table = provider.load(None).table
    tokens = store.tokens()
    x = table[tokens].cumsum(1)
    for start, stop in [(0, 20), (0, 3), (4, 5), (2, 10), (18, 20)]:
        assert torch.equal(store.read(FIRST, start, stop), x[start:stop] * 2)
        assert torch.equal(store.read(SECOND, start, stop), x[start:stop] * 3)
    losses = token_losses(x @ table.T, tokens)
    torch.testing.assert_close(store.loss(), losses, equal_nan=True)
    assert store.loss()[:, -1].isnan().all()
    assert torch.equal(store.mask(), tokens > 1)
    assert (tokens[:, 0] == 0).all()
    assert store.labels() is None
    assert (store.default_skip_first, store.default_skip_last, store.shuffled) == (1, 1, True)


def test_finished_entry_loads_no_model(request_for, provider, root):
    """A second run, and one with fewer hook points, reads and computes nothing."""
    first = open_cached(request_for((FIRST, SECOND)), provider, root)
    again = open_cached(request_for((SECOND,)), provider, root)
    assert provider.loads == 1
    assert again.key == first.key
    assert again.hooks == (SECOND,)


def test_new_hook_point_keeps_the_others(request_for, provider, root):
    """Adding a hook point writes its shards alone, below the same key, with the same bytes."""
    first = open_cached(request_for((FIRST,)), provider, root)
    before = snapshot(first.entry.folder)
    both = open_cached(request_for((FIRST, SECOND)), provider, root)
    after = snapshot(both.entry.folder)
    assert both.key == first.key
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["manifest.json"]
    fresh = open_cached(request_for((FIRST, SECOND)), provider, root.with_name("fresh"))
    assert snapshot(fresh.entry.folder) == after


def test_unknown_hook_point_leaves_no_trace(request_for, provider, root):
    """A misspelt hook point is an error, and the entry does not remember it."""
    with pytest.raises(UsageError, match="nope"):
        open_cached(request_for(("nope",)), provider, root)
    store = open_cached(request_for((FIRST,)), provider, root)
    assert store.entry.manifest["hooks"] == [FIRST]
    with pytest.raises(CacheError, match="Did you mean"):
        store.read("blocks.0.hook_resid_pots", 0, 1)


CHILD = """
import os, runpy, signal, sys
from pathlib import Path
import darkmatter.shards, darkmatter.cache.build as build
darkmatter.shards.SHARD_TOKENS, build.MOST_TOKENS_PER_BATCH = 48, 32
from darkmatter.cache.store import open_cached
conftest, text, root, forwards = sys.argv[1:]
fake = runpy.run_path(conftest)
def die(count):
    if count == int(forwards):
        os.kill(os.getpid(), signal.SIGKILL)
open_cached(fake["make_request"](text), fake["FakeProvider"](after_forward=die), Path(root))
"""


@pytest.mark.parametrize("forwards", [1, 6])
def test_killed_build_resumes_to_the_same_bytes(request_for, provider, root, text, forwards):
    """A build killed in its middle is gone on with, not begun again, and ends in the same bytes."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(CONFTEST), str(text), str(root), str(forwards)], check=False
    )
    assert child.returncode == -signal.SIGKILL
    entry = find_entry(next(root.iterdir()).name, root)
    done = 7 - len(entry.missing(FIRST))
    assert done == (forwards - 1) // 2
    store = open_cached(request_for(), provider, root)
    assert provider.forwards == 14 - 2 * done - 1  # the last shard has two contexts: one pass
    fresh = open_cached(request_for(), provider, root.with_name("fresh"))
    assert snapshot(store.entry.folder) == snapshot(fresh.entry.folder)


def flip(path):
    """Turn one bit in the middle of the numbers."""
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)


def cut(path):
    """Lose the last bytes."""
    path.write_bytes(path.read_bytes()[:-5])


def garble(path):
    """Overwrite the header."""
    path.write_bytes(b"\xff" * path.stat().st_size)


def delete(path):
    """Lose the file."""
    path.unlink()


@pytest.mark.parametrize("damage", [flip, cut, garble, delete])
def test_damaged_shard_is_named_and_made_again(request_for, provider, root, damage, caplog):
    """Whatever happened to a shard, reading gives the right numbers and the log names the file."""
    store = open_cached(request_for(), provider, root)
    whole = store.read(FIRST, 0, 20).clone()
    before = snapshot(store.entry.folder)
    path = store.entry.shard_files(FIRST)[2]
    damage(path)
    forwards = provider.forwards
    again = open_cached(request_for(), provider, root)
    with caplog.at_level(logging.WARNING, "darkmatter.cache"):
        assert torch.equal(again.read(FIRST, 0, 20), whole)
    assert provider.forwards == forwards + 2
    assert damage in (cut, garble, delete) or path.name in caplog.text
    assert snapshot(store.entry.folder) == before


@pytest.mark.parametrize("damage", [flip, cut, garble, delete])
def test_damaged_tokens_are_made_again(request_for, provider, root, damage):
    """Tokens are as well guarded as activations, and cost no forward pass."""
    store = open_cached(request_for(), provider, root)
    tokens = store.tokens().clone()
    damage(store.entry.contexts_file())
    assert torch.equal(open_cached(request_for(), provider, root).tokens(), tokens)
    assert provider.loads == 1


def test_store_without_builder_names_the_damage(request_for, provider, root):
    """Where nothing can be rebuilt, the damaged file is named in the error."""
    store = open_cached(request_for(), provider, root)
    path = store.entry.shard_files(FIRST)[0]
    flip(path)
    with pytest.raises(CacheError, match=path.name):
        CachedActivations(store.entry, store.hooks).read(FIRST, 0, 1)


def test_damaged_manifest_says_how_to_go_on(request_for, provider, root):
    """A manifest that cannot be read is an error with the command that clears it."""
    store = open_cached(request_for(), provider, root)
    (store.entry.folder / "manifest.json").write_text("{")
    with pytest.raises(CacheError, match="cache rm"):
        open_cached(request_for(), provider, root)


def test_store_travels_to_another_process(request_for, provider, root):
    """A pickled store holds no numbers and reads the same."""
    store = open_cached(request_for(), provider, root)
    x = store.read(FIRST, 0, 20)
    travelled = pickle.dumps(CachedActivations(store.entry, store.hooks))
    assert len(travelled) < 4000
    assert torch.equal(pickle.loads(travelled).read(FIRST, 0, 20), x)


def test_progress_counts_contexts(request_for, provider, root):
    """The callback sees every context once and ends at the total."""
    seen = []
    open_cached(request_for(), provider, root, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20, 20)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_too_long_contexts_are_refused(text, provider, root, request_for):
    """Contexts beyond the model's positions are an error that names the limit."""
    request = request_for()
    long = request.text.model_copy(update={"context_length": 65, "contexts": 2})
    with pytest.raises(UsageError, match="64 positions"):
        open_cached(type(request)(request.model, long, request.hooks), provider, root)


RACER = """
import runpy, sys
from pathlib import Path
import darkmatter.shards, darkmatter.cache.build as build
darkmatter.shards.SHARD_TOKENS, build.MOST_TOKENS_PER_BATCH = 48, 32
from darkmatter.cache.store import open_cached
conftest, text, root = sys.argv[1:]
fake = runpy.run_path(conftest)
provider = fake["FakeProvider"](after_forward=lambda count: __import__("time").sleep(0.02))
print("ready", flush=True)
sys.stdin.readline()
store = open_cached(fake["make_request"](text), provider, Path(root))
print(provider.loads, store.read(store.hooks[0], 0, 20).sum().item())
"""


def test_two_processes_build_one_entry_once(text, root):
    """Of two processes that want the same activations, one builds and the other waits and reads."""
    command = [sys.executable, "-c", RACER, str(CONFTEST), str(text), str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for racer in (one, other):
            assert racer.stdout.readline() == "ready\n"
        for racer in (one, other):
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = [racer.communicate()[0].split() for racer in (one, other)]
    assert sorted(loads for loads, _ in answers) == ["0", "1"]
    assert len({total for _, total in answers}) == 1


def test_full_disk_is_one_paragraph_and_keeps_what_is_done(request_for, provider, root, monkeypatch):
    """When the disk is full the error says how to go on, and going on recomputes nothing that was safe."""
    from darkmatter.cache import entry

    def full(path, pieces, write=entry.write_pieces):
        if path.name.startswith("00004"):
            raise OSError(28, "No space left on device")
        write(path, pieces)

    with monkeypatch.context() as patch:
        patch.setattr(entry, "write_pieces", full)
        with pytest.raises(CacheError, match=r"No space left.*DARKMATTER_CACHE"):
            open_cached(request_for(), provider, root)
    done = provider.forwards
    open_cached(request_for(), provider, root)
    assert provider.forwards - done == 5


def test_missing_says_what_a_build_would_make(request_for, provider, root):
    """Before, in the middle and after a build, nothing is loaded to say what is missing."""
    builder = Builder(request_for((FIRST, SECOND)), provider, root)
    assert builder.missing() is None
    open_cached(request_for((FIRST,)), provider, root)
    assert builder.missing() == {FIRST: 0, SECOND: 7, "loss": 0}
    builder.ensure()
    assert builder.missing() == {FIRST: 0, SECOND: 0, "loss": 0}
    assert provider.loads == 2


def test_hook_points_of_another_process_are_kept(request_for, provider, root, monkeypatch):
    """A writer that looked before another one finished does not undo what that one recorded."""
    open_cached(request_for(()), provider, root)
    early = Builder(request_for((SECOND,)), provider, root)
    looked = early._entry()
    assert looked[0].manifest["hooks"] == []
    open_cached(request_for((FIRST,)), provider, root)
    monkeypatch.setattr(Builder, "_entry", lambda _: looked)
    assert early.ensure().manifest["hooks"] == [FIRST, SECOND]


def test_description_names_what_was_asked_for(request_for, provider, root, text):
    """A copy of the text under another name reads the same entry and is described by its own name."""
    first = open_cached(request_for(), provider, root)
    copy = text.with_name("copy.txt")
    copy.write_bytes(text.read_bytes())
    request = request_for()
    named = type(request)(request.model, request.text.model_copy(update={"path": str(copy)}), request.hooks)
    second = open_cached(named, provider, root)
    assert (first.key, provider.loads) == (second.key, 1)
    assert (first.description["text"]["path"], second.description["text"]["path"]) == (str(text), str(copy))
