"""Reading documents: plain text, JSON lines, Hugging Face datasets."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkmatter.cache.spec import TextSpec
from darkmatter.embedded import embedded_path
from darkmatter.errors import UsageError, did_you_mean, near_files
from darkmatter.files.atomic import content_hash

_END_OF_TEXT = re.compile(r"^<\|endoftext\|>\s*$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_SUFFIXES = {".txt", ".md", ".jsonl", ".ndjson", ".json"}


@dataclass(frozen=True)
class Documents:
    """Documents in their file's order, with what identifies them.

    Attributes:
        texts: the documents; may be read from disk one by one.
        hash: hash of their content (of a dataset: its fingerprint).
        source: one line that names them in messages.
    """

    texts: Sequence[str]
    hash: str
    source: str


def open_documents(spec: TextSpec) -> Documents:
    """The documents of a text.

    ``.txt``: documents end at lines ``<|endoftext|>`` if there are any, else at blank lines.
    ``.jsonl``: one record per line. ``.json``: a list of records. A record is a string, or an
    object whose ``spec.field`` is a string. Each may be gzipped (``.gz``).
    """
    if spec.path.startswith("hf:"):
        return _open_dataset(spec)
    path = embedded_path(spec.path) or Path(spec.path).expanduser()
    data = _read(path)
    kind = _kind(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{path}: is not UTF-8 text (byte {error.start}). Convert it, or name another file."
        raise UsageError(message) from error
    if kind == ".json":
        texts = _json_list(path, text, spec.field)
    elif kind in (".jsonl", ".ndjson"):
        texts = _json_lines(path, text, spec.field)
    else:
        texts = _plain(text)
    texts = [document for document in texts if document.strip()]
    if not texts:
        message = f"{path}: holds no text. Expected at least one document that is not blank."
        raise UsageError(message)
    return Documents(texts, content_hash(kind, spec.field if kind.startswith(".js") else "", data), str(path))


def _kind(path: Path) -> str:
    """The suffix that decides how a file is read; anything unknown is refused."""
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if suffix not in _SUFFIXES:
        message = f"{path}: texts end in {', '.join(sorted(_SUFFIXES))} (also with .gz), or begin with hf:."
        raise UsageError(message)
    return suffix


def _read(path: Path) -> bytes:
    """All bytes of a text file, unpacked."""
    if not path.is_file():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        message = f"There is no text file {path}. {near_files(path.name, siblings)}".strip()
        raise UsageError(message)
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as handle:
                return handle.read()
        return path.read_bytes()
    except (OSError, EOFError) as error:
        message = f"{path}: cannot be read: {error}."
        raise UsageError(message) from error


def _plain(text: str) -> list[str]:
    """Documents of plain text."""
    text = text.replace("\r\n", "\n")
    ends = _END_OF_TEXT if _END_OF_TEXT.search(text) else _BLANK_LINES
    return [document.strip("\n") for document in ends.split(text)]


def _json_lines(path: Path, text: str, field: str) -> list[str]:
    """Documents of JSON lines; blank lines are passed over."""
    texts = []
    # Not splitlines: JSON strings may hold other line separators of Unicode.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            message = f"{path}, line {number}: is not JSON ({error}). Expected one record per line."
            raise UsageError(message) from error
        texts.append(_field(record, field, f"{path}, line {number}"))
    return texts


def _json_list(path: Path, text: str, field: str) -> list[str]:
    """Documents of one JSON list."""
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"{path}: is not JSON ({error}). Files with one record per line end in .jsonl."
        raise UsageError(message) from error
    if not isinstance(records, list):
        message = f"{path}: expected a JSON list of records, got {type(records).__name__}."
        raise UsageError(message)
    return [_field(record, field, f"{path}, record {index}") for index, record in enumerate(records)]


def _field(record: Any, field: str, where: str) -> str:
    """The text of one record."""
    if isinstance(record, str):
        return record
    if not isinstance(record, dict):
        message = f"{where}: expected an object or a string, got {type(record).__name__}."
        raise UsageError(message)
    if not isinstance(record.get(field), str):
        wrong = "no string" if field in record else "no field"
        texts = sorted(key for key, value in record.items() if isinstance(value, str))
        message = (
            f"{where}: has {wrong} {field!r}. Its text fields: {', '.join(texts) or 'none'}. "
            "Name one with `field:` in the suite's text."
        )
        raise UsageError(message)
    return str(record[field])


class _DatasetColumn(Sequence[str]):
    """A column of a dataset, read from disk row by row."""

    def __init__(self, dataset: Any, field: str) -> None:
        self._dataset = dataset
        self._field = field

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        value = self._dataset[int(index)][self._field]
        return value if isinstance(value, str) else ""


def _open_dataset(spec: TextSpec) -> Documents:
    """The documents of ``hf:NAME[:CONFIG[:SPLIT]]``, downloaded once by the ``datasets`` library."""
    name, config, split = [*spec.path.removeprefix("hf:").split(":", 2), "", ""][:3]
    if not _HUB_ID.fullmatch(name) or Path(name).exists():
        # The library takes what is there for a dataset on this machine, and reads it.
        message = (
            f"{spec.path}: expected hf:NAME[:CONFIG[:SPLIT]] with a dataset's name on the Hugging Face Hub, "
            "and none that is a path here too. Name a .txt or .jsonl file by itself, without hf:."
        )
        raise UsageError(message)
    try:
        import datasets
    except ImportError as error:
        message = f"{spec.path} needs the datasets library: pip install 'sae-darkmatter[hub]'."
        raise UsageError(message) from error
    try:
        dataset = datasets.load_dataset(name, config or None, split=split or "train")
    except Exception as error:
        # The library has no common base class for what can go wrong between here and the Hub.
        first = str(error).partition("\n")[0]
        message = (
            f"{spec.path}: the dataset cannot be opened: {first} If this machine is offline, download "
            "it where there is a network (`darkmatter plan` with the same arguments does), copy the "
            "Hugging Face cache here, or name a .jsonl file instead."
        )
        raise UsageError(message) from error
    if spec.field not in dataset.column_names:
        message = (
            f"{spec.path}: has no field {spec.field!r}. {did_you_mean(spec.field, dataset.column_names)}"
        )
        raise UsageError(message)
    of_content = dataset._fingerprint  # noqa: SLF001 - nothing public says whether the content is the same
    identity = content_hash("hf", name, config, split, spec.field, str(of_content))
    return Documents(_DatasetColumn(dataset, spec.field), identity, spec.path)
