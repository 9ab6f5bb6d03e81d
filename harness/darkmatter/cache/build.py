"""Filling a cache entry: only what is missing, always in the same batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from darkmatter.activations import Shard
from darkmatter.cache.entry import LOSS, Entry, check_file, discard
from darkmatter.cache.key import entry_key, key_parts
from darkmatter.cache.spec import ActivationRequest
from darkmatter.errors import CacheError, UsageError
from darkmatter.files.lock import locked
from darkmatter.models import LanguageModel, ModelIdentity, ModelProvider
from darkmatter.text.documents import Documents, open_documents
from darkmatter.text.packing import Contexts, pack

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int, int], None]
"""Called with contexts done and contexts to do."""

LOGITS_PER_BATCH = 1 << 26
"""Numbers in one batch of logits: 256 MB of float32, which bounds the memory of a build."""

MOST_TOKENS_PER_BATCH = 4096

LONGEST_WAIT_S = 24 * 3600.0
"""How long to wait for another process that is building the same entry."""

_log = logging.getLogger("darkmatter.cache")


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def batch_size(n_positions: int, n_vocab: int) -> int:
    """Contexts per forward pass: a function of shapes alone, so that rebuilt bytes are equal."""
    tokens = min(MOST_TOKENS_PER_BATCH, LOGITS_PER_BATCH // n_vocab)
    return max(1, tokens // n_positions)


@dataclass(frozen=True)
class Builder:
    """Makes and repairs one entry; can be pickled if the provider can."""

    request: ActivationRequest
    provider: ModelProvider
    root: Path

    def entry(self) -> Entry:
        """The entry that the request names; opens the text, not the model."""
        return self._entry()[0]

    def _entry(self) -> tuple[Entry, ModelIdentity, Documents]:
        identity = self.provider.identify(self.request.model)
        documents = open_documents(self.request.text)
        parts = key_parts(self.request, identity, documents.hash)
        return Entry(self.root / entry_key(parts)), identity, documents

    def missing(self) -> dict[str, int] | None:
        """Shards that a build would make, by hook point and ``loss``; None where nothing is there yet."""
        return _missing(self.entry(), self.request.hooks)

    def ensure(self, progress: Progress = no_progress) -> Entry:
        """The entry with every shard of every hook point, built as far as something is missing."""
        entry, identity, documents = self._entry()
        missing = _missing(entry, self.request.hooks)
        if missing is not None and not any(missing.values()):
            return entry
        try:
            with locked(entry.folder, LONGEST_WAIT_S, lambda owner: _say_waiting(entry, owner)):
                entry.forget()
                entry.sweep()
                self._write_contexts(entry, identity, documents)
                self._fill(entry, progress)
        except OSError as error:
            message = (
                f"The activation cache in {self.root} cannot be written: {error}. What is done is kept. Free "
                "some space (darkmatter cache ls), or choose another folder with DARKMATTER_CACHE, and run "
                "the same command again."
            )
            raise CacheError(message) from error
        return entry

    def _write_contexts(self, entry: Entry, identity: ModelIdentity, documents: Documents) -> None:
        """Make tokens and manifest, unless they are there."""
        import torch

        stored = entry.contexts_file()
        if stored is not None and check_file(stored):
            _log.warning("damaged tokens, made again: %s", stored)
            discard(stored)
            stored = None
        if stored is not None and entry.has_manifest:
            return
        contexts = pack(documents, self.request.text, self.provider.load_tokenizer(self.request.model))
        arrays = {"tokens": contexts.tokens, "mask": contexts.mask, "documents": contexts.documents}
        entry.write_contexts({name: torch.from_numpy(array) for name, array in arrays.items()})
        parts = key_parts(self.request, identity, documents.hash)
        entry.write_manifest(
            {
                "key": entry.key,
                "key_parts": parts,
                "hooks": entry.manifest["hooks"] if entry.has_manifest else [],
                "n_contexts": contexts.tokens.shape[0],
                "n_positions": contexts.tokens.shape[1],
                "description": self._describe(contexts, identity, documents),
            }
        )

    def _describe(
        self, contexts: Contexts, identity: ModelIdentity, documents: Documents
    ) -> dict[str, object]:
        """The account of model and text that results carry."""
        model, text = self.request.model, self.request.text
        return {
            "model": model.model_dump(mode="json", exclude={"device", "provider"})
            | {"fingerprint": identity.fingerprint, "device": identity.device},
            "provider": {"name": identity.provider, "version": identity.provider_version},
            "libraries": identity.libraries,
            "tokenizer": identity.tokenizer,
            "text": text.model_dump(mode="json") | {"hash": documents.hash} | contexts.description,
        }

    def _fill(self, entry: Entry, progress: Progress) -> None:
        """Run the model over every shard of which something is missing."""
        wanted: dict[int, list[str]] = {}
        for name in (*self.request.hooks, LOSS):
            for shard in entry.missing(name):
                wanted.setdefault(shard.index, []).append(name)
        if not wanted:
            return
        model = self.provider.load(self.request.model)
        model.check_hooks(self.request.hooks)
        # Only now are the names known to be hook points, and not typing errors.
        hooks = sorted({*self.request.hooks, *entry.manifest["hooks"]})
        entry.write_manifest(entry.manifest | {"hooks": hooks})
        tokens = map_contexts(entry)["tokens"].long()
        _check_fit(model, tokens)
        shards = [shard for shard in entry.shards if shard.index in wanted]
        total = sum(shard.stop - shard.start for shard in shards)
        done = 0
        for shard in shards:
            step = batch_size(tokens.shape[1], model.n_vocab)
            starts = range(shard.start, shard.stop, step)
            pieces: list[dict[str, Tensor]] = []
            for start in starts:
                stop = min(start + step, shard.stop)
                pieces.append(_run(model, tokens[start:stop], wanted[shard.index]))
                done += stop - start
                progress(done, total)
            _write_shard(entry, shard, pieces)


def _missing(entry: Entry, hooks: Sequence[str]) -> dict[str, int] | None:
    """Shards to make by name, or None where there are not even tokens."""
    if not entry.has_manifest or entry.contexts_file() is None:
        return None
    return {name: len(entry.missing(name)) for name in (*hooks, LOSS)}


def map_contexts(entry: Entry) -> dict[str, Tensor]:
    """Tokens, mask and documents of an entry."""
    from darkmatter.files.tensors import TensorFileError, map_tensors

    path = entry.contexts_file()
    if path is None:
        message = f"{entry.folder}: the tokens are missing."
        raise TensorFileError(message)
    return {name: tensor.all() for name, tensor in map_tensors(path).items()}


def _run(model: LanguageModel, tokens: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """One batch: activations of the hook points, and losses where they are wanted."""
    hooks = [name for name in names if name != LOSS]
    forward = model.forward(tokens, hooks)
    arrays = {hook: forward.activations[hook].cpu() for hook in hooks}
    if LOSS in names:
        arrays[LOSS] = forward.loss.cpu()
    return arrays


def _write_shard(entry: Entry, shard: Shard, pieces: list[dict[str, Tensor]]) -> None:
    """Join the batches of one shard and make them durable."""
    import torch

    for name in pieces[0]:
        entry.write_shard(name, shard, torch.cat([piece[name] for piece in pieces]))


def _check_fit(model: LanguageModel, tokens: Tensor) -> None:
    """Refuse tokens that the model cannot read, before the first forward pass."""
    if model.n_positions is not None and tokens.shape[1] > model.n_positions:
        message = (
            f"context_length {tokens.shape[1]} is more than the model's {model.n_positions} positions. "
            f"Take context_length: {model.n_positions} or less."
        )
        raise UsageError(message)
    if int(tokens.max()) >= model.n_vocab:
        message = (
            f"The tokenizer gives token {int(tokens.max())}, but the model knows {model.n_vocab} tokens: "
            "they do not belong together."
        )
        raise UsageError(message)


def _say_waiting(entry: Entry, owner: dict[str, object]) -> None:
    _log.warning(
        "waiting for process %s on %s, which builds %s", owner.get("pid"), owner.get("host"), entry.folder
    )
