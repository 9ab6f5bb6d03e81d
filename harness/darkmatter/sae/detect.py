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
SHOWN = 10
FEW = 3  # adapters that found no file of theirs and are still named


class Unreadable(Refusal):
    """A refusal because a file that bears the right name cannot be read: the nearest miss."""


@dataclass(frozen=True)
class Claim:
    """What one adapter says of a file."""

    adapter: SAEAdapter
    verdict: Detection | Refusal
    files: tuple[str, ...] = ()
    """Files that bear one of the adapter's names; it was not asked about any others."""

    @property
    def exact(self) -> bool:
        """Whether the adapter is sure."""
        return isinstance(self.verdict, Detection) and self.verdict.confidence == "exact"

    @property
    def likely(self) -> bool:
        """Whether the adapter would try."""
        return isinstance(self.verdict, Detection) and self.verdict.confidence == "likely"

    @property
    def said(self) -> str:
        """What the adapter says, to stand behind its name."""
        if isinstance(self.verdict, Unreadable):
            return f"failed to look: {self.verdict.reason}"
        verb = "claims it" if self.exact else "may read it" if self.likely else "does not claim it"
        return f"{verb}: {self.verdict.reason}"

    def __lt__(self, other: Claim) -> bool:
        """The surest first, then those whose file is named the most precisely: ae.pt before *.pt."""
        return self._rank() < other._rank()

    def _rank(self) -> tuple[bool, bool, bool, int, str]:
        globs = [glob for glob in self.adapter.filenames if fnmatch.filter(self.files, glob)]
        precision = max((len(glob) for glob in globs), default=0)
        unreadable = isinstance(self.verdict, Unreadable)
        return not self.exact, not self.likely, not unreadable, -precision, self.adapter.name


def matches(view: FileView, adapter: SAEAdapter) -> list[str]:
    """The files that bear one of the adapter's names."""
    return [
        name for name in view.names() if any(fnmatch.fnmatchcase(name, glob) for glob in adapter.filenames)
    ]


def detect(view: FileView, adapters: Mapping[str, SAEAdapter]) -> list[Claim]:
    """Every adapter's verdict, in the order of names."""
    return [_asked(view, adapters[name]) for name in sorted(adapters)]


def _asked(view: FileView, adapter: SAEAdapter) -> Claim:
    files = tuple(matches(view, adapter))
    if not files:
        return Claim(adapter, Refusal(f"there is no file named {' or '.join(adapter.filenames)}"))
    return Claim(adapter, _verdict(view, adapter), files)


def _verdict(view: FileView, adapter: SAEAdapter) -> Detection | Refusal:
    try:
        return adapter.detect(view)
    except DarkmatterError as error:
        return Unreadable(str(error))
    except Exception as error:  # noqa: BLE001 - a broken plugin must not hide the other adapters
        return Unreadable(f"its detection failed ({type(error).__name__}: {error})")


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
    """The problem in one line; below it the adapters that found a file of theirs, the others counted."""
    below = [] if rivals else _below(view, claims)
    if rivals:
        names = " and ".join(adapter.name for adapter in rivals)
        lines = [f"{view}: {names} both read this; say which with --adapter {rivals[0].name}."]
    else:
        hint = _folders(below) if below else _contents(view)
        lines = [f"{view}: no adapter recognises this. {hint}"]
    names_by_word: dict[str, list[str]] = {}
    for claim in sorted(claims):
        if claim.files:
            names_by_word.setdefault(claim.said, []).append(claim.adapter.name)
    lines += [f"  {', '.join(names)} {said}" for said, names in names_by_word.items()]
    unmatched = [claim for claim in claims if not claim.files]
    if len(unmatched) <= FEW:
        lines += [f"  {claim.adapter.name} {claim.said}" for claim in unmatched]
    elif view.names() and not below:
        lines.append(
            f"  {_count(len(unmatched), claims)}; `darkmatter list adapters` shows what they look for."
        )
    return "\n".join(lines)


def _count(others: int, claims: list[Claim]) -> str:
    """How many adapters found nothing that is named as their files are."""
    more = "more " if others < len(claims) else ""
    return f"{others} {more}adapters found none of their files"


def _below(view: FileView, claims: list[Claim]) -> list[str]:
    """Folders below that have files of some adapter's name."""
    if view.path.is_file():
        return []
    adapters = [claim.adapter for claim in claims]
    return [
        str(folder) for folder in view.subfolders() if any(matches(folder, adapter) for adapter in adapters)
    ]


def _folders(found: list[str]) -> str:
    more = f" and {len(found) - HINTS} more" if len(found) > HINTS else ""
    return f"It holds SAEs; give one of them: {', '.join(found[:HINTS])}{more}."


def _contents(view: FileView) -> str:
    """What is there instead of an SAE."""
    if view.path.is_file():
        return f"If it is part of an SAE, give its folder: {view.root}."
    if view.names():
        more = f" and {len(view.names()) - SHOWN} more" if len(view.names()) > SHOWN else ""
        return f"Files there: {', '.join(view.names()[:SHOWN])}{more}."
    folders = [folder.root.name for folder in islice(view.subfolders(), HINTS)]
    return f"It holds no files; folders below: {', '.join(folders)}." if folders else "The folder is empty."
