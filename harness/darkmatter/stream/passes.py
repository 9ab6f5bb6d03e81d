"""The shared pass over the cache, and the passes after it that read codes from the spool.

The first pass encodes every SAE once per chunk of rows, spools the codes and feeds each SAE's
collectors. Later passes (``collect_again``) serve statistics that need the result of an earlier
one, such as the error's residual after the fitted map; they decode and never encode.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import xxhash

from darkmatter.activations import ActivationStore, Shard
from darkmatter.errors import DarkmatterError, ItemError
from darkmatter.evaluation import Collector, CollectorSpec, PassInfo, Rows
from darkmatter.files.atomic import content_hash
from darkmatter.sae.base import SAE
from darkmatter.stats.regression import LinearMap
from darkmatter.stream.chunk import (
    ChunkRows,
    InputRows,
    RowSelection,
    permuted,
    read_rows,
    reconstruction_of,
)
from darkmatter.stream.shards import map_shards
from darkmatter.stream.spool import ShardSpool


@dataclass(frozen=True)
class StreamSettings:
    """Where the rows come from and how they are worked on."""

    store: ActivationStore
    hooks: tuple[str, str]
    selection: RowSelection
    chunk_rows: int
    jobs: int
    device: torch.device

    def chunks(self, shard: Shard, only: Rows | None = None) -> Iterator[tuple[int, Rows, InputRows]]:
        """The shard's chunks; always the same ones in the same order."""
        return read_rows(
            self.store,
            self.hooks,
            self.selection,
            shard,
            chunk_rows=self.chunk_rows,
            device=self.device,
            only=only,
        )


@dataclass
class Encoded:
    """One SAE after the shared pass: spooled codes and collectors, or why it failed.

    ``broken`` holds what a collector raised; it is the fault of the evaluators that wanted it, and
    costs no other result. The weights can be let go of (``release``) and are then loaded again when
    they are next asked for; with codes and collectors (``drop``) when nothing will be asked any more.
    """

    load: Callable[[], SAE]
    info: PassInfo
    collectors: dict[CollectorSpec, Collector] = field(default_factory=dict)
    broken: dict[CollectorSpec, Exception] = field(default_factory=dict)
    spools: dict[int, ShardSpool] = field(default_factory=dict)
    folder: Path | None = None
    digest: xxhash.xxh3_128 = field(default_factory=xxhash.xxh3_128)
    test_codes: int = 0
    test_rows: int = 0
    failure: DarkmatterError | None = None
    maps: dict[bool, LinearMap] = field(default_factory=dict)
    _sae: SAE | None = None

    @property
    def sae(self) -> SAE:
        """The SAE, loaded if need be."""
        if self._sae is None:
            self._sae = self.load()
        return self._sae

    def release(self) -> None:
        """Let go of the weights."""
        self._sae = None

    def drop(self) -> None:
        """Let go of the weights, of the codes on disk and of all that was collected."""
        self.release()
        for kept in (self.spools, self.collectors, self.broken, self.maps):
            kept.clear()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def behaviour(self) -> str:
        """Hash of sizes, codes, reconstructions and decoder: identifies an SAE of unknown weights."""
        decoder = self.sae.W_dec
        weights = b""
        if decoder is not None:
            weights = decoder.detach().cpu().to(torch.float32).contiguous().numpy().tobytes()
        shown = [self.sae.d_in, self.sae.d_out, self.sae.d_sae, self.digest.hexdigest()]
        return f"behaviour:{content_hash(shown, weights)}"

    @property
    def l0(self) -> float:
        """Mean number of active latents on the test rows."""
        return self.test_codes / max(self.test_rows, 1)

    def collected(self, spec: CollectorSpec) -> Any:
        """What a collector found; raises what it raised."""
        if spec in self.broken:
            raise self.broken[spec]
        return self.collectors[spec].finish()

    def merge(self, shard: Shard, part: _ShardPart) -> None:
        """Take in the next shard's share."""
        if self.failure is not None or part.failure is not None:
            self.failure = self.failure or part.failure
            return
        self.broken = {**part.broken, **self.broken}
        for spec, collector in self.collectors.items():
            if spec not in self.broken:
                _guarded(self.broken, spec, partial(_merge, collector, part.collectors[spec]))
        assert part.spool is not None
        self.spools[shard.index] = part.spool
        self.digest.update(part.spool.digest.digest())
        self.test_codes += part.test_codes
        self.test_rows += part.test_rows


