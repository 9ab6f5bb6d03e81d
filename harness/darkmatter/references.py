"""SAE references: what a user writes after ``--sae``, parsed without opening a file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal

from darkmatter.embedded import embedded_schemes
from darkmatter.errors import DarkmatterError, UsageError, did_you_mean, near_files
from darkmatter.files import limits
from darkmatter.printable import brief

Kind = Literal["path", "hf", "catalogue", "embedded", "baseline", "python"]
KINDS: tuple[Kind, ...] = ("path", "hf", "baseline", "python")
"""The kinds that have a scheme of their own; catalogues and embedded suites bring theirs."""

WITH_FILES: frozenset[Kind] = frozenset({"path", "hf", "catalogue", "embedded"})
"""The kinds whose files an adapter reads."""

SIBLINGS = 1000
"""Names beside a missing path that are compared with it."""

NAME = re.compile(r"[A-Za-z0-9_.-]+")
NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)", re.DOTALL)
SCHEME = re.compile(r"([a-z][a-z0-9_]+):(.*)", re.DOTALL)
INDEXED = re.compile(r"(.+)#([0-9]{1,9})", re.DOTALL)
HF = re.compile(r"([\w.-]+/[\w.-]+)((?:/[\w.+=,:-]+)*)/?(?:@([\w./-]+))?", re.ASCII)
PYTHON = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", re.ASCII)
FIELD = re.compile(r"([a-z][a-z0-9_]*)=([^,&?]+)")


@dataclass(frozen=True)
class Reference:
    """Where an SAE comes from.

    Attributes:
        kind: what sort of place ``target`` is in.
        raw: the reference as written, without a NAME.
        target: path; repository and folder or file; a catalogue's or a suite's entry; baseline;
            module:function.
        index: which SAE of a file that holds several.
        revision: of an ``hf:`` reference.
        catalogue: whose entry ``target`` is, such as ``saelens``.
        fields: of a ``baseline:`` reference.
    """

    kind: Kind
    raw: str
    target: str
    index: int | None = None
    revision: str | None = None
    catalogue: str | None = None
    fields: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def parts(self) -> list[str]:
        """Components from which a name is made, the last one first in importance."""
        if self.kind == "python":
            parts = re.split(r"[.:]", self.target)
        elif self.kind == "path":
            parts = list(Path(self.target).absolute().parts[1:])
        else:
            parts = list(PurePosixPath(self.target).parts)
        if self.fields:
            parts[-1] += "".join(f"-{key}{value}" for key, value in self.fields.items())
        if self.index is not None:
            parts[-1] = f"{parts[-1]}-{self.index}"
        return [re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-") or "sae" for part in parts] or ["sae"]


def parse_named(text: str) -> tuple[str | None, Reference]:
    """``[NAME=]REF`` as (name or None, reference)."""
    match = NAMED.fullmatch(text)
    if match is None:
        return None, parse_reference(text)
    return match[1], parse_reference(match[2])


def parse_reference(text: str) -> Reference:
    """A reference without a NAME."""
    if not text.strip() or "\x00" in text:
        message = "An SAE reference is empty or holds a NUL character; expected a path or kind:place."
        raise UsageError(message)
    scheme = SCHEME.fullmatch(text)
    if scheme is None:
        return _path(text, text)
    kind, rest = scheme[1], scheme[2]
    if kind == "path":
        return _path(text, rest)
    if kind == "hf":
        return _hf(text, rest)
    if kind == "baseline":
        return _baseline(text, rest)
    if kind == "python":
        return _python(text, rest)
    catalogues = _catalogues()
    if kind in catalogues:
        return _entry(text, kind, rest, catalogues[kind])
    embedded = embedded_schemes()
    if kind in embedded:
        return Reference("embedded", text, rest)
    if _exists(text):  # a file with a colon in its name
        return _path(text, text)
    hint = did_you_mean(kind, [*KINDS, *catalogues, *embedded])
    message = f"{text!r}: there is no kind of reference {kind!r}. {hint}"
    raise UsageError(message)


def anchored_path(text: str, folder: Path) -> str:
    """A path that, if relative, starts at ``folder``."""
    return str(folder / os.path.expanduser(text))  # noqa: PTH111 - leaves an unknown ~user as it is


def anchored_reference(text: str, folder: Path) -> str:
    """A reference whose path, if it is one and relative, starts at ``folder``."""
    scheme = SCHEME.fullmatch(text)
    kind = scheme[1] if scheme is not None else "path"
    if kind == "path":
        return anchored_path(text.removeprefix("path:"), folder) if text.strip() else text
    anchored = anchored_path(text, folder)
    if kind in KINDS or not _exists(anchored) or kind in {*_catalogues(), *embedded_schemes()}:
        return text
    return anchored  # a file with a colon in its name


def unique_names(references: Sequence[Reference], taken: Sequence[str] = ()) -> list[str]:
    """A short name for each reference: its last component, parents prefixed until all differ.

    ``taken`` are names the user gave to others. The same reference twice is an error.
    """
    raw = [reference.raw for reference in references]
    for text in raw:
        if raw.count(text) > 1:
            message = (
                f"{text!r} is given more than once; leave out all but one, or, to evaluate it again under "
                f"another name, give it one: NAME={text}"
            )
            raise UsageError(message)
    parts = [reference.parts() for reference in references]
    depth = [1] * len(parts)
    while True:
        names = ["-".join(part[-count:]) for part, count in zip(parts, depth, strict=True)]
        clashing = [i for i, name in enumerate(names) if names.count(name) > 1 or name in taken]
        if not clashing:
            return names
        longer = [i for i in clashing if depth[i] < len(parts[i])]
        if not longer:
            first = references[clashing[0]]
            message = (
                f"{first.raw!r}: its name {names[clashing[0]]!r} is taken; give it one: NAME={first.raw}"
            )
            raise UsageError(message)
        for i in longer:
            depth[i] += 1


def check_name(name: str) -> str:
    """A name that a user gave."""
    if NAME.fullmatch(name) and len(name) <= limits.NAME:
        return name
    message = (
        f"{brief(name)!r} cannot name an SAE; expected letters, digits, '_', '.' and '-', "
        f"at most {limits.NAME} of them."
    )
    raise UsageError(message)


def absent_hint(target: str) -> str:
    """What may have been meant by a path where there is nothing; empty where nothing is known of it."""
    path, mark, _ = target.rpartition("#")
    if mark and _exists(path):
        return f"The index after # must be a number, such as {path}#0."
    place = Path(target).expanduser()
    try:
        siblings = [entry.name for entry in islice(place.parent.iterdir(), SIBLINGS)]
    except OSError:
        siblings = []
    if near := near_files(place.name, siblings):
        return near
    if HF.fullmatch(target) and not target.startswith(".") and not siblings:
        return f"If it is a repository of the Hugging Face hub, write hf:{target}."
    return ""


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # too long for a path
        return False


def _path(raw: str, rest: str) -> Reference:
    match = INDEXED.fullmatch(rest)
    if match is None or _exists(rest):
        return Reference("path", raw, rest)
    return Reference("path", raw, match[1], index=int(match[2]))


def _hf(raw: str, rest: str) -> Reference:
    indexed = INDEXED.fullmatch(rest)
    match = HF.fullmatch(indexed[1] if indexed else rest)
    if match is None or {".", ".."} & set((match[1] + match[2]).split("/")):
        message = (
            f"{raw!r}: expected hf:ORG/REPO/FOLDER@REVISION#INDEX; folder (or file), revision and index may "
            "be left out."
        )
        raise UsageError(message)
    index = int(indexed[2]) if indexed else None
    return Reference("hf", raw, match[1] + match[2], index=index, revision=match[3])


def _catalogues() -> Mapping[str, str]:
    """Schemes that plugins' catalogues bring, with the form of what follows; plugins load for this."""
    from darkmatter.plugins import host

    return {name: catalogue.form for name, catalogue in host().catalogues().items()}


