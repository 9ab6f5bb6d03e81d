"""The hooks that a plugin may implement.

All of them collect: a plugin returns descriptors and the host owns naming, conflicts, ordering,
isolation and provenance. None is ``firstresult``, because then the order of installation would
decide. See ``docs/plugins.md`` for a worked example of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from darkmatter.descriptors import (
        ActivationSource,
        Baseline,
        Dataset,
        EmbeddedSuite,
        Evaluator,
        Figure,
        Reporter,
        SAEAdapter,
        SAECatalogue,
        Simulator,
    )
    from darkmatter.events import RunEvent

GROUP = "darkmatter"
"""Entry-point group, plugin-manager name and hook marker name."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def darkmatter_sae_adapters() -> Iterable[SAEAdapter]:
    """Readers of SAE files."""
    raise NotImplementedError


@hookspec
def darkmatter_sae_catalogues() -> Iterable[SAECatalogue]:
    """Lists of published SAEs, whose entries are used like references: ``NAME:ENTRY``."""
    raise NotImplementedError


@hookspec
def darkmatter_evaluators() -> Iterable[Evaluator]:
    """Measurements of SAEs."""
    raise NotImplementedError


@hookspec
def darkmatter_baselines() -> Iterable[Baseline]:
    """Controls, fitted on training rows, used like SAEs through ``baseline:NAME,field=value``."""
    raise NotImplementedError


@hookspec
def darkmatter_activation_sources() -> Iterable[ActivationSource]:
    """Providers of activations: models and files."""
    raise NotImplementedError


@hookspec
def darkmatter_reporters() -> Iterable[Reporter]:
    """Renderers of tables."""
    raise NotImplementedError


@hookspec
def darkmatter_datasets() -> Iterable[Dataset]:
    """Prompts and words with a known meaning, chosen by evaluators' options."""
    raise NotImplementedError


@hookspec
def darkmatter_simulators() -> Iterable[Simulator]:
    """What predicts activations from text, chosen by the options of ``autointerp``."""
    raise NotImplementedError


@hookspec
def darkmatter_figures() -> Iterable[Figure]:
    """Pictures of results, for ``darkmatter plot``."""
    raise NotImplementedError


@hookspec
def darkmatter_suites() -> Iterable[EmbeddedSuite]:
    """Suites that come ready to run; ``darkmatter demo`` runs the one called ``demo``."""
    raise NotImplementedError


@hookspec
def darkmatter_run_event(event: RunEvent) -> None:
    """Observe a run; whatever it raises is logged and never breaks the run."""
