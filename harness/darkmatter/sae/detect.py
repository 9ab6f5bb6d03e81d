"""Which adapter reads a file: by names first, then by content, never by loading a tensor."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from darkmatter.descriptors import Detection, Refusal
from darkmatter.errors import DarkmatterError, SAEFileError, UsageError, did_you_mean

if TYPE_CHECKING:
    from darkmatter.descriptors import SAEAdapter
    from darkmatter.files.view import FileView

HINTS = 5


@dataclass(frozen=True)
class Claim:
    """What one adapter says of a file."""

    adapter: SAEAdapter
    verdict: Detection | Refusal

    @property
    def exact(self) -> bool:
        """Whether the adapter is sure."""
        return isinstance(self.verdict, Detection) and self.verdict.confidence == "exact"

    @property
    def likely(self) -> bool:
        """Whether the adapter would try."""
        return isinstance(self.verdict, Detection) and self.verdict.confidence == "likely"

    def __str__(self) -> str:
        verb = "claims it" if self.exact else "may read it" if self.likely else "does not"
        return f"  {self.adapter.name}: {verb}: {self.verdict.reason}"


def matches(view: FileView, adapter: SAEAdapter) -> list[str]:
    """The files that bear one of the adapter's names."""
    return [
        name for name in view.names() if any(fnmatch.fnmatchcase(name, glob) for glob in adapter.filenames)
    ]


def detect(view: FileView, adapters: Mapping[str, SAEAdapter]) -> list[Claim]:
    """Every adapter's verdict, in the order of names."""
    return [Claim(adapters[name], _verdict(view, adapters[name])) for name in sorted(adapters)]


def _verdict(view: FileView, adapter: SAEAdapter) -> Detection | Refusal:
    if not matches(view, adapter):
        return Refusal(f"there is no file named {' or '.join(adapter.filenames)}")
    try:
        return adapter.detect(view)
    except DarkmatterError as error:
        return Refusal(str(error))
    except Exception as error:  # noqa: BLE001 - a broken plugin must not hide the other adapters
        return Refusal(f"its detection failed ({type(error).__name__}: {error})")


def named(
    view: FileView, adapters: Mapping[str, SAEAdapter], adapter: str | None = None
) -> SAEAdapter | None:
    """The adapter asked for, else the one that the catalogue names which led here: no file is looked at."""
    by_catalogue = view.origin.adapter if view.origin is not None else None
    if adapter is None:
        return adapters.get(by_catalogue) if by_catalogue is not None else None
    if adapter in adapters:
        return adapters[adapter]
    message = f"There is no adapter {adapter!r}. {did_you_mean(adapter, sorted(adapters))}"
    raise UsageError(message)


def adapter_for(view: FileView, adapters: Mapping[str, SAEAdapter], adapter: str | None = None) -> SAEAdapter:
    """The adapter that is named, else the one that claims the files; detection may cost a while."""
    return named(view, adapters, adapter) or choose(view, detect(view, adapters))


def choose(view: FileView, claims: list[Claim]) -> SAEAdapter:
    """The one adapter that claims the files; raises with every adapter's reason if none or several do."""
    exact = [claim.adapter for claim in claims if claim.exact]
    likely = [claim.adapter for claim in claims if claim.likely]
    if len(exact) == 1:
        return exact[0]
    if not exact and len(likely) == 1:
        return likely[0]
    raise SAEFileError(_undecided(view, claims, exact or likely))


def _undecided(view: FileView, claims: list[Claim], rivals: list[SAEAdapter]) -> str:
    if rivals:
        names = " and ".join(adapter.name for adapter in rivals)
        head = f"{view}: {names} both read this; say which with --adapter {rivals[0].name}."
    else:
        head = f"{view}: no adapter recognises this. {_hint(view, claims)}".strip()
    return "\n".join([head, *map(str, claims)])


def _hint(view: FileView, claims: list[Claim]) -> str:
    """Where the SAE might be, if not here."""
    if view.path.is_file():
        return f"If it is part of an SAE, give its folder: {view.root}."
    adapters = [claim.adapter for claim in claims]
    below = (folder for folder in view.subfolders() if any(matches(folder, adapter) for adapter in adapters))
    found = [str(folder) for folder in islice(below, HINTS)]
    if found:
        return f"It holds SAEs; give one of them: {', '.join(found)}."
    if view.names():
        return f"Files there: {', '.join(view.names()[:10])}."
    folders = [folder.root.name for folder in islice(view.subfolders(), HINTS)]
    return f"It holds no files; folders below: {', '.join(folders)}." if folders else "The folder is empty."
