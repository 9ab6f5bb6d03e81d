"""A small real leaderboard: two embedded SAEs, their family and their controls, on little text."""

from __future__ import annotations

import json
import shutil
import subprocess
from types import SimpleNamespace

import pytest
import xxhash

import darkmatter as dm
from darkmatter.leaderboard import row_rules
from darkmatter.leaderboard.check import check
from darkmatter.leaderboard.submit import Stated, submit
from darkmatter.plugins import host
from darkmatter.results.reading import read_result, result_checksum
from darkmatter.runs.chosen import choose_evaluators

SAES = ("topk-w256-k16", "topk-w512-k16")
TEXT = {"path": "demo:stories", "context_length": 64, "contexts": 60}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A results folder, as a run leaves it."""
    out = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKMATTER_CACHE", str(tmp_path_factory.mktemp("cache")))
        dm.run(
            model="demo:model",
            text=TEXT,
            saes={name: f"demo:{name}" for name in SAES},
            evaluators=["reconstruction", "error_scaling"],
            out=out,
            jobs=1,
        )
    return out


@pytest.fixture(scope="session")
def submitted(made, tmp_path_factory):
    """The leaderboard that a submission of it makes; not to be changed."""
    folder = tmp_path_factory.mktemp("board") / "results"
    done = submit(made, "Alice", folder, host(), stated=Stated(licence="MIT"))
    assert done.findings == []
    assert done.left_out == []
    return folder


@pytest.fixture
def board(submitted, tmp_path):
    """A copy of it, below a folder that may become a git repository."""
    return shutil.copytree(submitted, tmp_path / "repo" / "results")


def row(board, sae="topk-w256-k16", evaluator="reconstruction"):
    """The file of one row."""
    [path] = [path for path in board.glob(f"**/{evaluator}@*/*.json") if path.parts[-4].endswith(sae)]
    return path


def sidecar(path):
    """The sidecar of a row."""
    return path.with_name(f"{path.stem}.units.safetensors")


def edit(path, change, *, seal=True):
    """Change a row's JSON; a careful forger makes its checksum and its sidecar's hash fit again."""
    raw = json.loads(path.read_text())
    change(raw)
    if seal:
        if raw.get("units") and sidecar(path).is_file():
            raw["units"]["file"] = sidecar(path).name
            raw["units"]["xxh3"] = xxhash.xxh3_128_hexdigest(sidecar(path).read_bytes())
        raw["checksum"] = result_checksum(raw)
    path.write_text(json.dumps(raw))


def metric(raw, name):
    """One metric of a row's JSON."""
    return next(each for each in raw["metrics"] if each["name"] == name)


def moved(path, change):
    """Change a row's JSON and what its key is made of; a careful forger moves it to where it then belongs."""
    edit(path, change)
    result = read_result(path).result
    chosen = choose_evaluators(host(), {f"sae-darkmatter/{result.evaluator.name}": result.config})[0]
    key = row_rules._expected_key(result, chosen)
    there = path.with_name(f"{key}.json")
    sidecar(path).rename(sidecar(there))
    path.rename(there)
    edit(there, lambda raw: raw.update(key=key))
    return there


def faults(board, path):
    """What `check` says of one file."""
    _, findings = check(board, host())
    return [each.reason for each in findings if each.file == str(path.relative_to(board))]


def git(folder, *arguments):
    """Git, as nobody in particular."""
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "core.hooksPath=/dev/null")
    done = subprocess.run(["git", *who, "-C", str(folder), *arguments], capture_output=True, check=True)
    return done.stdout.decode()


def commit(folder, message="c"):
    """Everything as a commit; the first one makes the repository."""
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)


@pytest.fixture
def forge():
    """What a forger has at hand."""
    tools = {tool.__name__: tool for tool in (row, sidecar, edit, moved, faults, metric, git, commit)}
    return SimpleNamespace(**tools)