def _guarded(broken: dict[CollectorSpec, Exception], spec: CollectorSpec, step: Callable[[], Any]) -> Any:
    """Do one step of a collector; what it raises is kept as the collector's own fault."""
    try:
        return step()
    except Exception as error:  # noqa: BLE001 - a collector is a plugin's and may raise anything
        broken[spec] = error
        return None


def _update(collector: Collector, chunk: ChunkRows, rows: Rows) -> None:
    collector.update(chunk, rows)


def _merge(collector: Collector, other: Collector) -> None:
    collector.merge(other)


def _started(
    info: PassInfo, specs: Sequence[CollectorSpec], broken: dict[CollectorSpec, Exception]
) -> dict[CollectorSpec, Collector]:
    """Fresh collectors, without those that cannot even start."""
    made = {spec: _guarded(broken, spec, partial(spec.start, info)) for spec in specs}
    return {spec: collector for spec, collector in made.items() if spec not in broken}


@dataclass
class _ShardPart:
    collectors: dict[CollectorSpec, Collector]
    broken: dict[CollectorSpec, Exception] = field(default_factory=dict)
    spool: ShardSpool | None = None
    test_codes: int = 0
    test_rows: int = 0
    failure: DarkmatterError | None = None


def encode_all(
    settings: StreamSettings,
    saes: Mapping[str, tuple[Encoded, Sequence[CollectorSpec]]],
    scratch: Path,
    progress: Callable[[int, int], None],
) -> None:
    """The shared pass, into the given states. An SAE that fails on any shard has failed, the others go on."""
    encoded = {name: state for name, (state, _) in saes.items()}
    folders = {name: scratch / f"spool-{number}" for number, name in enumerate(saes)}
    for name, (state, specs) in saes.items():
        state.collectors = _started(state.info, specs, state.broken)
        state.folder = folders[name]
        state.folder.mkdir(parents=True, exist_ok=True)

    def work(shard: Shard) -> dict[str, _ShardPart]:
        encoders = {
            name: _ShardEncoder(state, folders[name] / f"{shard.index}.codes")
            for name, state in encoded.items()
            if state.failure is None
        }
        try:
            for _, rows, inputs in settings.chunks(shard):
                for encoder in encoders.values():
                    encoder.take(rows, inputs)
        finally:
            for encoder in encoders.values():
                encoder.close()
        return {name: encoder.part for name, encoder in encoders.items()}

    shards = settings.store.shards()
    for done, (shard, parts) in enumerate(map_shards(work, shards, jobs=settings.jobs), start=1):
        for name, part in parts.items():
            encoded[name].merge(shard, part)
        progress(done, len(shards))


class _ShardEncoder:
    """One SAE on one shard: encode, spool, collect; after a failure it only looks on."""

    def __init__(self, state: Encoded, path: Path) -> None:
        self._sae, self._info = state.sae, state.info
        broken: dict[CollectorSpec, Exception] = {}
        self.part = _ShardPart(_started(state.info, list(state.collectors), broken), broken)
        self.part.spool = ShardSpool(path, state.sae.d_sae)
        self._file = path.open("wb")

    def take(self, rows: Rows, inputs: InputRows) -> None:
        """Work on one chunk. Only what the SAE does can fail the SAE: a full disk is no fault of its."""
        part, spool = self.part, self.part.spool
        assert spool is not None
        if part.failure is not None:
            return
        try:
            with self._sae.exclusive():
                codes = self._sae.encode(inputs.x)
                made = reconstruction_of(self._sae, codes, inputs.x)
            if isinstance(made, torch.Tensor):
                _require_sound(made, (len(inputs.x), self._info.d_out))
        except DarkmatterError as error:
            part.failure = error
            return
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            message = f"the SAE raised {type(error).__name__}: {error}"
            part.failure = ItemError(message)
            return
        hashed = made if isinstance(made, torch.Tensor) and self._sae.fingerprint is None else None
        spool.append(self._file, codes, hashed)
        if rows == "test":
            part.test_rows += len(inputs.x)
            part.test_codes += len(codes.values)
        chunk = ChunkRows(inputs, codes, made)
        for spec, collector in part.collectors.items():
            if spec not in part.broken:
                _guarded(part.broken, spec, partial(_update, collector, chunk, rows))

    def close(self) -> None:
        self._file.close()


