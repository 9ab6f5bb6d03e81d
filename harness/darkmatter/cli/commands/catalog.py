"""``darkmatter list`` and ``darkmatter describe``: what plugins offer, without importing it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from darkmatter.choices import choices_of
from darkmatter.cli.output import say, say_columns, say_json
from darkmatter.descriptors import (
    Config,
    Descriptor,
    Evaluator,
    Figure,
    Metric,
    SAEAdapter,
    SAECatalogue,
)
from darkmatter.errors import UsageError, did_you_mean
from darkmatter.plugins import KINDS, Owned, host
from darkmatter.sae.overrides import FOR_ADAPTERS, Overrides

LOCAL_EXECUTOR = {
    "name": "local",
    "summary": "this machine, in parallel threads (--jobs)",
    "distribution": "sae-darkmatter",
}
"""The executor of the core; others join with the hook for executors."""

CHOICES = (*dict.fromkeys([*KINDS, "executors"]),)


def _kind(_context: click.Context, _argument: click.Parameter, value: str | None) -> str | None:
    """One of the kinds of what plugins offer, or none."""
    if value is None or value in CHOICES:
        return value
    meant = "adapters" if value in {"format", "formats"} else value
    hint = f"Did you mean '{meant}'?" if meant in CHOICES else did_you_mean(value, CHOICES)
    message = f"there is no kind {value!r} to list. {hint}"
    raise UsageError(message)


@click.command("list")
@click.argument("kind", required=False, callback=_kind, metavar="[KIND]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list for one kind, else an object.")
def list_(kind: str | None, *, as_json: bool) -> None:
    """List what there is: adapters, evaluators, baselines, datasets and the other kinds."""
    kinds = [kind] if kind else list(CHOICES)
    offers = {each: _offers(each) for each in kinds}
    if as_json:
        say_json(offers[kind] if kind else offers)
        return
    for each in kinds:
        if not kind:
            say(each)
        say_columns([(offer["name"], _summary(offer)) for offer in offers[each]])
    if not kind:
        say("`darkmatter describe NAME` says more.")


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def describe(name: str, *, as_json: bool) -> None:
    """Describe one evaluator, adapter, baseline, dataset or other offer of a plugin in full."""
    found = [(kind, owned) for kind in KINDS if (owned := host().find(kind, name)) is not None]
    if not found:
        known = {known for kind in KINDS for known in host().owned(kind)}
        message = f"nothing is called {name!r}. {did_you_mean(name, known)} `darkmatter list` shows all."
        raise UsageError(message)
    if as_json:
        say_json([{"kind": kind[:-1], **_full(offer)} for kind, offer in found])
        return
    for kind, offer in found:
        _describe(kind[:-1], offer)


def _summary(offer: dict[str, Any]) -> str:
    return f"{offer['summary']}{'' if offer.get('by_default', True) else ' Only where named.'}"


def _offers(kind: str) -> list[dict[str, Any]]:
    if kind not in KINDS:
        return [LOCAL_EXECUTOR]
    return [{"name": name, **_brief(owned)} for name, owned in host().owned(kind).items()]


def _brief(owned: Owned) -> dict[str, Any]:
    """What a list says of one descriptor."""
    descriptor = owned.descriptor
    brief: dict[str, Any] = {
        "summary": descriptor.summary,
        "version": descriptor.version,
        "distribution": owned.distribution,
        "qualified": owned.qualified,
    }
    if isinstance(descriptor, Evaluator):
        brief["requires"] = sorted(str(need) for need in descriptor.requires)
        brief["scope"] = descriptor.scope
        brief["by_default"] = descriptor.by_default
        brief["metrics"] = [metric.name for metric in descriptor.metrics]
    if isinstance(descriptor, Figure):
        brief["evaluators"] = list(descriptor.evaluators)
        brief["uses"] = list(descriptor.uses)
    if isinstance(descriptor, SAEAdapter):
        brief["filenames"] = list(descriptor.filenames)
        brief["formats"] = sorted(descriptor.formats)
    if isinstance(descriptor, SAECatalogue):
        brief["form"] = f"{descriptor.name}:{descriptor.form}"
        brief["example"] = f"{descriptor.name}:{descriptor.example}"
    return brief


def _full(owned: Owned) -> dict[str, Any]:
    """Everything about one descriptor."""
    descriptor = owned.descriptor
    full = {"name": descriptor.name, **_brief(owned)}
    if isinstance(descriptor, Evaluator):
        full["source"] = descriptor.source
        full["metrics"] = [_metric(metric) for metric in descriptor.metrics]
    if isinstance(descriptor, SAEAdapter):
        full["layouts"] = [asdict(layout) for layout in descriptor.layouts]
        full["overrides"] = _overrides(descriptor)
    config = getattr(descriptor, "config", None)
    if isinstance(config, type) and issubclass(config, Config):
        full["config"] = config.model_json_schema()
    return full


def _overrides(adapter: SAEAdapter) -> dict[str, str]:
    """What can be stated of an SAE that this adapter reads, and what it means."""
    unread = set(FOR_ADAPTERS) - adapter.follows
    fields = Overrides.model_fields.items()
    return {name: field.description or "" for name, field in fields if name not in unread}


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "meaning": metric.meaning,
        "unit": metric.unit,
        "low": metric.low,
        "high": metric.high,
        "higher_is_better": metric.higher_is_better,
        "primary": metric.primary,
    }


def _describe(kind: str, owned: Owned) -> None:
    full = _full(owned)
    say(f"{full['name']}: {kind}, version {full['version']}, from {owned.distribution} {owned.version}")
    say(f"  {full['summary']}")
    if full.get("requires"):
        say(f"  needs {'; '.join(full['requires'])}")
    if not full.get("by_default", True):
        say("  runs only where it is named")
    if full.get("evaluators"):
        also = f", uses those of {', '.join(full['uses'])}" if full["uses"] else ""
        say(f"  needs results of {', '.join(full['evaluators'])}{also}")
    if full.get("source"):
        say(f"  after {full['source']}")
    if full.get("filenames"):
        say(f"  reads {', '.join(full['filenames'])}")
    if full.get("form"):
        say(f"  used as {full['form']}, such as {full['example']}")
    for layout in full.get("layouts", ()):
        _describe_layout(layout)
    if full.get("overrides"):
        say("\nWhat can be stated where the files do not say it (--override FIELD=VALUE)")
        say_columns(list(full["overrides"].items()))
        say("`darkmatter inspect REF` says which of these one SAE leaves open.")
    if full.get("metrics"):
        say("\nMetrics (* = headline, ↑ = higher is better, ↓ = lower is better)")
        say_columns([_metric_line(metric) for metric in full["metrics"]])
    fields = full.get("config", {}).get("properties", {})
    if fields:
        say(f"\nOptions ({_given_as(kind, owned)})")
        required = set(full["config"].get("required", ()))
        say_columns([_field_line(name, field, required) for name, field in fields.items()])
    elif kind in {"dataset", "simulator"}:
        say(f"  used as {_given_as(kind, owned).replace(',FIELD=VALUE', '')}")


def _given_as(kind: str, owned: Owned) -> str:
    """How the options of a plugin are written on the command line."""
    name = owned.descriptor.name
    if kind == "evaluator":
        return f"--set {name}.FIELD=VALUE"
    if kind == "baseline":
        return f"--sae baseline:{name},FIELD=VALUE"
    users = _users(kind, owned.descriptor) or [f"EVALUATOR.{kind}"]
    return " or ".join(f"--set {user}={name},FIELD=VALUE" for user in users)


def _users(kind: str, chosen: Descriptor) -> list[str]:
    """The options of evaluators that can name this dataset or simulator: ``EVALUATOR.OPTION``."""
    gives = getattr(chosen, "gives", None)
    return [
        f"{evaluator.name}.{option}"
        for evaluator in host().evaluators().values()
        for option, choice in choices_of(evaluator.config)
        if choice.kind == f"{kind}s" and getattr(choice, "gives", None) in (None, gives)
    ]


def _describe_layout(layout: dict[str, Any]) -> None:
    """One way in which a format lies on disk, and what other readers get wrong about it."""
    say(f"\nLayout {layout['name']}")
    say_columns(
        [
            ("files", ", ".join(layout["files"])),
            ("architectures", ", ".join(layout["architectures"])),
            ("known from", layout["known_from"]),
            (
                "published",
                "a published file has been read"
                if layout["published"]
                else "no published file has been read",
            ),
        ]
    )
    for trap in layout["traps"]:
        say(f"  - {trap}")


def _metric_line(metric: dict[str, Any]) -> tuple[str, str, str]:
    arrow = {True: "↑", False: "↓", None: " "}[metric["higher_is_better"]]
    unit = f" [{metric['unit']}]" if metric["unit"] else ""
    return ("*" if metric["primary"] else " ") + arrow, metric["name"], metric["meaning"] + unit


def _field_line(name: str, field: dict[str, Any], required: set[str]) -> tuple[str, str, str]:
    default = "required" if name in required else f"default {field.get('default')!r}"
    return name, f"{_type_name(field)}, {default}", field.get("description", "")


def _type_name(field: dict[str, Any]) -> str:
    """The type of an option as a person says it."""
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "anyOf" in field:
        return " or ".join(_type_name(option) for option in field["anyOf"])
    return str(field.get("type", "value"))
