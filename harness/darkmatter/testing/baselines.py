"""Whether a baseline gives an ordinary SAE, and the same one again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from darkmatter.descriptors import Baseline, Config
from darkmatter.fitting import FitData
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.baselines import StreamFitData
from darkmatter.runs.job import select
from darkmatter.sae.base import SAE
from darkmatter.stream.inputs import input_statistics
from darkmatter.testing.codecs import check_sae
from darkmatter.testing.rules import (
    default_config,
    descriptor_of,
    other_seed,
    require,
    undisturbed,
)
from darkmatter.testing.synthetic import synthetic_activations, synthetic_store


def check_baseline(
    baseline: Baseline | str, *, config: Config | Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """Raise AssertionError unless a baseline conforms; returns what could not be checked here.

    It is fitted on small seeded activations, must give an SAE that fits them, the same one whatever
    the global random state, and a row's reconstruction must not depend on its neighbours.

    Args:
        baseline: a descriptor, or the name of an installed one (then imports are checked too).
        config: options to check with; default: the defaults.
    """
    described = descriptor_of("baselines", baseline, Baseline)
    settings = default_config(described, config)
    x = synthetic_activations()["x"]
    with other_seed(), undisturbed(f"the baseline {described.name!r}", first=True):
        again = _fit(described, settings, x)
    with undisturbed(f"the baseline {described.name!r}"):
        made = _fit(described, settings, x)
    check_sae(made, x, f"the baseline {described.name!r}")
    rows = x.flatten(0, 1)
    require(
        torch.equal(made.reconstruct(rows), again.reconstruct(rows)),
        "The same rows and seed give the same baseline, whatever the global random state.",
        f"two fits of {described.name!r} reconstruct differently",
        "draw from a generator seeded with data.seed.",
    )
    require(
        made.hook_in == "activations",
        "A baseline is an SAE of the hook point it was fitted at.",
        f"hook_in = {made.hook_in!r}, data.hook = 'activations'",
        "pass hook_in=data.hook.",
    )
    return ()


def fit_data(x: Tensor, *, seed: int = 0) -> FitData:
    """What a baseline is given, for activations x [contexts, positions, d]."""
    store = synthetic_store({"x": x})
    hook = store.hooks[0]
    selection = select(store, Analysis(seed=seed).resolved(0, 0))
    inputs = input_statistics(
        store,
        (hook, hook),
        selection,
        chunk_rows=4096,
        jobs=1,
        device=torch.device("cpu"),
        progress=lambda _done, _total: None,
    )
    return StreamFitData(store, hook, selection, seed, inputs)


def _fit(described: Baseline, config: Config, x: Tensor) -> SAE:
    data, before = fit_data(x), x.clone()
    made = described.resolve()(config, data)
    require(
        isinstance(made, SAE),
        "A baseline gives an SAE.",
        f"{described.name!r} gave a {type(made).__name__}",
        "return darkmatter.api.CanonicalSAE(...) or SAE.from_functions(...).",
    )
    require(
        torch.equal(x, before),
        "The activations are not changed in place.",
        f"{described.name!r} changed them",
        "work on copies.",
    )
    assert isinstance(made, SAE)
    return made
