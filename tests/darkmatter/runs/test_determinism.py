"""Numbers do not depend on how the work was cut up."""

from __future__ import annotations

import json

import pytest
import torch

import darkmatter as dm
from darkmatter import shards
from darkmatter.sae.activation import TopK
from darkmatter.sae.canonical import CanonicalSAE


def activations() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(120, 50, 16, generator=generator) * torch.linspace(0.2, 3, 16) + 1


def topk_sae() -> CanonicalSAE:
    generator = torch.Generator().manual_seed(4)
    decoder = torch.randn(64, 16, generator=generator)
    return CanonicalSAE(W_enc=decoder.T.contiguous(), W_dec=0.1 * decoder, activation=TopK(5))


def evaluated(**options) -> list[dict]:
    saes = {"topk": topk_sae(), "relu": dm.SAE.from_functions(torch.relu, lambda c: c, d_in=16, d_sae=16)}
    results = dm.evaluate({**saes, "pca": "baseline:pca,k=4"}, activations=activations(), **options)
    kept = []
    for result in results:
        raw = result.model_dump(mode="json", exclude={"timings"})
        # Functions are known by what they did, which float32 rounds differently by shape.
        kept.append({key: raw[key] for key in ("sae", "evaluator", "metrics", "tables", "curves", "key")})
    return kept


def values(results: list[dict]) -> dict[tuple[str, str], float]:
    return {
        (result["sae"]["name"], metric["name"]): metric["value"]
        for result in results
        for metric in result["metrics"]
        if metric["value"] is not None
    }


@pytest.fixture(scope="module")
def reference() -> list[dict]:
    return evaluated(jobs=1)


@pytest.mark.parametrize("jobs", [2, 5])
def test_any_number_of_workers_gives_the_same_bytes(reference, jobs, monkeypatch):
    """Statistics are reduced in shard order, so workers change nothing at all."""
    monkeypatch.setattr(shards, "SHARD_TOKENS", 700)
    one = evaluated(jobs=1)

    assert json.dumps(evaluated(jobs=jobs), sort_keys=True) == json.dumps(one, sort_keys=True)


def test_the_same_call_twice_gives_the_same_bytes(reference):
    """Every random choice has a seed."""
    assert json.dumps(evaluated(jobs=1), sort_keys=True) == json.dumps(reference, sort_keys=True)


@pytest.mark.parametrize("chunk_rows", [7, 512, 4096])
def test_chunk_size_moves_values_by_no_more_than_rounding(reference, chunk_rows):
    """float32 kernels round differently by shape; supports are decided in float64 where it matters."""
    expected, seen = values(reference), values(evaluated(chunk_rows=chunk_rows))

    assert seen.keys() == expected.keys()
    for name, value in expected.items():
        assert seen[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("tokens", [50, 333, 100_000])
def test_shard_size_moves_values_by_no_more_than_rounding(reference, tokens, monkeypatch):
    """Shards only say where sums are cut."""
    monkeypatch.setattr(shards, "SHARD_TOKENS", tokens)
    expected, seen = values(reference), values(evaluated())

    assert seen.keys() == expected.keys()
    for name, value in expected.items():
        assert seen[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_another_seed_is_another_result(reference):
    """The seed is part of the key, and moves the split."""
    other = evaluated(seed=1)

    assert {r["key"] for r in other}.isdisjoint({r["key"] for r in reference})
    assert values(other)[("topk", "fvu")] != values(reference)[("topk", "fvu")]


def test_sae_functions_see_only_rows_and_inputs_stay_untouched():
    """A user's function gets [n, d_in] rows and cannot change the activations under the others."""
    seen = []

    def encode(rows):
        seen.append(tuple(rows.shape))
        rows += 1
        return rows

    x = activations()
    before = x.clone()
    sae = dm.SAE.from_functions(encode, lambda c: c - 1, d_in=16, d_sae=16)
    results = dm.evaluate({"sae": sae}, activations=x, evaluators=["reconstruction"])

    assert torch.equal(x, before)
    assert sum(n for n, _ in seen) == 6000
    assert {d for _, d in seen} == {16}
    assert results.to_pandas().set_index("metric").value["fvu"] < 1e-12
