"""An evaluator that only looks: it shows whether another one changed what all of them share."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import xxhash

from darkmatter.descriptors import Config, Evaluator, Metric
from darkmatter.errors import ItemError
from darkmatter.evaluation import Chunk, CollectorSpec, EvalContext, PassInfo, Rows
from darkmatter.output import EvalOutput


def witness(seen: dict[str, str]) -> Evaluator:
    """The witness; after a run ``seen`` holds a hash of all it was shown, by SAE."""
    return Evaluator(
        name="witness",
        summary="Hashes what it is shown.",
        implementation=lambda _config: _Witness(seen),
        config=Config,
        metrics=(Metric("rows", "rows seen", low=0),),
    )


class _Witness:
    def __init__(self, seen: dict[str, str]) -> None:
        self._seen = seen

    def collectors(self) -> Sequence[CollectorSpec]:
        return (_Digest(),)

    def run(self, ctx: EvalContext) -> EvalOutput:
        digest: _DigestCollector = ctx.collected(_Digest())
        train = ctx.info.inputs.train
        for moment in (train.mean, train.cxx, ctx.info.inputs.mean_target):
            digest.hash(moment)
        if ctx.sae.W_dec is not None:
            digest.hash(ctx.sae.W_dec)
        self._seen[ctx.sae_name] = digest.state.hexdigest()
        out = ctx.output()
        out.plain("rows", float(digest.rows), why_no_interval="it is a count")
        return out


@dataclass(frozen=True)
class _Digest:
    def start(self, info: PassInfo) -> _DigestCollector:
        del info
        return _DigestCollector()


@dataclass
class _DigestCollector:
    rows: int = 0
    state: xxhash.xxh3_128 = field(default_factory=xxhash.xxh3_128)

    def hash(self, tensor: torch.Tensor) -> None:
        self.state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def update(self, chunk: Chunk, rows: Rows) -> None:
        self.state.update(rows.encode())
        self.rows += len(chunk.x)
        shown = [chunk.x, chunk.target, *chunk.x_centred]
        with contextlib.suppress(ItemError):  # of an SAE that has codes alone
            shown += [chunk.reconstruction, chunk.error]
        shown += [chunk.codes.values, chunk.codes.indices, chunk.codes.offsets, chunk.unit, chunk.position]
        shown += [side for side in (chunk.tokens, chunk.loss, chunk.labels) if side is not None]
        for tensor in shown:
            self.hash(tensor)

    def merge(self, other: _DigestCollector) -> None:
        self.state.update(other.state.digest())
        self.rows += other.rows

    def finish(self) -> _DigestCollector:
        return self
