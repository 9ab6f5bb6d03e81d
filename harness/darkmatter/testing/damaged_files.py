"""What an adapter has to make of a damaged file: an error that names it, or the SAE as it was."""

from __future__ import annotations

import fnmatch
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple, Self

from darkmatter.descriptors import SAEAdapter
from darkmatter.errors import DarkmatterError
from darkmatter.sae.base import SAE
from darkmatter.testing.damage import Damage, damages
from darkmatter.testing.rules import require
from darkmatter.testing.samples import Sample, load

SAYS_WHAT_WAS_EXPECTED = re.compile(r"expected|supported", re.IGNORECASE)


class Facts(NamedTuple):
    """What decides a number: the SAE itself, and which activations it is given."""

    fingerprint: str | None
    hook_in: str | None
    hook_out: str | None
    model: str | None
    context_length: int | None
    prepend_bos: bool | None

    @classmethod
    def of(cls, sae: SAE) -> Self:
        """The facts of one SAE."""
        about = sae.metadata
        return cls(
            *(sae.fingerprint, sae.hook_in, sae.hook_out),
            *(about.model, about.context_length, about.prepend_bos),
        )


def check_damaged(adapter: SAEAdapter, sample: Sample) -> None:
    """Raise AssertionError unless every damage of every file of a sample is met as it should be."""
    whole = load(adapter, sample)
    with tempfile.TemporaryDirectory() as scratch:
        # The names of folders above may matter to an adapter.
        copy = sample.copied_to(Path(scratch, *sample.folder.absolute().parts[-3:]))
        shutil.copytree(sample.folder, copy.folder)
        for original in sample.files():
            file = copy.folder / original.relative_to(sample.folder)
            read = _matters(adapter, copy, file, whole)
            for damage in damages(original):
                if damage.content is None:
                    file.unlink()
                else:
                    file.write_bytes(damage.content)
                if damage.added and not read:
                    continue  # a file of another SAE in the same folder
                _check(adapter, copy, file, damage, whole)
            shutil.copyfile(original, file)


def _matters(adapter: SAEAdapter, sample: Sample, file: Path, whole: SAE) -> bool:
    """Whether an empty file in its place is an error or gives another SAE; leaves it empty."""
    file.write_bytes(b"")
    try:
        return Facts.of(load(adapter, sample)) != Facts.of(whole)
    except DarkmatterError:
        return True


def _check(adapter: SAEAdapter, sample: Sample, file: Path, damage: Damage, whole: SAE) -> None:
    where = f"{adapter.name!r} on {file.parent.name}/{file.name}, {damage.how}"
    try:
        sae = load(adapter, sample)
    except DarkmatterError as error:
        _check_message(adapter, str(error), file, damage, where)
    else:
        _check_loaded(sae, file, damage, whole, where)


def _check_loaded(sae: SAE, file: Path, damage: Damage, whole: SAE, where: str) -> None:
    """What was loaded all the same is the SAE as it was, or says what was taken for what is missing."""
    before, after = Facts.of(whole), Facts.of(sae)
    # A fact that the file no longer records is unknown: nothing was taken for it.
    changed = [
        name
        for name, old, now in zip(Facts._fields, before, after, strict=True)
        if now != old and not (damage.lacks and now is None)
    ]
    new = [sentence for sentence in sae.assumptions if sentence not in whole.assumptions]
    if "fingerprint" in changed and damage.part is not None:
        new = [sentence for sentence in new if _names(sentence, damage.part)]
    # Where tensors alone tell what an SAE is, one without W_skip is another SAE of the format: it says so.
    renamed = damage.of_tensor and sae.metadata.architecture != whole.metadata.architecture
    require(
        not damage.added,
        "A tensor that the format does not have is an error: it may belong to another formula.",
        f"{where}: loaded without a complaint",
        "end `load` with weights.nothing_else(); tensors that change nothing are named there.",
    )
    said = damage.lacks and (renamed or bool(new))
    if damage.content == b"":  # a file that writers leave empty may be read as none, if that is said
        said = any(file.name in sentence for sentence in new)
    require(
        not changed or said,
        "A damaged file is an error, never another SAE; what is taken for a missing part is said.",
        f"{where}: loaded without a complaint, with another {' and '.join(changed)}",
        "take tensors and fields with their kind checked (view.weights(name).take('W_enc', d_in, d_sae), "
        "fields.size('k')); a default that the format defines for a missing one goes into `assumptions`, as "
        "'NAME not recorded; taken as ...'.",
    )


def _check_message(adapter: SAEAdapter, message: str, file: Path, damage: Damage, where: str) -> None:
    globs = [glob for glob in adapter.filenames if fnmatch.fnmatchcase(file.name, glob)]
    require(
        any(name in message for name in [file.name, *(globs if damage.content is None else [])]),
        "The error of a damaged file names the file.",
        f"{where}: {message}",
        "read files through the view (view.json, view.weights): its errors name them; where two files "
        "disagree, name both.",
    )
    own = f"the adapter {adapter.name!r} failed ("
    require(
        own not in message and "its detection failed (" not in message,
        "Damage is said in words, not by an exception that came along.",
        f"{where}: {message}",
        "api.Fields(view.json(name), str(view.file(name))) names a missing field and what was expected.",
    )
    # The names of folders say nothing about the damage.
    words = message.replace(f"{file.parent}/", "")
    require(
        damage.part is None or _names(words, damage.part),
        "The error of a damaged file names the tensor or the field.",
        f"{where}: {message}",
        "say which one is missing or does not fit; where two disagree, name both.",
    )
    require(
        not damage.mistaken or SAYS_WHAT_WAS_EXPECTED.search(words) is not None,
        "The error of a damaged file says what was expected.",
        f"{where}: {message}",
        "'...; expected [12, 24].' after what was found; view.weights(name).take(...) and api.Fields do.",
    )


def _names(message: str, part: str) -> bool:
    """Whether a message has this name as a word; readers may rename w_enc to W_enc."""
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", message, re.IGNORECASE) is not None
