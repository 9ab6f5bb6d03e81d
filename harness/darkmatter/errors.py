"""What can go wrong, sorted by what the user has to do about it.

Every message is one paragraph: what was wrong, what was expected, the nearest valid choice and
the next command. The class decides the exit status (see ``darkmatter.cli``).
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from pathlib import PurePath


class DarkmatterError(Exception):
    """Base of every error that darkmatter raises on purpose."""


class UsageError(DarkmatterError):
    """The command line, the suite's schema, an evaluator's name or a config field is wrong (exit 2)."""


class ItemError(DarkmatterError):
    """One item of a run cannot be used: it becomes an error row, the others go on (exit 1)."""


class SAEFileError(ItemError):
    """A SAE's files are missing, unrecognised, ambiguous, damaged or unsafe."""


class UnsafeFileError(SAEFileError):
    """A file asks for something that reading weights never needs."""


class CacheError(DarkmatterError):
    """The activation cache cannot be built or read."""


class ResultWarning(UserWarning):
    """Something about results that ``dm.evaluate`` and ``dm.run`` found and a reader must not overlook."""


class PluginError(DarkmatterError):
    """A plugin is broken, or two plugins claim the same name."""


OUT_OF_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


def is_out_of_room(error: BaseException) -> bool:
    """Whether the disk gave up: no plugin's fault, and nothing that the run could go on from."""
    return isinstance(error, OSError) and error.errno in OUT_OF_ROOM


def nearest(word: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The choices that look most like ``word``, best first."""
    return difflib.get_close_matches(word, list(choices), n=count, cutoff=0.4)


def near_files(name: str, names: Iterable[str]) -> str:
    """A sentence that names files of the same kind that look much like ``name``; empty if none does."""
    wanted = PurePath(name)
    others = sorted(other for other in names if PurePath(other).suffix == wanted.suffix and other != name)
    stems = [PurePath(other).stem for other in others]
    alike = difflib.get_close_matches(wanted.stem, stems, n=3, cutoff=0.6)
    close = [others[stems.index(stem)] for stem in alike]
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else ""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A sentence that names the nearest choices, or lists them all where none is near.

    The rejected word itself is never among them, even if it is a choice somewhere else.
    """
    known = sorted(set(choices) - {word})
    # Whoever types the beginning of a name means a name that begins so.
    begun = [choice for choice in known if word and choice.startswith(word)]
    close = begun if len(begun) == 1 else nearest(word, begun or known)
    if close:
        return f"Did you mean {' or '.join(repr(choice) for choice in close)}?"
    if not known:
        return "There is none to choose from."
    return f"Known: {', '.join(known)}."
