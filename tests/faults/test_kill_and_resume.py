"""A run killed at any instant and started again ends with the bytes of one that was not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

DRIVER = """
import os, signal, sys
point, count = sys.argv[1], int(sys.argv[2])
left = [count]
def kill_at(name):
    if name == point:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL if sys.argv[3] == "KILL" else signal.SIGINT)
import darkmatter.results.store as store
import darkmatter.stream.spool as spool
real_bytes, real_json, real_append = store.write_bytes, store.write_json, spool.ShardSpool.append
def write_bytes(path, data):
    kill_at("before sidecar"); real_bytes(path, data); kill_at("after sidecar")
def write_json(path, value):
    kill_at("before commit"); real_json(path, value); kill_at("after commit")
def append(self, *arguments):
    real_append(self, *arguments); kill_at("mid pass")
store.write_bytes, store.write_json, spool.ShardSpool.append = write_bytes, write_json, append
from darkmatter.cli.main import main
# Who starts the tests in the background hands Ctrl-C down as ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[4:]))
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    generator = torch.Generator().manual_seed(0)
    path = tmp_path / "acts.safetensors"
    save_file({"x": torch.randn(60, 400, 8, generator=generator)}, str(path))
    saes = [
        "--sae",
        "pca=baseline:pca,k=3",
        "--sae",
        "relu=baseline:identity_relu",
        "--sae",
        "n=baseline:noise",
    ]
    return ["run", "--activations", str(path), *saes, "--jobs", "2"]


def run(point: str, count: int, how: str, arguments: list[str], out: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", DRIVER, point, str(count), how, *arguments, "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def content(out: Path) -> dict[str, object]:
    """Every file of a results folder; JSON without timings, the rest as bytes."""
    found: dict[str, object] = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file() and not p.name.startswith(".")):
        name = str(path.relative_to(out))
        if path.suffix == ".json":
            found[name] = {k: v for k, v in json.loads(path.read_text()).items() if k != "timings"}
        else:
            found[name] = path.read_bytes()
    return found


POINTS = [
    ("mid pass", 3),
    ("before sidecar", 1),
    ("after sidecar", 2),
    ("before commit", 3),
    ("after commit", 1),
    ("after commit", 5),
]


@pytest.mark.slow
@pytest.mark.parametrize(("point", "count"), POINTS)
def test_sigkill_then_resume_gives_the_bytes_of_an_uninterrupted_run(arguments, tmp_path, point, count):
    """Results are whole or absent, what was finished is reused, and the rest is made the same."""
    whole = run("never", 1, "KILL", arguments, tmp_path / "whole")
    killed = run(point, count, "KILL", arguments, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.json")}
    resumed = run("never", 1, "KILL", arguments, tmp_path / "out")

    assert whole.returncode == 0, whole.stderr
    assert killed.returncode == -signal.SIGKILL
    assert resumed.returncode == 0, resumed.stderr
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert all(p.stat().st_mtime_ns == at for p, at in before.items()), "finished work was done again"
    assert resumed.stdout == whole.stdout


@pytest.mark.slow
def test_interrupt_keeps_finished_work_and_exits_130(arguments, tmp_path):
    """Ctrl-C in the middle of writing results stops cleanly; the same command goes on."""
    stopped = run("after commit", 2, "INT", arguments, tmp_path / "out")
    resumed = run("never", 1, "KILL", arguments, tmp_path / "out")

    assert stopped.returncode == 130, stopped.stderr
    assert "interrupted" in stopped.stderr
    assert len(list((tmp_path / "out").rglob("*.json"))) >= 9
    assert "reused" in resumed.stderr
    assert not list((tmp_path / "out").glob("darkmatter-scratch-*"))
