"""Whether an adapter reads its own files, refuses others', and names what is damaged."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from darkmatter.descriptors import Detection, SAEAdapter
from darkmatter.errors import DarkmatterError
from darkmatter.files.view import FileView
from darkmatter.sae.base import SAE
from darkmatter.sae.detect import choose, detect
from darkmatter.sae.load import LoadOptions, read
from darkmatter.testing.codecs import check_sae
from darkmatter.testing.rules import descriptor_of, refuse, require, undisturbed

EXPECTED = "expected.safetensors"
ABSOLUTE = RELATIVE = 1e-5


@dataclass(frozen=True)
class Sample:
    """A folder with an SAE: ``folder`` is all of it, ``sae`` the SAE's place in it."""

    folder: Path
    sae: Path

    @classmethod
    def of(cls, folder: Path) -> Sample:
        """The SAE is where golden.json's ``path`` says, else in ``sae/``, else the folder itself."""
        golden = folder / "golden.json"
        if golden.is_file():
            return cls(folder, folder / json.loads(golden.read_text())["path"])
        return cls(folder, folder / "sae" if (folder / "sae").is_dir() else folder)


def check_adapter(
    adapter: SAEAdapter | str, samples: str | Path | Sequence[str | Path], *, damage: bool = True
) -> tuple[str, ...]:
    """Raise AssertionError unless an adapter conforms; returns what could not be checked here.

    It must claim every sample and give an SAE that fits, the same one twice; refuse folders of
    others without raising; and say of a damaged file which one it is. Where a sample holds
    ``expected.safetensors`` (x, codes, reconstruction, as the format's own code gives them), codes
    and reconstructions must agree (1e-5), with exactly the same latents active.

    Args:
        adapter: a descriptor, or the name of an installed one (then imports are checked too).
        samples: one or more folders. The SAE is in the folder's ``sae/`` (or where the folder's
            golden.json says), or is the folder itself.
        damage: also load damaged copies of every sample.
    """
    described = descriptor_of("adapters", adapter, SAEAdapter)
    listed = [samples] if isinstance(samples, str | Path) else samples
    found = [Sample.of(Path(folder)) for folder in listed]
    require(bool(found), "An adapter is checked on samples.", "no sample", "pass a folder with a saved SAE.")
    for sample in found:
        _check_sample(described, sample)
    with tempfile.TemporaryDirectory() as scratch:
        _check_foreign(described, Path(scratch))
    if damage:
        for sample in found:
            _check_damaged(described, sample)
    without = [sample.folder.name for sample in found if not (sample.folder / EXPECTED).is_file()]
    return tuple(f"{name}: no {EXPECTED} to compare with" for name in without)


def _load(adapter: SAEAdapter, place: Path) -> SAE:
    """The way ``load_sae`` takes, with this adapter alone."""
    view = FileView(place)
    return read(view, choose(view, detect(view, {adapter.name: adapter})), LoadOptions())


def _check_sample(adapter: SAEAdapter, sample: Sample) -> None:
    where = f"{adapter.name!r} on {sample.folder.name}"
    verdict = detect(FileView(sample.sae), {adapter.name: adapter})[0].verdict
    require(
        isinstance(verdict, Detection),
        "An adapter claims its own files.",
        f"{where}: {verdict.reason}",
        "let `filenames` match a file of the folder, and `detect` return a Detection.",
    )
    try:
        first = _load(adapter, sample.sae)
    except DarkmatterError as error:
        refuse("An adapter loads its samples.", f"{where}: {error}", "see the error.", error)
    with undisturbed(f"the adapter {where}"):
        second = _load(adapter, sample.sae)
    require(
        first.fingerprint is not None and first.fingerprint == second.fingerprint,
        "The same file gives the same fingerprint.",
        f"{where}: {first.fingerprint}, then {second.fingerprint}",
        "return a CanonicalSAE, or hash weights and settings yourself.",
    )
    expected = load_file(sample.folder / EXPECTED) if (sample.folder / EXPECTED).is_file() else None
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, first.d_in, generator=generator) if expected is None else expected["x"]
    check_sae(first, _rows(x, first.d_in), where)
    if expected is not None:
        _compare(first, expected, where)


def _rows(x: Tensor, width: int) -> Tensor:
    """Activations in float32 with ``width`` last: rows or sequences as they are, heads flattened."""
    return x.float() if x.shape[-1] == width else x.float().reshape(-1, width)