def _entry(raw: str, catalogue: str, rest: str, form: str) -> Reference:
    parts = rest.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        message = f"{raw!r}: expected {catalogue}:{form}."
        raise UsageError(message)
    if len(parts) < len(form.split("/")):
        said = _catalogue_says(Reference("catalogue", raw, rest, catalogue=catalogue))
        message = f"{raw!r}: expected {catalogue}:{form}.{said}"
        raise UsageError(message)
    return Reference("catalogue", raw, rest, catalogue=catalogue)


def _catalogue_says(incomplete: Reference) -> str:
    """What a catalogue answers to a reference that is cut off: what may stand there."""
    from darkmatter.catalogues import resolve_entry

    try:
        resolve_entry(incomplete)
    except DarkmatterError as error:
        said = str(error).removeprefix(f"{incomplete}: ")
        return f" {said[:1].upper()}{said[1:]}"
    return ""


def _baseline(raw: str, rest: str) -> Reference:
    name, *settings = re.split(r"[,?&]", rest)
    pairs = [FIELD.fullmatch(setting) for setting in settings]
    fields = {pair[1]: pair[2] for pair in pairs if pair}
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(fields) != len(settings):
        message = f"{raw!r}: expected baseline:NAME or baseline:NAME,FIELD=VALUE,… such as baseline:pca,k=32."
        raise UsageError(message)
    return Reference("baseline", raw, name, fields=fields)


def _python(raw: str, rest: str) -> Reference:
    if PYTHON.fullmatch(rest) is None:
        message = f"{raw!r}: expected python:PACKAGE.MODULE:FUNCTION."
        raise UsageError(message)
    return Reference("python", raw, rest)
