"""The canonical form of an SAE as files: ``darkmatter.json`` and ``darkmatter.safetensors``.

The JSON (``SavedSAE``) says what is done with the tensors and what is known of the SAE; the tensors
are those of ``CanonicalSAE.tensors()``, in the dtype in which they were given. What is read back has
the same fingerprint, and the same codes and reconstructions bit for bit. Importing this module imports
no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from darkmatter.errors import ItemError, SAEFileError, UsageError
from darkmatter.files.atomic import sweep, write_json
from darkmatter.files.view import FileView
from darkmatter.sae.assumption import Assumption, described
from darkmatter.sae.base import SAEMetadata
from darkmatter.sae.saved_schema import FORMAT, VERSION, SavedActivation, SavedSAE

if TYPE_CHECKING:
    from torch import Tensor

    from darkmatter.files.weights import Weights
    from darkmatter.sae.activation import Activation
    from darkmatter.sae.base import SAE
    from darkmatter.sae.canonical import CanonicalSAE

CONFIG, WEIGHTS = SAVED_FILES = ("darkmatter.json", "darkmatter.safetensors")

ADAPTER = "darkmatter"
"""The adapter that reads them."""

SHOULD_BE = "Input should be "
"""How pydantic begins to say what it expected."""

CONVERTED = "converted_from"
"""The entry of ``metadata.extra`` that says where an SAE was before, and where it was before that."""

OWN = "activation."
"""What the names of an activation's tensors begin with."""


# -- writing --------------------------------------------------------------------------------------


def save_sae(sae: SAE, folder: str | Path, *, overwrite: bool = False, reference: str | None = None) -> Path:
    """Write an SAE in the canonical form, read it back and compare; returns the folder.

    Args:
        sae: an SAE that has the canonical form.
        folder: where the two files go; it must be new or empty.
        overwrite: replace these two files if they are there, and leave what else there is.
        reference: where the SAE came from, for the record.

    Raises:
        ItemError: the SAE has no canonical form, or what was written does not read back as the same.
        UsageError: the folder is not empty, or holds an SAE of another format.
    """
    place = Path(folder)
    canonical = _canonical(sae, reference or "this SAE")
    try:
        document = _document(canonical, reference)
    except ValidationError as error:
        message = f"{reference or 'this SAE'}: what is recorded of it cannot be written: {_first(error)}"
        raise ItemError(message) from error
    if place.exists() and not place.is_dir():
        message = f"{place}: is a file; an SAE is written to a folder. Name another one."
        raise UsageError(message)
    if not overwrite and place.is_dir() and any(place.iterdir()):
        message = (
            f"{place}: is not empty. Name a new folder; --force (overwrite=True) replaces {CONFIG} and "
            f"{WEIGHTS} in it."
        )
        raise UsageError(message)
    if place.is_dir() and any(place.iterdir()):
        _refuse_rivals(place)
    try:
        _write(canonical, document, place)
    except OSError as error:
        message = f"{error.filename or place}: cannot be written: {error.strerror or error}."
        raise ItemError(message) from error
    _verify(document, place)
    return place


def _refuse_rivals(place: Path) -> None:
    """Raise a UsageError where another format's SAE is: with ours beside it, none would be readable."""
    from darkmatter.plugins import host
    from darkmatter.sae.detect import detect

    for claim in detect(FileView(place), host().adapters()):
        if claim.adapter.name != ADAPTER and (claim.exact or claim.likely):
            message = (
                f"{place}: the adapter {claim.adapter.name!r} reads an SAE there ({claim.verdict.reason}), "
                "and with darkmatter's files beside it the folder would be ambiguous. Name another folder."
            )
            raise UsageError(message)


def _write(sae: CanonicalSAE, document: SavedSAE, place: Path) -> None:
    from darkmatter.files.tensors import encode_tensors, write_pieces

    place.mkdir(parents=True, exist_ok=True)
    sweep(place)
    # The JSON goes first and comes last: whoever sees it sees the weights that belong to it.
    (place / CONFIG).unlink(missing_ok=True)
    tensors = {name: tensor.detach().cpu() for name, tensor in sae.tensors().items()}
    write_pieces(place / WEIGHTS, encode_tensors(tensors))
    write_json(place / CONFIG, document.model_dump(mode="json"))


