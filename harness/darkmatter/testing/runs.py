"""Run an evaluator that need not be installed, through the same engine as every run."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from darkmatter.descriptors import Config, Evaluator
from darkmatter.offers import Owned
from darkmatter.plugins import PluginHost
from darkmatter.plugins import host as installed
from darkmatter.progress import Progress
from darkmatter.results.reading import StoredResult
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.chosen import Chosen, with_full_choices
from darkmatter.runs.controls import ControlPolicy
from darkmatter.runs.items import SAEItem
from darkmatter.runs.job import make_engine
from darkmatter.sae.base import SAE
from darkmatter.testing.rules import refuse
from darkmatter.testing.synthetic import synthetic_store

Chosens = Sequence[tuple[Evaluator, Config]]


def run_evaluators(
    chosen: Chosens,
    tensors: dict[str, Tensor],
    saes: Mapping[str, SAE],
    *,
    jobs: int = 1,
    chunk_rows: int = 4096,
) -> dict[tuple[str, str], StoredResult]:
    """Results by (SAE, evaluator), in memory; an exception in an evaluator is a broken rule."""
    tracebacks: list[str] = []
    engine = make_engine(
        synthetic_store(tensors),
        Analysis(seed=0, chunk_rows=chunk_rows),
        [_chosen(evaluator, config, tracebacks) for evaluator, config in chosen],
        host=PluginHost(),
        results=None,
        jobs=jobs,
        progress=Progress(),
    )
    items = [SAEItem(name, f"synthetic:{name}", _giver(sae)) for name, sae in saes.items()]
    found = engine.run(items, [], ControlPolicy(automatic=False)).stored
    for failure in engine.recorder.failures:
        refuse(
            "An evaluator gives a result for every SAE; what has no value is undefined with a reason.",
            f"on {failure.sae} it raised {failure.reason}\n" + "\n".join(tracebacks[:1]),
            "out.undefined(name, reason) where there is no value; declare what must be there in `requires`.",
        )
    return {(each.result.sae.name, each.result.evaluator.name): each for each in found}


def _chosen(evaluator: Evaluator, config: Config, tracebacks: list[str]) -> Chosen:
    """The evaluator as it is, but tracebacks are kept."""

    def make(settings: Config) -> Any:
        return _Recorded(evaluator.resolve()(settings), tracebacks)

    recorded = dataclasses.replace(evaluator, implementation=make)
    # What its options name is installed, whether or not the evaluator itself is.
    config, uses = with_full_choices(config, installed(), f"evaluator {evaluator.name!r}")
    return Chosen(Owned(recorded, "testing", "testing", "0"), config, uses=uses)


class _Recorded:
    """An evaluator's implementation whose exceptions leave a traceback."""

    def __init__(self, inner: Any, tracebacks: list[str]) -> None:
        self._inner, self._tracebacks = inner, tracebacks

    def run(self, ctx: Any) -> Any:
        """Run; keep the traceback of what is raised."""
        try:
            return self._inner.run(ctx)
        except Exception:
            self._tracebacks.append(traceback.format_exc())
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _giver(sae: SAE) -> Any:
    return lambda: sae
