"""The example plugin, built, installed and used as a stranger's would be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
GOOD, BROKEN = HERE / "example_plugin", HERE / "example_plugin_broken"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which the wheels of the example and of its broken sibling are installed."""
    folder = tmp_path_factory.mktemp("example")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "wheels", GOOD, BROKEN]
    subprocess.run(wheel, check=True)
    wheels = sorted((folder / "wheels").glob("*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", *wheels], check=True)
    return folder / "site"


@pytest.fixture
def python(installed, tmp_path):
    """Runs Python where both plugins are installed, in an empty working directory."""

    def run(*arguments, **environment):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("DARKMATTER_")}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**inherited, "PYTHONPATH": str(installed), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def darkmatter(python):
    """Runs the command there."""
    return lambda *arguments, **env: python("-m", "darkmatter.cli.main", *arguments, **env)


def test_a_broken_plugin_is_listed_beside_the_working_ones(darkmatter):
    """`plugins` exits 0 and shows the traceback of the one that cannot be imported."""
    done = darkmatter("plugins", "--json")
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert {name: entry["status"] for name, entry in found.items()} == {
        "builtin": "loaded",
        "example": "loaded",
        "broken": "failed",
    }
    assert "a_module_that_does_not_exist" in found["broken"]["traceback"]
    assert len(found["example"]["hooks"]) == 11


def test_what_the_plugin_brings_is_listed_and_described(darkmatter):
    """Its objects stand beside the built-in ones and say where they come from."""
    done = darkmatter("list", "--json")
    assert done.returncode == 0, done.stderr
    brought = {
        kind: [offer["name"] for offer in offers if offer["distribution"] == "darkmatter-example"]
        for kind, offers in json.loads(done.stdout).items()
    }
    assert {kind: names for kind, names in brought.items() if names} == {
        "adapters": ["toysae"],
        "evaluators": ["code_concentration"],
        "baselines": ["coordinates"],
        "sources": ["recorded"],
        "reporters": ["tsv"],
        "catalogues": ["toys"],
        "figures": ["concentration_dots"],
        "datasets": ["opposites"],
        "simulators": ["guess"],
        "suites": ["example"],
    }
    done = darkmatter("describe", "darkmatter-example/code_concentration")
    assert "top_share" in done.stdout
    assert "how many of the largest codes count" in done.stdout


def test_its_suite_runs_with_its_adapter_baseline_evaluator_reporter_and_figure(darkmatter, tmp_path):
    """The whole way: an SAE in its format, its control, its measurement, its table, its picture."""
    done = darkmatter("demo", "--suite", "example", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "top_share" in done.stdout
    done = darkmatter("table", tmp_path / "out", "--format", "tsv")
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    shares = {row["sae"]: row for row in rows if row["metric"] == "top_share"}
    assert 0.25 <= float(shares["toy"]["value"]) <= 1
    assert "coordinates" in shares
    done = darkmatter("plot", tmp_path / "out", "--figures", "concentration_dots", "--format", "svg")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "plots").glob("concentration_dots*.svg"))) == 1


def test_its_source_feeds_a_suite(python, tmp_path):
    """Recorded activations of two hook points, evaluated without any model."""
    for layer in (0, 1):
        x = torch.randn(20, 6, 4, generator=torch.Generator().manual_seed(layer))
        save_file({"x": x}, tmp_path / f"blocks.{layer}.hook_resid_post.safetensors")
    program = """
import darkmatter as dm
found = dm.run(model={"name": ".", "provider": "recorded"}, text="unused.txt",
    hooks=["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"],
    saes={"keep": "baseline:coordinates,k=4"}, evaluators=["reconstruction"], controls=False)
print(sorted({row["hook"] for row in found.rows()}))
"""
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['blocks.0.hook_resid_post', 'blocks.1.hook_resid_post']"


def test_strict_mode_refuses_to_go_on(darkmatter):
    """CI and authors get the error itself."""
    done = darkmatter("list", DARKMATTER_STRICT_PLUGINS="1")
    assert done.returncode == 1
    assert "plugin 'broken' of darkmatter-example-broken 0.1.0 failed" in done.stderr


def test_plugins_can_be_switched_off(darkmatter):
    """By name on the command line, or all of them by an empty allow-list; built-ins stay."""
    blocked = darkmatter("-p", "no:broken", "plugins", "--json", DARKMATTER_STRICT_PLUGINS="1")
    assert [entry["name"] for entry in json.loads(blocked.stdout)] == ["builtin", "example"]
    alone = darkmatter("plugins", "--json", DARKMATTER_PLUGINS="")
    assert [entry["name"] for entry in json.loads(alone.stdout)] == ["builtin"]


def test_the_examples_own_tests_pass(python):
    """What a stranger copies passes where it is installed."""
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", GOOD, DARKMATTER_PLUGINS="example")
    assert done.returncode == 0, done.stdout[-3000:]
