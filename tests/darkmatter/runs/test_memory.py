"""Memory is bounded by chunks and statistics, not by the number of tokens."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
import sys, threading, time
def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
import torch, pandas, scipy.linalg, sklearn
import darkmatter as dm
from darkmatter.sae.activation import TopK
from darkmatter.sae.canonical import CanonicalSAE
base, peak, running = anonymous(), [0], [True]
def watch():
    while running[0]:
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.02)
watcher = threading.Thread(target=watch); watcher.start()
from darkmatter.plugins import host
from darkmatter.progress import Progress
from darkmatter.raw_activations import open_activations_file
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.choosing import choose_evaluators
from darkmatter.runs.job import make_engine
from pathlib import Path
def sae(seed):
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(4096, 512, generator=g); w /= w.norm(dim=1, keepdim=True)
    return CanonicalSAE(W_enc=w.T.contiguous(), W_dec=w, activation=TopK(32))
store = open_activations_file(Path(sys.argv[1]))
engine = make_engine(store, Analysis(), choose_evaluators(host(), {"reconstruction": {}, "density": {},
    "error_decomposition": {}}), host=host(), results=None, jobs=2, progress=Progress())
saes = [SAEItem(str(i), "seeded", lambda i=i: sae(i)) for i in range(4)]
results = engine.run(saes, [], ControlPolicy(automatic=False))
running[0] = False; watcher.join()
assert not engine.recorder.failures, engine.recorder.failures
print(peak[0] - base, len(results))
"""


def write_activations(path: Path, n_contexts: int, positions: int, d: int) -> None:
    """A safetensors file of pseudo-random activations, written a block at a time."""
    size = n_contexts * positions * d * 4
    entry = {"x": {"dtype": "F32", "shape": [n_contexts, positions, d], "data_offsets": [0, size]}}
    header = json.dumps(entry).encode()
    header += b" " * (-len(header) % 8)
    block = np.random.default_rng(0).standard_normal((500, positions, d), dtype=np.float32)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for start in range(0, n_contexts, 500):
            file.write((block[: n_contexts - start] * np.float32(1 + start / n_contexts)).tobytes())


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's RssAnon")
def test_two_million_tokens_stay_below_two_gigabytes(tmp_path):
    """2 M tokens at d = 512 and four SAEs of width 4096 peak below 2 GB above the libraries' own."""
    path = tmp_path / "acts.safetensors"
    write_activations(path, 7813, 256, 512)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, timeout=2300
    )

    assert done.returncode == 0, done.stderr
    peak, n_results = map(int, done.stdout.split())
    print(f"peak anonymous memory above the libraries: {peak / 1e9:.2f} GB")
    assert n_results == 12
    assert peak < 2e9
