"""What a stranger's row cannot make an audit do: read the machine's files, use a network, spend money."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from shutil import copytree

import pytest

from darkmatter import api
from darkmatter.embedded import embedded_path
from darkmatter.errors import ItemError
from darkmatter.leaderboard.audit import audit
from darkmatter.leaderboard.board import read_board
from darkmatter.leaderboard.check import check
from darkmatter.leaderboard.reach import refuse_files, refuse_reaching
from darkmatter.leaderboard.submit import Stated, submit
from darkmatter.plugins import host
from darkmatter.sources import ModelSpec
from darkmatter_plugins import pinned
from darkmatter_plugins.sources.model_files import find_model

CONFIGURED = ("evaluators", "datasets", "simulators", "baselines")
FEW = {"latents": 3, "train_fragments": 5, "test_fragments": 2, "fragment": 8, "min_firings": 1}


@pytest.fixture
def server():
    """Where requests go, and those that came."""
    came = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append((self.path, self.headers.get("Authorization")))
            self.send_response(400)
            self.end_headers()

        do_GET = do_HEAD = do_POST  # noqa: N815 - the library's names

        def log_message(self, *_):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}", came
    listening.shutdown()
    listening.server_close()


def of(board, forge, evaluator, config):
    """A row that says it is of an evaluator with options, and what an audit makes of it."""
    path = forge.row(board)
    version = host().evaluators()[evaluator].version
    forge.edit(
        path, lambda raw: raw.update(evaluator=raw["evaluator"] | {"name": evaluator, "version": version})
    )
    forge.edit(path, lambda raw: raw.update(config=config))
    rows = [row for row in read_board(board).rows if row.file == str(path.relative_to(board))]
    [verdict] = audit(rows, host(), 1, 0)
    return path, verdict


def test_no_key_is_sent_to_a_server_that_a_row_names(board, forge, server, monkeypatch):
    """A row may name a server and an environment variable; neither is asked, and that is said."""
    url, came = server
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    simulator = {"name": "endpoint", "base_url": f"{url}/v1", "model": "m", "api_key_env": "GITHUB_TOKEN"}

    _, verdict = of(board, forge, "autointerp", FEW | {"simulator": simulator | {"retries": 0}})

    assert came == []
    assert (verdict.outcome, verdict.said) == (
        "not recomputed",
        "endpoint would use a network and spend money",
    )


@pytest.mark.parametrize(
    ("evaluator", "config"),
    [
        ("autointerp", lambda path: FEW | {"simulator": {"name": "local", "model": path}}),
        ("feature_recovery", lambda path: {"truth": path}),
        ("feature_recovery", lambda path: {"concepts": f"word_lists,path={path}"}),
        ("concept_erasure", lambda path: {"dataset": {"name": "word_lists", "options": {"path": path}}}),
    ],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_no_file_that_an_option_names_is_read(
    board, forge, monkeypatch, tmp_path, evaluator, config, absolute
):
    """Not by the plugin, and not by the check of its options either, which hashes such a file."""
    there = tmp_path / "words.yaml"
    there.write_text("colours: {red: [red], blue: [blue]}")
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(pinned.api, "file_hash", opened.append)
    path, verdict = of(board, forge, evaluator, config(str(there) if absolute else there.name))
    findings = [each.reason for each in check(board, host())[1] if each.file == str(path.relative_to(board))]

    assert (verdict.outcome, verdict.said.partition(" would ")[2]) == (
        "not recomputed",
        "read files of the machine",
    )
    assert any("is a path, which only its owner's machine has" in reason for reason in findings)
    assert opened == []


def test_a_model_is_the_hubs_where_a_folder_has_its_name(board, forge, monkeypatch, tmp_path):
    """A submission's folder OWNER__X/Y is a valid name of a Hub model; what lies in it is not loaded."""
    copytree(embedded_path("demo:model"), tmp_path / "own__evil" / "abc")
    monkeypatch.chdir(tmp_path)
    asked = []

    def offline(name, **options):
        asked.append((name, options["revision"], os.environ["HF_HUB_OFFLINE"]))
        message = "no network"
        raise ConnectionError(message)

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    path = forge.row(board)
    forge.edit(path, lambda raw: raw["cache"]["model"].update(name="own__evil/abc", fingerprint="a" * 40))
    rows = [row for row in read_board(board).rows if row.file == str(path.relative_to(board))]

    [verdict] = audit(rows, host(), 1, 0)

    assert find_model(ModelSpec(name="own__evil/abc")).folder == tmp_path / "own__evil" / "abc"
    assert asked == [("own__evil/abc", "a" * 40, "1")]
    assert verdict.outcome == "not recomputed"
    assert "As a Hub model own__evil/abc cannot be had: no network" in verdict.said


