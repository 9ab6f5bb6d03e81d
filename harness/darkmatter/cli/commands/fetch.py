"""``darkmatter fetch``: the only command that downloads SAEs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from darkmatter.cli.output import readable_size, say, say_columns, say_json, warn
from darkmatter.errors import DarkmatterError, UsageError

if TYPE_CHECKING:
    from darkmatter.fetching.fetch import Fetched
    from darkmatter.fetching.record import Record

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SHORT = 12


def _size(_context: click.Context, _option: click.Parameter, value: str) -> int:
    """Bytes of ``20GB``, ``500 MB`` or ``123456``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]B)?", value.strip().upper())
    if match is None:
        message = f"--max-size {value!r}: expected a size such as 20GB, 500MB or a number of bytes."
        raise UsageError(message)
    return int(float(match[1]) * _UNITS[match[2] or ""])


@click.command()
@click.argument("references", nargs=-1, metavar="[REF...]")
@click.option("--list", "listing", is_flag=True, help="Show what is there.")
@click.option("--verify", is_flag=True, help="Read every byte of REF, or of all that is there.")
@click.option(
    "--max-size", default="20GB", callback=_size, show_default=True, help="Refuse what is larger than this."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def fetch(references: tuple[str, ...], *, listing: bool, verify: bool, max_size: int, as_json: bool) -> int:
    """Download SAEs: hf:ORG/REPO/FOLDER@REVISION, or a catalogue's, such as saelens:RELEASE/ID.

    Everything comes from one commit and is compared with the hashes that the hub states. A branch
    moves to its newest commit when it is fetched again; @COMMIT never moves. The files stay in the
    Hugging Face cache, whose settings hold: HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE.
    """
    if listing and (references or verify):
        message = "--list stands alone."
        raise UsageError(message)
    if listing:
        return _list(as_json=as_json)
    if verify:
        return _verify(references, as_json=as_json)
    if not references:
        message = "name what to fetch, such as hf:ORG/REPO/FOLDER, or say --list or --verify."
        raise UsageError(message)
    return _fetch(references, max_size, as_json=as_json)


def _fetch(references: Sequence[str], max_size: int, *, as_json: bool) -> int:
    from darkmatter.fetching.fetch import fetch as bring
    from darkmatter.progress import Progress
    from darkmatter.references import parse_reference

    parsed = [parse_reference(text) for text in references]
    done: list[dict[str, Any]] = []
    failed = 0
    for reference in parsed:
        try:
            fetched = bring(reference, max_size=max_size, progress=Progress.on_stderr())
        except UsageError:
            raise
        except DarkmatterError as error:
            failed += 1
            warn(f"error: {error}")
            done.append({"reference": str(reference), "error": str(error)})
            continue
        done.append({"reference": str(reference), "before": fetched.before, **_facts(fetched.record)})
        if not as_json:
            say(_outcome(fetched))
    if as_json:
        say_json(done)
    return 1 if failed else 0


def _outcome(fetched: Fetched) -> str:
    """One line on what became of a reference."""
    record = fetched.record
    if fetched.moved:
        change = f"moved from commit {str(fetched.before)[:_SHORT]} to {record.commit[:_SHORT]}"
    elif fetched.before:
        change = f"still at commit {record.commit[:_SHORT]}"
    else:
        change = f"commit {record.commit[:_SHORT]}"
    return f"{fetched.reference}: {change}, {len(record.files)} files, {readable_size(record.size)}"


def _facts(record: Record) -> dict[str, Any]:
    return {
        "recorded_as": record.reference,
        "repo": record.repo,
        "commit": record.commit,
        "fetched": record.fetched,
        "snapshot": record.snapshot,
        "size": record.size,
        "files": {name: file.model_dump() for name, file in record.files.items()},
    }


def _list(*, as_json: bool) -> int:
    from darkmatter.fetching.record import Record, all_records, problems, records_folder

    found = list(all_records())
    records = [entry for entry in found if isinstance(entry, Record)]
    wrong = {record.reference: problems(record, hashes=False) for record in records}
    if as_json:
        say_json([_facts(record) | {"problems": wrong[record.reference]} for record in records])
    else:
        say(f"{records_folder()}: {len(records)} fetched references")
        say_columns(
            [
                (record.reference, record.commit[:_SHORT], readable_size(record.size), record.fetched[:10])
                for record in records
            ]
        )
        for record in records:
            if wrong[record.reference]:
                say(f"  {record.reference}: {wrong[record.reference][0]}")
    for entry in found:
        if not isinstance(entry, Record):
            warn(str(entry))
    return 0


def _verify(references: Sequence[str], *, as_json: bool) -> int:
    from darkmatter.fetching.record import problems

    outcome = {record.reference: problems(record, hashes=True) for record in _recorded(references)}
    damaged = [name for name, found in outcome.items() if found]
    if as_json:
        say_json([{"reference": name, "problems": found} for name, found in outcome.items()])
    else:
        for name, found in outcome.items():
            say(f"{name}: {'damaged' if found else 'ok'}")
            for problem in found:
                say(f"  {problem}")
    for name in damaged:
        warn(f"mend it with: darkmatter fetch {name}")
    return 1 if damaged else 0


def _recorded(references: Sequence[str]) -> list[Record]:
    """The records of some references, or of all."""
    from darkmatter.errors import ItemError
    from darkmatter.fetching.fetch import hub_reference
    from darkmatter.fetching.record import Record, all_records, canonical, read_record
    from darkmatter.references import parse_reference

    if not references:
        found = list(all_records())
        for entry in found:
            if not isinstance(entry, Record):
                raise entry
        return [entry for entry in found if isinstance(entry, Record)]
    records = []
    for text in references:
        record = read_record(canonical(hub_reference(parse_reference(text))))
        if record is None:
            message = f"{text}: was not fetched. Fetch it: darkmatter fetch {text}"
            raise ItemError(message)
        records.append(record)
    return records