def _require_sound(reconstruction: torch.Tensor, shape: tuple[int, int]) -> None:
    if tuple(reconstruction.shape) != shape:
        message = f"the SAE's reconstruction has shape {tuple(reconstruction.shape)}, expected {shape}"
        raise ItemError(message)
    bad = int((~torch.isfinite(reconstruction)).any(dim=1).sum())
    if bad:
        message = (
            f"the SAE's reconstruction is not finite on {bad} of {len(reconstruction)} rows although the "
            "activations are; its weights or its normalisation overflow. `darkmatter inspect` shows both."
        )
        raise ItemError(message)


def collect_again(
    settings: StreamSettings,
    encoded: Encoded,
    specs: Sequence[CollectorSpec],
    only: Rows,
    beside: Mapping[str, tuple[StreamSettings, Encoded]] | None = None,
    shuffled: int | None = None,
) -> list[Any]:
    """Finished statistics of one side's rows from the cache and the spooled codes.

    ``beside``: other SAEs, at this or another hook point of the same store, whose chunks of the same
    rows come with each chunk; with the seed ``shuffled``, of other rows of the same side and shard.
    """

    def work(shard: Shard) -> list[Collector]:
        collectors = [spec.start(encoded.info) for spec in specs]
        for chunk in decoded_chunks(settings, encoded, shard, only, beside or {}, shuffled):
            for collector in collectors:
                collector.update(chunk, only)
        return collectors

    wholes = [spec.start(encoded.info) for spec in specs]
    for _, parts in map_shards(work, settings.store.shards(), jobs=settings.jobs):
        for whole, part in zip(wholes, parts, strict=True):
            whole.merge(part)
    return [whole.finish() for whole in wholes]


def decoded_chunks(
    settings: StreamSettings,
    encoded: Encoded,
    shard: Shard,
    only: Rows,
    beside: Mapping[str, tuple[StreamSettings, Encoded]],
    shuffled: int | None = None,
) -> Iterator[ChunkRows]:
    """The shard's chunks of one side, decoded from the spool, with those of other SAEs beside them.

    All SAEs of a run share selection and chunk size, so chunks of one number hold the same rows; the
    positions, units and tokens of each are compared all the same. With the seed ``shuffled`` the rows of
    those beside are permuted within the shard, all of them in the same way.
    """
    others = {name: _alone(their, state, shard, only) for name, (their, state) in beside.items()}
    if shuffled is not None:
        drawn = (shuffled, f"row{shard.index:05}")
        others = {name: permuted(list(chunks), *drawn) for name, chunks in others.items()}
    for chunk in _alone(settings, encoded, shard, only):
        found = {}
        for name, chunks in others.items():
            found[name] = next(chunks)
            if shuffled is None and not _same_rows(chunk.inputs, found[name].inputs):
                message = f"the rows of {name!r} are not those of the SAE that it stands beside"
                raise DarkmatterError(message)
        yield replace(chunk, beside=found)


def _alone(settings: StreamSettings, encoded: Encoded, shard: Shard, only: Rows) -> Iterator[ChunkRows]:
    """One SAE's chunks of one side of a shard, decoded from the spool."""
    spool = encoded.spools[shard.index]
    for number, _, inputs in settings.chunks(shard, only):
        yield _decoded(encoded, spool, number, inputs, settings.device)


def _same_rows(one: InputRows, other: InputRows) -> bool:
    if not (torch.equal(one.unit, other.unit) and torch.equal(one.position, other.position)):
        return False
    return one.tokens is None or (other.tokens is not None and torch.equal(one.tokens, other.tokens))


def _decoded(
    encoded: Encoded, spool: ShardSpool, number: int, inputs: InputRows, device: torch.device
) -> ChunkRows:
    codes = spool.read(number, device)
    made = reconstruction_of(encoded.sae, codes, inputs.x)
    if isinstance(made, torch.Tensor):
        spool.require_same(number, made)
    return ChunkRows(inputs, codes, made)
