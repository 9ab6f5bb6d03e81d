"""``darkmatter fetch`` against a stand-in of the hub."""

from __future__ import annotations

import hashlib
import json

import pytest

from darkmatter.fetching.record import read_record
from darkmatter.sae.load import load_sae


def test_a_branch_is_resolved_to_a_commit_and_loads(hub, darkmatter, sample, cache):
    """What a reference without a revision names is pinned, recorded with hashes, and usable."""
    files = sample("sae_lens/standard", "run/layer_7/") | {"run/README.md": b"hello"}
    commit = hub.repository("org/saes", files).names["main"]
    done = darkmatter("fetch", "hf:org/saes/run/layer_7")

    assert done.returncode == 0, done.stderr
    assert commit[:12] in done.stdout
    record = read_record("hf:org/saes/run/layer_7")
    assert record.commit == commit
    weights = "run/layer_7/sae_weights.safetensors"
    assert record.files[weights].sha256 == hashlib.sha256(files[weights]).hexdigest()
    assert "run/README.md" not in record.files
    sae = load_sae("hf:org/saes/run/layer_7")
    assert sae.metadata.extra["source"]["commit"] == commit
    assert sae.metadata.extra["source"]["files"][weights] == record.files[weights].sha256
