"""``darkmatter convert`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
SCALED = SAMPLES / "sae_lens" / "standard_expected_average" / "sae"


def fingerprint(call, place) -> str:
    return json.loads(call("inspect", place, "--json")[1])["fingerprint"]


def test_what_is_written_is_the_same_sae(call, tmp_path):
    """The two files are read by inspect as the same SAE, and say where it came from."""
    sample = SAMPLES / "sae_lens" / "gated" / "sae"
    status, out, err = call("convert", sample, tmp_path / "out")

    assert (status, err) == (0, "")
    assert f"fingerprint {fingerprint(call, sample)}" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "darkmatter.json",
        "darkmatter.safetensors",
    ]
    found = json.loads(call("inspect", tmp_path / "out", "--json")[1])
    assert (found["adapter"], found["fingerprint"]) == ("darkmatter", fingerprint(call, sample))
    assert found["metadata"]["extra"]["converted_from"] == {"reference": str(sample), "format": "saelens"}


def test_what_is_stated_is_written(call, tmp_path):
    """An override becomes part of the SAE, and stays on record."""
    status, out, _ = call("convert", SCALED, tmp_path / "out", "--override", "norm_factor=0.3")

    assert status == 0
    assert "norm_factor 0.3 was given by the user" in out
    found = json.loads(call("inspect", tmp_path / "out", "--json")[1])
    assert found["settings"]["normalisation"]["factor"] == 0.3
    assert found["overrides"] == {"norm_factor": 0.3}


def test_earlier_files_are_replaced_only_by_force(call, tmp_path):
    """A second SAE goes over the first only with --force."""
    call("convert", SCALED, tmp_path / "out")
    other = SAMPLES / "sae_lens" / "gated" / "sae"
    status, out, err = call("convert", other, tmp_path / "out")
    assert (status, out) == (2, "")
    assert "is not empty" in err
    assert fingerprint(call, tmp_path / "out") == fingerprint(call, SCALED)

    assert call("convert", other, tmp_path / "out", "--force")[0] == 0
    assert fingerprint(call, tmp_path / "out") == fingerprint(call, other)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (SAMPLES / "sae_lens" / "matching_pursuit" / "sae", "matching_pursuit (MatchingPursuitSAE) has no"),
        (SAMPLES / "sae_lens" / "nothing", "there is no such file"),
    ],
)
def test_what_cannot_be_converted_fails_plainly(call, tmp_path, place, message):
    """Exit status 1, one reason, and no folder."""
    status, out, err = call("convert", place, tmp_path / "out")

    assert (status, out) == (1, "")
    assert message in err
    assert "unexpected" not in err
    assert not (tmp_path / "out").exists()


def test_the_adapter_can_be_named(call, tmp_path):
    """--adapter reads it with that reader, and names the nearest where there is none."""
    status, _, err = call("convert", SCALED, tmp_path / "out", "--adapter", "saelen")

    assert status == 2
    assert "Did you mean 'saelens'" in err