def _canonical(sae: SAE, what: str) -> CanonicalSAE:
    """The SAE, if its codes follow from weights and an activation that have names here."""
    from darkmatter.sae.canonical import CanonicalSAE

    if type(sae) is not CanonicalSAE:
        name = sae.metadata.architecture or "an SAE made of functions"
        message = (
            f"{what}: {name} ({type(sae).__name__}) has no canonical form (affine encoder, activation, "
            "affine decoder), so it cannot be written as one. Keep its own files; darkmatter reads those."
        )
        raise ItemError(message)
    activation = sae.activation
    if _known().get(type(activation).__name__) is not type(activation):
        message = (
            f"{what}: its activation {type(activation).__module__}.{type(activation).__qualname__} is a "
            f"plugin's own; only {', '.join(_known())} can be written by name. Keep its own files."
        )
        raise ItemError(message)
    return sae


def _known() -> dict[str, type[Activation]]:
    """The activations that can be written by name."""
    from darkmatter.sae import activation

    return {
        name: getattr(activation, name)
        for name in ("Relu", "TanhRelu", "JumpRelu", "Threshold", "TopK", "AbsTopK", "GroupMax", "Gated")
    }


def _document(sae: CanonicalSAE, reference: str | None) -> SavedSAE:
    """What the JSON file says of an SAE."""
    metadata = asdict(sae.metadata)
    return SavedSAE.model_validate(
        {
            "format": FORMAT,
            "version": VERSION,
            "d_in": sae.d_in,
            "d_out": sae.d_out,
            "d_sae": sae.d_sae,
            "tensors": sorted(sae.tensors()),
            "activation": sae.activation.settings(),
            "normalisation": asdict(sae.normalisation),
            "compute_dtype": str(sae.dtype).removeprefix("torch."),
            "head_shape": None if sae.head_shape is None else list(sae.head_shape),
            "hook_in": sae.hook_in,
            "hook_out": sae.hook_out,
            "metadata": {**metadata, "extra": _plain(metadata["extra"])},
            "assumptions": described(sae.assumptions),
            "overrides": sae.overrides,
            "source": {"reference": reference, "format": sae.metadata.format},
            "fingerprint": sae.fingerprint,
        }
    )


