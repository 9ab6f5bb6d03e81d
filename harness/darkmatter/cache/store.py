"""Reading a cache entry as an activation store."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkmatter.activations import Shard
from darkmatter.cache.build import Builder, Progress, map_contexts, no_progress
from darkmatter.cache.entry import LOSS, Entry, check_file, discard
from darkmatter.cache.root import cache_root
from darkmatter.cache.spec import ActivationRequest
from darkmatter.errors import CacheError, did_you_mean
from darkmatter.files.tensors import MappedTensor, TensorFileError
from darkmatter.models import LanguageModel, ModelProvider, TextTokenizer

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger("darkmatter.cache")


def open_cached(
    request: ActivationRequest,
    provider: ModelProvider,
    root: Path | None = None,
    progress: Progress = no_progress,
) -> CachedActivations:
    """The activations of a model on a text, built as far as they are not in the cache."""
    builder = Builder(request, provider, cache_root() if root is None else root)
    return CachedActivations(builder.ensure(progress), request.hooks, builder)


def plan_cached(
    request: ActivationRequest, provider: ModelProvider, root: Path | None = None
) -> dict[str, Any]:
    """What is cached of a request and what is missing; loads no model, tokenises nothing."""
    entry = Builder(request, provider, cache_root() if root is None else root).entry()
    text = request.text
    positions, contexts, cached = text.context_length, text.contexts, False
    if entry.has_manifest and entry.contexts_file() is not None:
        contexts, stored = entry.manifest["n_contexts"], entry.stored_hooks()
        cached = all(hook in stored and not entry.missing(hook) for hook in request.hooks)
    return {
        "key": entry.key,
        "cached": cached,
        "tokens": contexts * positions,
        "positions": positions,
        "defaults": [positions // 16, CachedActivations.default_skip_last],
    }


def _description(entry: Entry, builder: Builder | None) -> dict[str, Any]:
    """The manifest's account, with the names that were asked for, not those of whoever built it first."""
    stored = entry.manifest["description"]
    description = {"kind": "model", "key": entry.key, **stored}
    if builder is not None:
        model, text = builder.request.model, builder.request.text
        description["model"] = stored["model"] | {"name": model.name, "revision": model.revision}
        description["text"] = stored["text"] | {"path": text.path, "field": text.field}
    return description


class CachedActivations:
    """An ``ActivationStore`` over one cache entry.

    Shards are memory-mapped. The checksum of a shard is compared when this store first reads it; a
    damaged shard is named in the log and, where there is a builder, made again.

    ``key`` is the entry's: together with a hook point's name it identifies the numbers. It does
    not depend on which hook points were asked for.
    """

    independent_rows = False
    default_skip_last = 1
    shuffled = True

    def __init__(self, entry: Entry, hooks: tuple[str, ...], builder: Builder | None = None) -> None:
        self.entry = entry
        self.hooks = hooks
        self.key = entry.key
        self.n_contexts: int = entry.manifest["n_contexts"]
        self.n_positions: int = entry.manifest["n_positions"]
        self.default_skip_first = self.n_positions // 16
        self.description = _description(entry, builder)
        self._builder = builder
        self._model: LanguageModel | None = None
        self._tokenizer: TextTokenizer | None = None
        self._mapped: dict[tuple[str, int], MappedTensor] = {}
        self._contexts: dict[str, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A mapping would be pickled as numbers; every process maps, and checks, for itself.
        return self.__dict__ | {"_mapped": {}, "_contexts": None, "_model": None, "_tokenizer": None}

    @property
    def has_model(self) -> bool:
        """Whether it is known who made these activations."""
        return self._builder is not None

    def model(self) -> LanguageModel | None:
        """The model that made them, loaded once."""
        if self._model is None and self._builder is not None:
            self._model = self._builder.provider.load(self._builder.request.model)
        return self._model

    def tokenizer(self) -> TextTokenizer | None:
        """The tokenizer of that model."""
        if self._tokenizer is None and self._builder is not None:
            self._tokenizer = self._builder.provider.load_tokenizer(self._builder.request.model)
        return self._tokenizer

    def shards(self) -> list[Shard]:
        """All shards in order."""
        return list(self.entry.shards)

    def dim(self, hook: str) -> int:
        """Features per position at ``hook``."""
        return self._shard(self._known(hook), self.entry.shards[0]).shape[2]

    def read(self, hook: str, start: int, stop: int) -> Tensor:
        """Activations of contexts ``start:stop`` [contexts, P, d] float32; a view within a shard."""
        return self._rows(self._known(hook), start, stop)

    def _known(self, hook: str) -> str:
        if hook not in self.hooks:
            message = f"These activations have no hook point {hook!r}. {did_you_mean(hook, self.hooks)}"
            raise CacheError(message)
        return hook

    def _rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows of an array that may span several shards."""
        import torch

        pieces = [
            self._shard(name, shard).rows(
                max(start, shard.start) - shard.start, min(stop, shard.stop) - shard.start
            )
            for shard in self.entry.shards
            if shard.start < stop and start < shard.stop
        ]
        rows = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        return rows.float()

    def _shard(self, name: str, shard: Shard) -> MappedTensor:
        """One shard, its checksum compared the first time."""
        known = self._mapped.get((name, shard.index))
        if known is None:
            known = self._mapped[name, shard.index] = self._checked(name, shard)
        return known

    def _checked(self, name: str, shard: Shard) -> MappedTensor:
        """One shard whose bytes have their checksum; a damaged one is made again, once."""
        try:
            return self._verified(name, shard)
        except TensorFileError as error:
            if self._builder is None:
                raise CacheError(str(error)) from error
            _log.warning("%s It is made again.", error)
        path = self.entry.shard_files(name).get(shard.index)
        if path is not None:
            discard(path)
        self._builder.ensure()
        try:
            return self._verified(name, shard)
        except TensorFileError as error:
            message = f"{error} It was made again and is still wrong: this disk cannot be trusted."
            raise CacheError(message) from error

    def _verified(self, name: str, shard: Shard) -> MappedTensor:
        tensor = self.entry.map_shard(name, shard)
        path = self.entry.shard_files(name)[shard.index]
        if problem := check_file(path):
            raise TensorFileError(problem)
        return tensor

    def _context_arrays(self) -> dict[str, Tensor]:
        """Tokens, mask and documents, their checksum compared the first time."""
        if self._contexts is None:
            path = self.entry.contexts_file()
            problem = "the tokens are missing." if path is None else check_file(path)
            if problem and self._builder is not None:
                _log.warning("%s They are made again.", problem)
                if path is not None:
                    discard(path)
                self._builder.ensure()
            elif problem:
                raise CacheError(problem)
            self._contexts = map_contexts(self.entry)
        return self._contexts

    def tokens(self, start: int = 0, stop: int | None = None) -> Tensor | None:
        """Token ids [C, P] int64 of contexts ``start:stop``."""
        return self._context_arrays()["tokens"][start:stop].long()

    def loss(self, start: int = 0, stop: int | None = None) -> Tensor | None:
        """Clean losses [C, P] float32 of contexts ``start:stop``; the last position is NaN."""
        return self._rows(LOSS, start, self.n_contexts if stop is None else stop)

    def mask(self) -> Tensor | None:
        """False at special tokens [C, P]."""
        return self._context_arrays()["mask"]

    def labels(self, start: int = 0, stop: int | None = None) -> Tensor | None:  # noqa: ARG002 - the protocol's
        """A model gives no labels."""
        return None

    def documents(self) -> Tensor | None:
        """First and last document of each context [C, 2] int64, counted in shuffled order."""
        return self._context_arrays()["documents"].long()