def _compare(sae: SAE, expected: dict[str, Tensor], where: str) -> None:
    x = _rows(expected["x"], sae.d_in)
    codes = sae.encode(x).to_dense()
    true = {
        "codes": _rows(expected["codes"], sae.d_sae),
        "reconstruction": _rows(expected["reconstruction"], sae.d_out),
    }
    wrong = int(((codes != 0) != (true["codes"] != 0)).sum())
    require(
        wrong == 0,
        "Exactly the same latents are active as in the format's own code.",
        f"{where}: {wrong} of {codes.numel()} codes are active in one and not in the other",
        "look at the order of bias, threshold and normalisation, and at > against >=.",
    )
    for name, values in {"codes": codes, "reconstruction": sae.reconstruct(x)}.items():
        close = torch.allclose(values, true[name], rtol=RELATIVE, atol=ABSOLUTE)
        gap = float((values - true[name]).abs().max())
        require(
            close,
            f"Codes and reconstructions are those of the format's own code ({ABSOLUTE:g}).",
            f"{where}: {name} differ by up to {gap:.3g}",
            "look at what is subtracted before the encoder, and at scales undone after the decoder.",
        )


def _check_foreign(adapter: SAEAdapter, scratch: Path) -> None:
    for name, folder in _foreign(adapter, scratch):
        view = FileView(folder)
        try:
            verdict = adapter.detect(view)
        except DarkmatterError:
            continue  # a file that cannot be read is refused with its reason
        except Exception as error:  # noqa: BLE001 - that is what is being looked for
            refuse(
                "Detection refuses what it does not know; it raises nothing of its own.",
                f"{adapter.name!r} on {name}: {type(error).__name__}: {error}",
                "ask view.has(...) before view.json(...), and use .get on what files contain.",
                error,
            )
        require(
            not isinstance(verdict, Detection),
            "An adapter claims nothing that is not its own.",
            f"{adapter.name!r} claims {name}: {verdict.reason}",
            "look for tensor names or fields that only this format has.",
        )


def _foreign(adapter: SAEAdapter, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Folders that belong to nobody, or not to this adapter."""
    concrete = [glob.replace("*", "x").replace("?", "x") for glob in adapter.filenames]
    model = {"config.json": b'{"model_type": "llama", "hidden_size": 8}', "README.md": b"# a model\n"}
    contents: dict[str, dict[str, bytes]] = {
        "an empty folder": {},
        "a language model": model,
        "empty files of its names": dict.fromkeys(concrete, b""),
        "garbage under its names": dict.fromkeys(concrete, b"\x00garbage\xff" * 50),
        "empty JSON under its names": dict.fromkeys([*concrete, "config.json", "cfg.json"], b"{}"),
    }
    for number, (name, files) in enumerate(contents.items()):
        folder = scratch / str(number)
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
        if files is model:
            save_file({"model.embed_tokens.weight": torch.zeros(4, 8)}, folder / "model.safetensors")
        yield name, folder


def _check_damaged(adapter: SAEAdapter, sample: Sample) -> None:
    """Every file of a sample damaged in turn: an error that names it, or the SAE as it was."""
    whole = _load(adapter, sample.sae).fingerprint
    below = sample.sae if sample.sae.is_dir() else sample.sae.parent
    files = [
        path for path in below.rglob("*") if path.is_file() and path.name not in {EXPECTED, "golden.json"}
    ]
    for file in sorted(files):
        content = file.read_bytes()
        damages = {"emptied": b"", "cut in half": content[: len(content) // 2]}
        if file.suffix == ".json":
            damages["reduced to {}"] = b"{}"
        for how, damaged in damages.items():
            with tempfile.TemporaryDirectory() as scratch:
                # The names of folders above may matter to an adapter.
                copy = Path(scratch, *sample.folder.absolute().parts[-3:])
                shutil.copytree(sample.folder, copy)
                (copy / file.relative_to(sample.folder)).write_bytes(damaged)
                _check_damage(adapter, copy / sample.sae.relative_to(sample.folder), file.name, how, whole)


def _check_damage(adapter: SAEAdapter, place: Path, file: str, how: str, whole: str | None) -> None:
    where = f"{adapter.name!r}, {file} {how}"
    try:
        sae = _load(adapter, place)
    except DarkmatterError as error:
        message = str(error)
    else:
        require(
            sae.fingerprint == whole or how == "reduced to {}",
            "A damaged file is an error, never another SAE.",
            f"{where}: loaded without a complaint, with other numbers",
            "take tensors with their shapes checked: view.weights(name).take('W_enc', d_in, d_sae).",
        )
        return
    require(
        file in message,
        "The error of a damaged file names the file.",
        f"{where}: {message}",
        "read files through the view (view.json, view.weights): its errors name them.",
    )
    own = f"the adapter {adapter.name!r} failed ("
    require(
        own not in message and "its detection failed (" not in message,
        "Damage is said in words, not by an exception that came along.",
        f"{where}: {message}",
        "api.Fields(view.json(name), str(view.file(name))) names a missing field and what was expected.",
    )