def _plain(value: Any) -> Any:
    """JSON's own types; what JSON cannot hold becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value).encode("utf-8", "replace").decode()


def _verify(document: SavedSAE, place: Path) -> None:
    """Raise an ItemError, and leave nothing that can be read, unless the files say what was to be said."""
    view, problem, cause = FileView(place), "", None
    try:
        if _read_document(view) != document:
            problem = f"{CONFIG} says something else"
        read_saved(view)
    except SAEFileError as error:
        problem, cause = str(error), error
    if not problem:
        return
    (place / CONFIG).unlink()
    message = (
        f"{place}: what was written does not read back as the same SAE; the disk may be damaged. {CONFIG} "
        f"was removed again. What is wrong: {problem}"
    )
    raise ItemError(message) from cause


# -- reading --------------------------------------------------------------------------------------


def read_saved(view: FileView) -> CanonicalSAE:
    """The SAE in a folder that ``save_sae`` wrote.

    Raises:
        SAEFileError: a file is missing, damaged, or not of a version that is known here.
    """
    from darkmatter.sae.canonical import CanonicalSAE
    from darkmatter.sae.normalisation import Normalisation

    saved = _read_document(view)
    d_in, d_out, d_sae = saved.d_in, saved.d_out, saved.d_sae
    shapes = {
        "W_enc": (d_in, d_sae),
        "W_dec": (d_sae, d_out),
        "b_enc": (d_sae,),
        "b_dec": (d_out,),
        "subtract": (d_in,),
        "code_scale": (d_sae,),
        "gate_scale": (d_sae,),
        "W_skip": (d_in, d_out),
    }
    weights = view.weights(WEIGHTS)
    _check_names(weights, saved.tensors, view.file(CONFIG))
    own = {name for name in weights if name.startswith(OWN)}
    unknown = sorted(set(weights) - set(shapes) - own)
    if unknown:
        message = f"{weights.where}: tensor {unknown[0][:80]!r} is unknown; expected {', '.join(shapes)}."
        raise SAEFileError(message)
    if saved.hook_out is None and saved.hook_in is not None:
        message = (
            f"{view.file(CONFIG)}: field 'hook_out' is null; expected a hook point, as 'hook_in' has one."
        )
        raise SAEFileError(message)
    optional = {name: weights.maybe(name, *shape) for name, shape in list(shapes.items())[2:]}
    parameters = {
        name.removeprefix(OWN): weights.take(name, *((d_sae,) * bool(weights[name].ndim)), infinite=True)
        for name in own
    }
    sae = CanonicalSAE(
        W_enc=weights.take("W_enc", *shapes["W_enc"]),
        W_dec=weights.take("W_dec", *shapes["W_dec"]),
        **optional,
        activation=_activation(saved.activation, parameters, view.file(CONFIG)),
        normalisation=Normalisation(**saved.normalisation.model_dump()),
        head_shape=None if saved.head_shape is None else (saved.head_shape[0], saved.head_shape[1]),
        hook_in=saved.hook_in,
        hook_out=saved.hook_out,
        metadata=SAEMetadata(**saved.metadata.model_dump()),
        assumptions=tuple(
            Assumption(each.sentence, each.about, each.to_be_sure or "") for each in saved.assumptions
        ),
    )
    if sae.fingerprint != saved.fingerprint:
        message = (
            f"{view}: the SAE in {CONFIG} and {WEIGHTS} has the fingerprint {sae.fingerprint}, and field "
            f"'fingerprint' is {saved.fingerprint[:80]!r}; expected them to be equal. One of the files is "
            "damaged or was changed after it was written; convert the original again."
        )
        raise SAEFileError(message)
    return _as_it_was(sae, saved)


def _as_it_was(sae: CanonicalSAE, saved: SavedSAE) -> CanonicalSAE:
    """The SAE with its precision, the overrides that were in force, and where it came from."""
    import torch

    placed = sae.to(dtype=getattr(torch, saved.compute_dtype))
    extra, source = dict(sae.metadata.extra), saved.source.model_dump()
    if CONVERTED in extra:  # it was converted before: the chain goes on inside
        source[CONVERTED] = extra[CONVERTED]
    placed.metadata = replace(sae.metadata, format="darkmatter", extra={**extra, CONVERTED: source})
    placed.overrides = saved.overrides
    return placed


def _check_names(weights: Weights, expected: Iterable[str], config: Path) -> None:
    """Raise an SAEFileError unless the tensors are those that the JSON file lists."""
    for name in sorted(set(weights) ^ set(expected)):
        problem = "is not listed" if name in weights else "is missing, though it is listed"
        message = f"{weights.where}: tensor {name[:80]!r} {problem} in the field 'tensors' of {config.name}; "
        raise SAEFileError(message + "expected exactly the tensors that were written.")


def _activation(saved: SavedActivation, parameters: dict[str, Tensor], config: Path) -> Activation:
    kind = _known()[saved.name]
    given = saved.model_dump(exclude={"name"}, exclude_none=True) | parameters
    expected = {field.name for field in fields(kind)}
    if set(given) != expected:
        found, needed = (", ".join(sorted(names)) or "none" for names in (given, expected))
        message = f"{config}: the parameters of the activation {saved.name} do not fit it (found: {found}; "
        raise SAEFileError(message + f"expected: {needed}).")
    return kind(**given)


def _read_document(view: FileView) -> SavedSAE:
    where, raw = view.file(CONFIG), view.json(CONFIG)
    version = raw.get("version")
    if raw.get("format") == FORMAT and isinstance(version, int) and version > VERSION:
        message = (
            f"{where}: is of version {version} of this format, which a newer darkmatter wrote; this one "
            f"reads version {VERSION}. Upgrade with `pip install -U sae-darkmatter`."
        )
        raise SAEFileError(message)
    try:
        return SavedSAE.model_validate(raw)
    except ValidationError as error:
        message = f"{where}: {_first(error)}"
        raise SAEFileError(message) from error


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, with its field."""
    problem = error.errors()[0]
    field, said = ".".join(map(str, problem["loc"])), str(problem["msg"])
    if said.startswith(SHOULD_BE):
        expected = said.removeprefix(SHOULD_BE).partition(" or instance of ")[0]
        return f"field {field[:80]!r} is {str(problem['input'])[:80]!r}; expected {expected}."
    return f"field {field[:80]!r}: {said[:1].lower()}{said[1:]}."
