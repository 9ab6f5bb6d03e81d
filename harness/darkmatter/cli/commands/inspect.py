"""``darkmatter inspect``: what an SAE reference points to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from darkmatter.cli.options import override_option, overrides_help, read_overrides
from darkmatter.cli.output import readable_size, say, say_assumptions, say_columns, say_json
from darkmatter.results.comparable import flat
from darkmatter.sae.assumption import Assumption

if TYPE_CHECKING:
    from darkmatter.sae.inspection import Inspection

FIELDS = {"model": "model", "context_length": "context_length", "bos": "prepend_bos"}
"""Overrides and the fields of the metadata that an assumption about them, or a statement, fills."""

_MAX_TENSORS = 40


@click.command(epilog=overrides_help())
@click.argument("reference", metavar="REF")
@override_option("FIELD=VALUE", "What the file does not say, or says wrongly, such as norm_factor=0.3.")
@click.option("--adapter", help="Read it with this adapter, whatever the others claim.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def inspect(reference: str, overrides: tuple[str, ...], adapter: str | None, *, as_json: bool) -> int:
    """Say what a file is, what is computed from it, what is assumed and what would settle that.

    Exit status 1 says that it cannot be used as an SAE.
    """
    from darkmatter.sae.inspection import inspect_reference

    found = inspect_reference(reference, adapter=adapter, overrides=read_overrides(overrides))
    if as_json:
        say_json(found.as_json())
    else:
        _show(found)
    return 1 if found.error else 0


def _show(found: Inspection) -> None:
    say((found.path or found.reference) + ("" if found.index is None else f"#{found.index}"))
    say_columns(list(_summary(found)))
    if found.semantics:
        say("\ncomputes")
        for step in found.semantics.split("; "):
            say(f"  {step}")
    if found.no_reconstruction:
        say(f"  no x̂: {found.no_reconstruction}")
    _show_values("settings", _in_force(found.settings))
    said = [Assumption(str(a["sentence"]), a["about"], a["to_be_sure"] or "") for a in found.assumptions]
    stated = [each for each in said if each.about in found.overrides]
    if stated:
        say("\nstated")
        for each in stated:
            say(f"  {each}")
    say_assumptions([each for each in said if each not in stated])
    not_recorded = {FIELDS.get(each.about or "") for each in said}
    _show_values("recorded", {k: v for k, v in found.metadata.items() if k not in not_recorded})
    _show_files(found)
    if found.error:
        say(f"\nerror: {found.error}")


def _summary(found: Inspection) -> Iterator[tuple[str, str]]:
    """What one wants to know first."""
    for claim in found.claims:
        if claim["verdict"] != "refused":
            verb = "read by" if claim["adapter"] == found.adapter else "claimed by"
            yield verb, f"{claim['adapter']}, because {claim['reason']}"
    if found.d_sae is None:
        return
    yield "architecture", found.architecture or "not named"
    yield "sizes", f"d_in {found.d_in}, d_sae {found.d_sae}, d_out {found.d_out}"
    hooks = dict.fromkeys(hook for hook in (found.hook_in, found.hook_out) if hook)
    yield "hook point", " to ".join(hooks) + _whose_hook(found) if hooks else "none recorded"
    yield "fingerprint", found.fingerprint or "none: known only by what it does"


def _whose_hook(found: Inspection) -> str:
    """That the hook point is not the file's word, where it is not."""
    if "hook" in found.overrides:
        return " (stated)"
    return " (assumed)" if any(each["about"] == "hook" for each in found.assumptions) else ""


def _in_force(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those of a normalisation that there is not."""
    normalisation = settings.get("normalisation", {})
    if normalisation.get("kind") == "none":
        return {**settings, "normalisation": "none"}
    return dict(settings)


def _show_values(title: str, values: Mapping[str, Any]) -> None:
    """Names and values in columns, those of nested objects with dotted names; nothing if there are none."""
    rows = [(name, _text(value)) for name, value in flat(values).items() if value not in (None, "", [])]
    if rows:
        say(f"\n{title}")
        say_columns(rows)


def _show_files(found: Inspection) -> None:
    """Every file with its size, and every tensor that its header names."""
    if not found.files:
        return
    say("\nfiles")
    say_columns([(f["name"], readable_size(f["bytes"]), _about_file(f)) for f in found.files])
    unused = tuple(f"{f['name']}:" for f in found.files if not f.get("used", True))
    tensors = {name: tensor for name, tensor in found.tensors.items() if not name.startswith(unused)}
    if not tensors:
        return
    say("\ntensors")
    shown = list(tensors.items())[:_MAX_TENSORS]
    say_columns([(name, _shape(tensor["shape"]), tensor["dtype"]) for name, tensor in shown])
    if len(tensors) > len(shown):
        say(f"  ... and {len(tensors) - len(shown)} more; --json lists all")


def _about_file(file: Mapping[str, Any]) -> str:
    unused = "" if file.get("used", True) else "not read for this SAE"
    return str(file.get("problem") or file.get("note") or unused)


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
