"""SAEs in files: loaded when they are wanted, kept while there is memory for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from darkmatter.errors import DarkmatterError
from darkmatter.runs.items import Facts
from darkmatter.sae.base import SAE
from darkmatter.sae.load import load_sae
from darkmatter.sae.overrides import Overrides

KEPT_BYTES = 8 << 30
"""Memory that the weights of all files of a run may take together."""


@dataclass
class Budget:
    """Memory that loaded SAEs may hold together."""

    bytes: int = KEPT_BYTES

    def take(self, wanted: int) -> bool:
        """Whether there is so much left; if so, it is taken."""
        if wanted > self.bytes:
            return False
        self.bytes -= wanted
        return True


@dataclass
class LoadedFile:
    """Loads an SAE, and remembers its facts or why it cannot be loaded.

    The weights are kept while ``budget`` lasts and loaded again otherwise: a family of wide SAEs
    need not fit into memory together.
    """

    reference: str
    adapter: str | None
    budget: Budget
    overrides: Overrides = field(default_factory=Overrides)
    _kept: SAE | None = None

    @cached_property
    def outcome(self) -> Facts | DarkmatterError:
        """What is known after loading it once."""
        try:
            sae = self._load()
        except DarkmatterError as error:
            return error
        facts = Facts.of(sae)
        if self.budget.take(facts.weight_bytes):
            self._kept = sae
        return facts

    def __call__(self) -> SAE:
        """The SAE."""
        if isinstance(self.outcome, DarkmatterError):
            raise self.outcome
        return self._kept or self._load()

    def _load(self) -> SAE:
        return load_sae(self.reference, adapter=self.adapter, overrides=self.overrides)

    @property
    def facts(self) -> Facts | None:
        """Its facts, or None where it cannot be loaded."""
        return None if isinstance(self.outcome, DarkmatterError) else self.outcome
