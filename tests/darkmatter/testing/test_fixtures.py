"""The fixtures that plugin authors get."""

import json

import torch

from darkmatter.plugins import host

pytest_plugins = ["darkmatter.testing.fixtures"]


def test_activations_are_seeded(activations, request):
    """Every test sees the same small activations."""
    from darkmatter.testing import synthetic_activations

    assert activations.shape == (36, 12, 8)
    assert torch.equal(activations, synthetic_activations()["x"])


def test_the_tiny_sae_fits_the_activations(tiny_sae, activations):
    """It can be used on them as it is, and three latents fire per row."""
    assert tiny_sae.reconstruct(activations).shape == activations.shape
    assert int(tiny_sae.encode(activations).l0().max()) == 3


def test_run_cli_gives_status_and_both_streams(run_cli):
    """A command runs in this process, its output captured."""
    done = run_cli("list", "evaluators", "--json")
    assert done.status == 0
    assert "reconstruction" in [entry["name"] for entry in json.loads(done.stdout)]
    wrong = run_cli("describe", "reconstructio")
    assert (wrong.status, wrong.stdout) == (2, "")
    assert "'reconstruction'" in wrong.stderr


def test_run_cli_forgets_what_it_blocked(run_cli):
    """-p no:NAME holds for one command, not for the tests after it."""
    done = run_cli("-p", "no:builtin", "plugins", "--json")
    assert "builtin" not in [entry["name"] for entry in json.loads(done.stdout)]
    assert "reconstruction" in host().evaluators()
