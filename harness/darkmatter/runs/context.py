"""The evaluator's side of a run: the concrete ``darkmatter.api.EvalContext``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from darkmatter.descriptors import Evaluator
from darkmatter.evaluation import CollectorSpec, PassInfo, Rows
from darkmatter.output import EvalOutput
from darkmatter.sae.base import SAE
from darkmatter.stats.resample import Resampler
from darkmatter.stream.passes import Encoded, StreamSettings, collect_again


@dataclass
class Context:
    """One SAE after the shared pass, seen by one evaluator."""

    sae_name: str
    hook: str
    seed: int
    evaluator: Evaluator
    settings: StreamSettings
    encoded: Encoded
    resampler: Resampler

    @property
    def sae(self) -> SAE:
        """The SAE."""
        return self.encoded.sae

    @property
    def info(self) -> PassInfo:
        """Sizes, and the statistics of the inputs."""
        return self.encoded.info

    @property
    def n_train(self) -> int:
        """Training rows."""
        return self.settings.selection.count("train")

    @property
    def n_test(self) -> int:
        """Held-out rows."""
        return self.settings.selection.count("test")

    @property
    def unit_kind(self) -> str:
        """The resampling unit, in the plural."""
        return self.settings.selection.unit_kind

    def collected(self, spec: CollectorSpec) -> Any:
        """What a collector found in the shared pass."""
        return self.encoded.collected(spec)

    def collect(self, specs: Sequence[CollectorSpec], rows: Rows) -> list[Any]:
        """Another pass over one side's rows; nothing is encoded again."""
        return collect_again(self.settings, self.encoded, specs, rows)

    def output(self) -> EvalOutput:
        """A fresh output."""
        return EvalOutput(self.evaluator, self.resampler, self.n_test)
