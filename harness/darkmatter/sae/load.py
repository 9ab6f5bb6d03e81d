"""From a reference to an SAE."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkmatter.embedded import embedded_path
from darkmatter.errors import DarkmatterError, ItemError, SAEFileError
from darkmatter.files.view import FileView
from darkmatter.references import Reference, absent_hint, parse_reference
from darkmatter.sae.assumption import Assumption
from darkmatter.sae.base import SAE
from darkmatter.sae.detect import adapter_for
from darkmatter.sae.overrides import FOR_ADAPTERS, Overrides, apply_overrides
from darkmatter.sae.recorded import assumed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import torch

    from darkmatter.descriptors import SAEAdapter

USER = "the user"


@dataclass(frozen=True)
class LoadOptions:
    """What an adapter may want to know; it may ignore all of it.

    ``load_sae`` moves the result to ``device`` and ``dtype`` itself, and follows all overrides but
    those that the adapter declares to follow (``SAEAdapter.follows``).
    """

    device: str = "cpu"
    dtype: torch.dtype | None = None
    overrides: Overrides = field(default_factory=Overrides)


def load_sae(
    reference: str | Path | Reference,
    *,
    adapter: str | None = None,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    adapters: Mapping[str, SAEAdapter] | None = None,
    overrides: Overrides | Mapping[str, Any] | None = None,
) -> SAE:
    """Load one SAE.

    Args:
        reference: a path, or any other reference (see ``darkmatter.references``).
        adapter: the reader to use, where detection finds several or none.
        device: where the weights go.
        dtype: precision of the computation, float32 by default; weights stay as the file has them.
        adapters: readers by name; by default those of all plugins.
        overrides: what is known of the SAE and its file does not say, or says wrongly: fields of
            ``Overrides``, such as ``{"norm_factor": 0.3}``.

    Raises:
        SAEFileError: the files are missing, unrecognised, ambiguous, damaged or unsafe.
        UsageError: there is no such override, adapter or kind of reference.
        ItemError: the SAE cannot follow an override.
    """
    where, stated = as_reference(reference), Overrides.of(overrides)
    if where.kind == "python":
        from darkmatter.sae.python import call_reference

        _refuse_unfollowed(where.raw, "a function", stated, USER, ())
        return _follow(place(call_reference(where.target), device, dtype), stated, where.raw, USER)
    view = open_view(where)
    chosen = adapter_for(view, known_adapters(adapters), adapter)
    return read(view, chosen, LoadOptions(device, dtype, stated))


def _follow(sae: SAE, overrides: Overrides, where: str, given_by: str, followed: Collection[str] = ()) -> SAE:
    """The SAE with the overrides in force; ``where`` says in errors which SAE cannot follow them."""
    try:
        return apply_overrides(sae, overrides, given_by=given_by, followed=followed)
    except ItemError as error:
        message = f"{where}: {error}"
        raise ItemError(message) from error


def as_reference(reference: str | Path | Reference) -> Reference:
    """A reference from what a user gave; a Path is never parsed for a kind or an index."""
    if isinstance(reference, Path):
        return Reference("path", str(reference), str(reference))
    return parse_reference(reference) if isinstance(reference, str) else reference


def open_view(reference: Reference) -> FileView:
    """The files that a reference points to."""
    if reference.kind == "path":
        try:
            return FileView(Path(reference.target).expanduser(), reference.index)
        except SAEFileError as error:
            message = f"{error} {absent_hint(reference.target)}".strip()
            raise SAEFileError(message) from None
    if reference.kind == "embedded":
        folder = embedded_path(reference.raw)
        if folder is None:
            message = f"{reference.raw}: expected SUITE:NAME, such as demo:topk-w1024-k16."
            raise ItemError(message)
        return FileView(folder)
    if reference.kind == "baseline":
        message = (
            f"{reference.raw}: a baseline is fitted on the training rows of a run, so it cannot be loaded "
            "by itself; give it to `darkmatter run --sae` or to `evaluate`."
        )
        raise ItemError(message)
    from darkmatter.fetching.locate import open_fetched

    return open_fetched(reference)


def read(view: FileView, adapter: SAEAdapter, options: LoadOptions) -> SAE:
    """Load through one adapter, check what it made, and follow the overrides.

    Those are the user's, in ``options``, and a catalogue's where the user says nothing. A catalogue's
    norm_factor is a special case: its list gives one for SAEs whose files have a scale of their own or
    need none, so it is followed only where the files leave the scale open.
    """
    where, user, origin = str(view), options.overrides, view.origin
    beneath, by_catalogue = Overrides(), ""
    if origin is not None:
        beneath, by_catalogue = origin.beneath(user), origin.stated_by
    _refuse_unfollowed(where, f"the adapter {adapter.name!r}", user, USER, adapter.follows)
    _refuse_unfollowed(where, f"the adapter {adapter.name!r}", beneath, by_catalogue, adapter.follows)
    factor, certain = beneath.norm_factor, beneath.without("norm_factor")
    sae = _made(view, adapter, replace(options, overrides=user.merged_with(certain)))
    left_out = factor is not None and "norm_factor" not in assumed(sae)
    if factor is not None and not left_out and "norm_factor" in adapter.follows:
        sae = _made(view, adapter, replace(options, overrides=user.merged_with(beneath)))
    if origin is not None:
        sae.metadata = origin.signed(sae.metadata)
    sae = place(sae, options.device, options.dtype)
    sae = _follow(sae, certain if left_out else beneath, where, by_catalogue, adapter.follows)
    if left_out:
        sentence = (
            f"{by_catalogue} states norm_factor {factor:g}, which is left out: the files leave no scale open."
        )
        sae.assumptions = (*sae.assumptions, Assumption(sentence, to_be_sure=""))
    return _follow(sae, user, where, USER, adapter.follows)


def _made(view: FileView, adapter: SAEAdapter, options: LoadOptions) -> SAE:
    """What an adapter makes of the files, checked."""
    view.index_used = False
    try:
        sae = adapter.resolve()(view, options)
    except SAEFileError:
        raise
    except DarkmatterError as error:  # the weights do not fit together; say where they are
        message = f"{view}: {error}"
        raise SAEFileError(message) from error
    except Exception as error:  # a plugin's fault must name the plugin
        message = f"{view}: the adapter {adapter.name!r} failed ({type(error).__name__}: {error})."
        raise SAEFileError(message) from error
    if not isinstance(sae, SAE):
        message = f"{view}: the adapter {adapter.name!r} returned a {type(sae).__name__}, not an SAE."
        raise SAEFileError(message)
    if not view.index_used and view.index is not None:
        message = f"{view}: holds a single SAE for the adapter {adapter.name!r}; leave out #{view.index}."
        raise SAEFileError(message)
    check_loaded(sae, str(view))
    return sae


def _refuse_unfollowed(
    where: str, reader: str, overrides: Overrides, given_by: str, follows: Collection[str]
) -> None:
    """Raise an ItemError for an override that would change nothing, because its reader needs no such word."""
    for name in FOR_ADAPTERS:
        value = getattr(overrides, name)
        if value is not None and name not in follows:
            advice = "Leave the override out." if given_by == USER else "The entry is wrong; name its files."
            message = f"{where}: {given_by} states {name} {value}, of which {reader} has no use. {advice}"
            raise ItemError(message)


def check_loaded(sae: SAE, where: str) -> None:
    """Sizes that fit together and finite decoder weights, whatever adapter made the SAE."""
    for name in ("d_in", "d_out", "d_sae"):
        size = getattr(sae, name, None)
        if not isinstance(size, int) or size < 1:
            message = f"{where}: {name} is {size!r}; expected a positive integer."
            raise SAEFileError(message)
    decoder = sae.W_dec
    if decoder is None:
        return
    if tuple(decoder.shape) != (sae.d_sae, sae.d_out):
        message = f"{where}: W_dec has shape {list(decoder.shape)}; expected [{sae.d_sae}, {sae.d_out}]."
        raise SAEFileError(message)
    bad = int((~decoder.isfinite()).sum())
    if bad:
        message = f"{where}: W_dec has {bad} of {decoder.numel()} values that are NaN or infinite."
        raise SAEFileError(message)


def known_adapters(adapters: Mapping[str, SAEAdapter] | None) -> Mapping[str, SAEAdapter]:
    """The given adapters, or those of all plugins."""
    if adapters is not None:
        return adapters
    from darkmatter.plugins import host

    found: Mapping[str, SAEAdapter] = host().adapters()
    return found


def place(sae: SAE, device: str, dtype: torch.dtype | None) -> SAE:
    """The SAE on a device and in an arithmetic; one that cannot be moved computes as it does."""
    move: Any = getattr(sae, "to", None)
    if move is None or (device == "cpu" and dtype is None):
        return sae
    try:
        moved: SAE = move(device=device, dtype=dtype)
    except (AssertionError, RuntimeError) as error:  # no such device, torch without it, no memory on it
        message = f"the SAE cannot be moved to the device {device!r}: {str(error).splitlines()[0]}."
        raise ItemError(message) from error
    return moved