@pytest.mark.slow
def test_an_audit_downloads_nothing(made, tmp_path, server):
    """A model that is on no disk is not fetched: a row could name one of any size, anywhere on the Hub."""
    url, came = server
    board = tmp_path / "results"
    assert submit(made, "eve", board, host(), stated=Stated(licence="MIT", model="eve/huge")).findings == []
    variables = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "darkmatter.cli.main", "leaderboard", "audit", str(board)]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_")
    } | variables
    done = subprocess.run(command, env=environment, capture_output=True, text=True)

    assert "As a Hub model eve/huge cannot be had" in done.stdout, done.stderr
    assert came == []
    assert done.returncode == 1
    assert "No row was made again, which is no pass" in done.stderr


@pytest.mark.parametrize("kind", CONFIGURED)
def test_every_built_in_plugin_says_what_it_reaches_for(kind):
    """None forgets to, and what it names are options of its own."""
    for name, owned in host().owned(kind).items():
        described = owned.descriptor
        assert described.reaches is not None, name
        options = {reach.option for reach in described.reaches} - {None}
        assert options <= described.config.model_fields.keys(), name


def test_options_that_look_like_paths_are_declared():
    """An option described as a file, a folder or a server is something that its plugin reaches for."""
    telling = ("file", "folder", "server", "url", "director", "path")
    for kind in CONFIGURED:
        for name, owned in host().owned(kind).items():
            described = owned.descriptor
            declared = {reach.option for reach in described.reaches}
            for option, field in described.config.model_fields.items():
                words = f"{option} {field.description}".lower().replace("hash of the file", "")
                words = words.replace("hash of that file", "")
                if any(word in words for word in telling):
                    assert declared & {option, None}, f"{name}.{option}"


class PathConfig(api.Config):
    """An option with a default."""

    labels: str | None = "labels.json"


def owned(reaches):
    """A stranger's dataset plugin."""
    described = api.Dataset(
        "theirs", "A test.", "nowhere:make", config=PathConfig, gives="concepts", reaches=reaches
    )
    return replace(host().get("datasets", "ioi"), descriptor=described, distribution="theirs")


def test_a_plugin_that_says_nothing_is_not_run():
    """The author of a plugin alone knows what it does; silence is not a promise."""
    with pytest.raises(ItemError, match=r"theirs/theirs does not say what it reaches for"):
        refuse_reaching(owned(None), {})
    refuse_reaching(owned(()), {"labels": "x"})


@pytest.mark.parametrize("options", [{}, {"labels": "x"}])
def test_a_default_counts_and_null_does_not(options):
    """An option that is left out has its default; one that is null is not given."""
    reaches = owned((api.Reach("files", option="labels"),))

    refuse_reaching(reaches, {"labels": None})
    refuse_files(reaches, {"labels": None})
    with pytest.raises(ItemError, match="would read files"):
        refuse_reaching(reaches, options)
    with pytest.raises(ItemError, match="is a path"):
        refuse_files(reaches, options)


def test_an_option_that_there_is_not_is_taken_for_given():
    """A declaration with a slip in it errs on the safe side."""
    with pytest.raises(ItemError, match="would use a network"):
        refuse_reaching(owned((api.Reach("network", option="lables"),)), {"labels": None})
