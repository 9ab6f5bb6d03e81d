"""Whether an adapter reads its own files, refuses others', and names what is damaged."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from darkmatter.descriptors import Detection, SAEAdapter
from darkmatter.errors import DarkmatterError
from darkmatter.files.view import FileView
from darkmatter.sae.base import SAE
from darkmatter.sae.detect import detect
from darkmatter.testing.codecs import check_sae
from darkmatter.testing.damaged_files import check_damaged
from darkmatter.testing.rules import descriptor_of, refuse, require, undisturbed
from darkmatter.testing.samples import EXPECTED, Sample, load

ABSOLUTE = RELATIVE = 1e-5


def check_adapter(
    adapter: SAEAdapter | str, samples: str | Path | Sequence[str | Path], *, damage: bool = True
) -> tuple[str, ...]:
    """Raise AssertionError unless an adapter conforms; returns what could not be checked here.

    It must claim every sample and give an SAE that fits, the same one twice; refuse folders of
    others without raising. Where a sample holds ``expected.safetensors`` (x, codes, reconstruction,
    as the format's own code gives them; no reconstruction where that gives codes alone), codes and
    reconstructions must agree (1e-5), with exactly the same latents active.

    Every file is also damaged in turn: left out, emptied, cut in half; one tensor more, that no
    format has; each tensor left out, of another shape, with a NaN, of integers; each field left out,
    null, of another type. An error must name the file, the tensor or field, and what was expected
    there. What loads all the same must be the SAE as it was; where something is left out, what is
    taken for it needs a sentence in ``assumptions`` that names it, or for a tensor another
    ``metadata.architecture``. Of a ``torch.save`` file with a library's own objects only the bytes
    are damaged.

    Args:
        adapter: a descriptor, or the name of an installed one (then imports are checked too).
        samples: one or more folders. The SAE is in the folder's ``sae/`` (or where the folder's
            golden.json says), or is the folder itself.
        damage: also load damaged copies of every sample (hundreds of loads each).
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
            check_damaged(described, sample)
    without = [sample.folder.name for sample in found if not (sample.folder / EXPECTED).is_file()]
    return tuple(f"{name}: no {EXPECTED} to compare with" for name in without)


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
        first = load(adapter, sample)
    except DarkmatterError as error:
        refuse("An adapter loads its samples.", f"{where}: {error}", "see the error.", error)
    with undisturbed(f"the adapter {where}"):
        second = load(adapter, sample)
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
    true = {"codes": _rows(expected["codes"], sae.d_sae)}
    found = {"codes": codes}
    require(
        sae.reconstructs == ("reconstruction" in expected),
        "An SAE reconstructs if the format's own code does.",
        f"{where}: it {'does' if sae.reconstructs else 'does not'}; {EXPECTED} holds {', '.join(expected)}",
        "return an api.EncodeOnlySAE for weights that give codes alone.",
    )
    if sae.reconstructs:
        true["reconstruction"] = _rows(expected["reconstruction"], sae.d_out)
        found["reconstruction"] = sae.reconstruct(x)
    wrong = int(((codes != 0) != (true["codes"] != 0)).sum())
    require(
        wrong == 0,
        "Exactly the same latents are active as in the format's own code.",
        f"{where}: {wrong} of {codes.numel()} codes are active in one and not in the other",
        "look at the order of bias, threshold and normalisation, and at > against >=.",
    )
    for name, values in found.items():
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
