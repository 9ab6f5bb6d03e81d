"""What plugins offer, under which names: the catalogue that the host keeps.

A name that one plugin offers is its own. A name that several offer belongs to the built-in among
them, if there is one, since no installation may change what a name means; the others are reached
as ``distribution/name``. Nothing here depends on the order in which plugins came.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from darkmatter.descriptors import Descriptor
from darkmatter.errors import UsageError, did_you_mean

BUILTIN_DISTRIBUTION = "sae-darkmatter"


@dataclass(frozen=True)
class Owned:
    """A descriptor and the distribution that brought it."""

    descriptor: Descriptor
    plugin: str
    distribution: str
    version: str

    @property
    def qualified(self) -> str:
        """``distribution/name``, which is unique; results record it."""
        return f"{self.distribution}/{self.descriptor.name}"

    @property
    def builtin(self) -> bool:
        """Whether it comes with darkmatter itself."""
        return self.distribution == BUILTIN_DISTRIBUTION


@dataclass
class Offers:
    """Everything that plugins offer, by kind and qualified name."""

    _owned: dict[str, dict[str, Owned]] = field(default_factory=dict)

    def add(self, kind: str, new: Owned) -> Owned | None:
        """Take in a descriptor; returns the one that has its name already, if any.

        One whose qualified name is taken too is left out.
        """
        owned = self._owned.setdefault(kind, {})
        rivals = self._rivals(kind, new.descriptor.name)
        owned.setdefault(new.qualified, new)
        return rivals[0] if rivals else None

    def _rivals(self, kind: str, name: str) -> list[Owned]:
        """All that bear a name: a built-in first, the others by distribution."""
        found = [owned for owned in self._owned.get(kind, {}).values() if owned.descriptor.name == name]
        return sorted(found, key=lambda owned: (not owned.builtin, owned.distribution))

    def owned(self, kind: str) -> dict[str, Owned]:
        """Everything of one kind by its shortest unambiguous name, sorted by name."""
        named = {}
        for qualified, owned in self._owned.get(kind, {}).items():
            rivals = self._rivals(kind, owned.descriptor.name)
            mine = len(rivals) == 1 or owned.builtin
            named[owned.descriptor.name if mine else qualified] = owned
        return dict(sorted(named.items()))

    def find(self, kind: str, name: str) -> Owned | None:
        """One descriptor by bare or qualified name."""
        return self.owned(kind).get(name) or self._owned.get(kind, {}).get(name)

    def get(self, kind: str, name: str) -> Owned:
        """The same; an unknown name names the nearest."""
        found = self.find(kind, name)
        if found is not None:
            return found
        rivals = self._rivals(kind, name)
        if rivals:
            choices = " or ".join(repr(rival.qualified) for rival in rivals)
            message = f"the {kind[:-1]} name {name!r} is offered by several plugins; say {choices}."
            raise UsageError(message)
        hint = did_you_mean(name, self.owned(kind))
        message = f"there is no {kind[:-1]} called {name!r}. {hint} `darkmatter list {kind}` shows all."
        raise UsageError(message)


def conflict(kind: str, new: Owned, old: Owned) -> str:
    """What to say when two plugins offer the same name."""
    what = f"the {kind[:-1]} {new.descriptor.name!r}"
    if new.qualified == old.qualified:
        return f"{new.distribution} {new.version} offers {what} twice; only the first is in use."
    reached = f"Use the names {old.qualified!r} and {new.qualified!r}"
    if old.builtin:
        reached = f"{what[4:].capitalize()} stays the built-in one; use {new.qualified!r} for the other"
    return (
        f"two plugins offer {what}: {old.distribution} {old.version} and {new.distribution} {new.version}. "
        f"{reached}, uninstall one, or block one with -p no:{new.plugin}."
    )
