"""A language model of five lines, so that the cache is tested without any model library."""

from dataclasses import dataclass, field

import pytest
import torch

from darkmatter.cache.spec import ActivationRequest, ModelSpec, TextSpec
from darkmatter.errors import UsageError
from darkmatter.models import Forward, ModelIdentity, token_losses

HOOKS = ("blocks.0.hook_resid_post", "blocks.1.hook_resid_post", "blocks.0.mlp.hook_post")


class FakeTokenizer:
    """One token per word: its length; 0 is BOS, 1 EOS."""

    bos = 0
    eos = 1
    special = frozenset({0, 1})

    def encode(self, texts):
        return [[2 + len(word) % 30 for word in text.split()] for text in texts]

    def decode(self, tokens):
        return [str(token) for token in tokens]


class FakeModel:
    """Activations are token embeddings times a number per hook point."""

    n_positions = 64
    n_vocab = 32

    def __init__(self, after_forward):
        self.table = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
        self.after_forward = after_forward

    def hook_names(self):
        return list(HOOKS)

    def check_hooks(self, hooks):
        if missing := set(hooks) - set(HOOKS):
            raise UsageError(str(missing))

    def forward(self, tokens, hooks):
        x = self.table[tokens].cumsum(1)
        self.after_forward(tokens)
        found = {hook: x * (2 + HOOKS.index(hook)) for hook in hooks}
        return Forward(found, token_losses(x @ self.table.T, tokens))


@dataclass
class FakeProvider:
    """Counts what it is asked for."""

    identity: ModelIdentity = field(
        default_factory=lambda: ModelIdentity("weights", "tokenizer", "cpu", "fake", 1, {"torch": "2.0"})
    )
    loads: int = 0
    forwards: int = 0
    after_forward: object = None

    def identify(self, spec):
        return self.identity

    def load_tokenizer(self, spec):
        return FakeTokenizer()

    def load(self, spec):
        self.loads += 1
        return FakeModel(self._count)

    def _count(self, tokens):
        self.forwards += 1
        if self.after_forward is not None:
            self.after_forward(self.forwards)


def make_text(folder):
    """A file of 60 documents of 5 to 64 words."""
    path = folder / "text.txt"
    words = ["a" * (1 + (i * i) % 17) for i in range(64)]
    path.write_text("\n\n".join(" ".join(words[i % 7 : i % 7 + 5 + i]) for i in range(60)))
    return path


def make_request(text, hooks=HOOKS[:1], **changes):
    """Twenty contexts of 16 tokens."""
    spec = TextSpec(path=str(text), context_length=16, contexts=20, **changes)
    return ActivationRequest(ModelSpec(name="fake"), spec, tuple(hooks))


@pytest.fixture
def provider():
    """A provider that has not been asked yet."""
    return FakeProvider()


@pytest.fixture
def text(tmp_path):
    """The path of a text."""
    return make_text(tmp_path)


@pytest.fixture
def request_for(text):
    """A function from hook points (and text fields) to a request."""
    return lambda hooks=HOOKS[:1], **changes: make_request(text, hooks, **changes)


@pytest.fixture
def root(tmp_path):
    """A cache folder that is not there yet."""
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Three contexts per shard and two per forward pass, so that there is something to cut."""
    monkeypatch.setattr("darkmatter.shards.SHARD_TOKENS", 48)
    monkeypatch.setattr("darkmatter.cache.build.MOST_TOKENS_PER_BATCH", 32)
