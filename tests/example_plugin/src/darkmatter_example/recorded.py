"""The activation source `recorded`: FOLDER/<hook point>.safetensors, tensor x [contexts, positions, d].

In a suite: ``model: {name: FOLDER, provider: recorded}``; the text is what the recording was made
from and is not read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from darkmatter import api

SHARD = 64


def open_source(
    request: api.ActivationRequest, *, progress: Callable[[int, int], None]
) -> api.ActivationStore:
    """The activations at the hook points asked for."""
    folder, found = Path(request.model.name), {}
    for done, hook in enumerate(request.hooks, start=1):
        path = folder / f"{hook}.safetensors"
        if not path.is_file():
            there = ", ".join(sorted(entry.stem for entry in folder.glob("*.safetensors"))) or "nothing"
            message = f"{folder} has no recording of {hook!r}. Recorded: {there}."
            raise api.UsageError(message)
        found[hook] = path
        progress(done, len(request.hooks))
    return RecordedActivations(found)


class RecordedActivations:
    """An ``api.ActivationStore`` over recorded tensors, without tokens or losses."""

    independent_rows = False
    default_skip_first = default_skip_last = 0
    shuffled = False
    has_model = False

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._x = {hook: load_file(path)["x"] for hook, path in files.items()}
        self.hooks = tuple(self._x)
        self.n_contexts, self.n_positions, _ = self._x[self.hooks[0]].shape
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files.values()]
        # Equal keys must mean equal numbers: results are reused by it.
        self.key = hashlib.sha256("".join([*self.hooks, *digests]).encode()).hexdigest()
        self.description = {"kind": "recorded", "files": [path.name for path in files.values()]}

    def model(self) -> None:
        """Not at hand; evaluators that need one are skipped with that reason."""

    def tokenizer(self) -> None:
        """Nor this."""

    def shards(self) -> list[api.Shard]:
        """Contexts in fixed pieces: sums are reduced in this order, so it depends on nothing else."""
        starts = range(0, self.n_contexts, SHARD)
        return [
            api.Shard(number, start, min(start + SHARD, self.n_contexts))
            for number, start in enumerate(starts)
        ]

    def dim(self, hook: str) -> int:
        """Features per position."""
        return self._x[hook].shape[-1]

    def read(self, hook: str, start: int, stop: int) -> torch.Tensor:
        """Contexts ``start:stop`` [contexts, positions, d] float32."""
        return self._x[hook][start:stop].float()

    def tokens(self, start: int = 0, stop: int | None = None) -> None:
        """Not recorded; evaluators that need tokens are skipped with that reason."""

    def loss(self, start: int = 0, stop: int | None = None) -> None:
        """Not recorded."""

    def mask(self) -> None:
        """Every position counts."""

    def labels(self, start: int = 0, stop: int | None = None) -> None:
        """Not recorded."""

    def documents(self) -> None:
        """Not recorded."""
