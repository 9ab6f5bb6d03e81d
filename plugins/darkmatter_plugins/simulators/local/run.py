"""Latents explained and simulated by a causal language model on this machine, offline.

A latent is explained by greedy continuation of a text that quotes its top fragments, and simulated from
the explanation alone. The fragment is written with one token in a line and an unknown level behind each::

    <preamble with the explanation>
    token 1 <tab>?
    token 2 <tab>?

One forward pass gives, behind each tab, the model's log-probabilities of the next token. With p_d those of
the ten digits d = 0..9, normalised over the ten, the prediction is the expected level on a scale of
0 to 10::

    (10 / 9) Σ_d d p_d

Ten digits and not eleven levels, because "10" is two tokens in many vocabularies. As in the all-at-once
simulation of the second paper's scorer, no level stands in the text, so that one pass does for all
tokens; a level is predicted from the tokens up to its own.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from darkmatter import api, sources
from darkmatter_plugins.simulators.levels import HIGHEST, Piece, needed, texts_of, top_pieces
from darkmatter_plugins.simulators.local.descriptor import LocalConfig
from darkmatter_plugins.simulators.local.files import local_model
from darkmatter_plugins.sources.quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor

DIGITS = 10


def make(config: LocalConfig, tokenizer: sources.TextTokenizer | None) -> LocalSimulators:
    """What the descriptor names."""
    return LocalSimulators(config, needed(tokenizer))


def explanation_prompt(pieces: list[Piece]) -> str:
    """A text whose natural continuation says what the words in brackets have in common."""
    quoted = "\n".join(f"- {_marked(piece)}" for piece in pieces)
    return (
        "In each passage below, the words that belong to one category stand in [brackets].\n\n"
        f"{quoted}\n\nIn a few words, the category is:"
    )


def simulation_prompt(explanation: str) -> str:
    """What stands above the tokens."""
    return (
        "Every word of a text is given a mark from 0 to 9 for how well it fits a category: 0 not at all, "
        f"9 perfectly. One word and its mark per line.\n\nCategory: {explanation}\n\n"
    )


def _marked(piece: Piece) -> str:
    pairs = zip(piece.tokens, piece.levels, strict=True)
    return api.printable("".join(f"[{token}]" if level else token for token, level in pairs))


class LocalSimulators:
    """Explains and simulates with one model, which stays loaded for the SAEs that follow."""

    concurrency = 1

    def __init__(self, config: LocalConfig, tokenizer: sources.TextTokenizer) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.reader = _reader(config.model, config.device, config.dtype)
        self.passes = 0

    def expect(self, latents: int, fragments: int, length: int) -> api.Usage:  # noqa: ARG002 - the contract's
        """As many passes of the model, and one more per latent to explain it."""
        return api.Usage(requests=latents * (fragments + 1))

    def fit(self, fragments: api.Fragments) -> LocalSimulation:
        """Explain the latent by its top fragments."""
        pieces = top_pieces(fragments, self.tokenizer, self.config.shown)
        ids = self.reader.ids(explanation_prompt(pieces))
        said = self.reader.continuation(ids, self.config.words)
        self.passes += 1
        explanation = " ".join(api.printable(said.strip().partition("\n")[0]).split())
        if not explanation:
            message = "the model continued the prompt with nothing, so there is no explanation"
            raise api.ItemError(message)
        return LocalSimulation(explanation, self)

    def usage(self) -> api.Usage:
        """How often the model was run, and which it was."""
        return api.Usage(
            requests=self.passes, details={"answers": self.passes, "model": self.reader.fingerprint}
        )


@dataclass(frozen=True)
class LocalSimulation:
    """One latent, put into words."""

    explanation: str
    maker: LocalSimulators

    def __call__(self, tokens: Tensor) -> Tensor:
        """Expected levels [F, T], 0 to 10."""
        import torch

        prompt = simulation_prompt(self.explanation)
        texts = texts_of(self.maker.tokenizer, tokens)
        self.maker.passes += len(texts)
        rows = [self.maker.reader.expected_levels(prompt, text) for text in texts]
        return torch.stack(rows) if rows else torch.empty(tokens.shape, dtype=torch.float64)


class Reader:
    """A loaded model with its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, fingerprint: str) -> None:
        self._model, self._tokenizer, self.fingerprint = model, tokenizer, fingerprint
        self._limit: int | None = getattr(model.config, "max_position_embeddings", None)
        self._tab, self._digits = self._digit_ids()
        self._unknown = self.ids("?\n", start=False)

    def ids(self, text: str, *, start: bool = True) -> list[int]:
        """Token ids, behind the token that begins a text where the model has one."""
        ids = list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        bos = self._tokenizer.bos_token_id
        return [bos, *ids] if start and bos is not None else ids

    def continuation(self, ids: list[int], count: int) -> str:
        """At most ``count`` further tokens, each the likeliest, as text."""
        import torch

        self._fits(len(ids) + count)
        given = torch.tensor([ids], device=self._model.device)
        with torch.no_grad(), quiet():
            made = self._model.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=count,
                do_sample=False,
                num_beams=1,
            )
        return str(self._tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True))

    def expected_levels(self, prompt: str, texts: list[str]) -> Tensor:
        """Expected level [T] float64 of each token of a fragment."""
        import torch

        ids, places = self.ids(prompt), []
        for text in texts:
            ids += [*self.ids(api.printable(text), start=False), *self._tab]
            places.append(len(ids) - 1)
            ids += self._unknown
        self._fits(len(ids))
        with torch.no_grad(), quiet():
            logits = self._model(torch.tensor([ids], device=self._model.device)).logits[0, places]
        chances = logits[:, self._digits].double().cpu().softmax(dim=1)
        levels: Tensor = torch.arange(DIGITS, dtype=torch.float64) * (HIGHEST / (DIGITS - 1))
        return torch.mv(chances, levels)

    def _fits(self, length: int) -> None:
        if self._limit is not None and length > self._limit:
            message = f"the prompt has {length} tokens, the model reads at most {self._limit}"
            raise api.ItemError(message)

    def _digit_ids(self) -> tuple[list[int], list[int]]:
        """The ids of a tab, and those of the ten digits as they stand behind it."""
        written = [self.ids(f"\t{digit}", start=False) for digit in range(DIGITS)]
        before = {tuple(ids[:-1]) for ids in written}
        last = [ids[-1] for ids in written]
        if len(before) != 1 or not written[0][:-1] or len(set(last)) != DIGITS:
            message = "the model's tokenizer does not write each digit as a token of its own behind a tab"
            raise api.ItemError(message)
        return written[0][:-1], last


@functools.lru_cache(maxsize=1)
def _reader(folder: str, device: str, dtype: str) -> Reader:
    """The model of a folder; the last one stays loaded, since every SAE of a run asks for it."""
    import torch

    files = local_model(folder)
    options = {"local_files_only": True, "trust_remote_code": False}
    with quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(files.folder, **options)
            model = AutoModelForCausalLM.from_pretrained(
                files.folder, dtype=getattr(torch, dtype), use_safetensors=True, **options
            )
            model = model.to(device).eval()
        except Exception as error:  # noqa: BLE001 - any of a dozen classes
            first = str(error).partition("\n")[0]
            reason = f"{folder}: the model cannot be loaded: {first}"
        else:
            return Reader(model, tokenizer, files.fingerprint())
    raise api.ItemError(reason)
