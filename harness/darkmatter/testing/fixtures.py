"""Fixtures for the tests of plugins: ``pytest_plugins = ["darkmatter.testing.fixtures"]``."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from torch import Tensor

    from darkmatter.sae.base import SAE


class Finished(NamedTuple):
    """What a command did."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def activations() -> Tensor:
    """Seeded activations [36 contexts, 12 positions, 8] float32 with a planted structure."""
    from darkmatter.testing.synthetic import synthetic_activations

    return synthetic_activations()["x"]


@pytest.fixture
def tiny_sae(activations: Tensor) -> SAE:
    """A TopK SAE (k = 3) with 20 latents, made for ``activations``; its weights are random."""
    from darkmatter.testing.synthetic import synthetic_saes

    return synthetic_saes(activations)["topk"]


@pytest.fixture
def run_cli() -> Callable[..., Finished]:
    """``run_cli("list", "--json")`` runs the command in this process: exit status, stdout, stderr."""
    from darkmatter import plugins
    from darkmatter.cli.main import main

    def run(*arguments: object) -> Finished:
        out, err = io.StringIO(), io.StringIO()
        with plugins.block_restored(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([str(argument) for argument in arguments])
        return Finished(status, out.getvalue(), err.getvalue())

    return run
