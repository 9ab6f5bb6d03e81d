"""What a descriptor must hold before it is taken in: checked at load time, without importing anything."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from darkmatter.descriptors import (
    API_VERSION,
    NAME_GRAMMAR,
    Baseline,
    Config,
    Dataset,
    Descriptor,
    Evaluator,
    Figure,
    Metric,
    Reporter,
    SAEAdapter,
    SAECatalogue,
    Simulator,
)
from darkmatter.references import KINDS

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_METRIC_NAME = re.compile(r"[A-Za-z_][\w.]*(\[(\*|\w+(→\w+)?)\]|\.\*)?")


def faults(descriptor: Descriptor) -> Iterator[str]:
    """Everything that is wrong with a descriptor, one sentence each; nothing if it is sound."""
    name: Any = descriptor.name  # a plugin may have written anything in any field
    target: Any = descriptor.implementation
    if not isinstance(name, str) or not NAME_GRAMMAR.fullmatch(name):
        yield f"the name {name!r} does not match {NAME_GRAMMAR.pattern}"
    if descriptor.api_version != API_VERSION:
        yield f"{name!r} was written for API {descriptor.api_version!r}, this is API {API_VERSION}"
    if not str(descriptor.summary or "").strip() or "\n" in str(descriptor.summary):
        yield f"the summary of {name!r} is {descriptor.summary!r}; write one line for `darkmatter list`"
    if type(descriptor.version) is not int or descriptor.version < 1:
        yield f"the version of {name!r} is {descriptor.version!r}; expected an integer from 1 up"
    if isinstance(target, str) and not _TARGET.fullmatch(target):
        yield f"the implementation of {name!r} is {target!r}; expected 'package.module:object'"
    elif not isinstance(target, str) and not callable(target):
        yield f"the implementation of {name!r} is neither a string nor callable"
    if isinstance(descriptor, Evaluator | Baseline | Dataset | Simulator):
        yield from _config_faults(name, descriptor.config)
    if isinstance(descriptor, Evaluator):
        yield from _metric_faults(name, descriptor.metrics)
    if isinstance(descriptor, Figure):
        yield from _figure_faults(descriptor)
    if isinstance(descriptor, SAEAdapter):
        yield from _adapter_faults(descriptor)
    if isinstance(descriptor, SAECatalogue):
        yield from _catalogue_faults(descriptor)
    if isinstance(descriptor, Reporter) and not str(descriptor.suffix).startswith("."):
        yield f"the suffix of {name!r} is {descriptor.suffix!r}; expected one like '.md'"


def _config_faults(name: str, config: Any) -> Iterator[str]:
    """A configuration is a ``Config`` that refuses unknown fields, is frozen, and has a JSON schema."""
    if not isinstance(config, type) or not issubclass(config, Config):
        yield f"the config of {name!r} is {config!r}; expected a subclass of darkmatter.api.Config"
        return
    if config.model_config.get("extra") != "forbid" or not config.model_config.get("frozen"):
        yield f"the config of {name!r} overrides extra='forbid' or frozen=True; leave both as in api.Config"
    try:
        config.model_json_schema()
    except Exception as error:  # noqa: BLE001 - pydantic raises many kinds, and so may validators
        yield f"the config of {name!r} has no JSON schema ({type(error).__name__}: {error})"


def _metric_faults(name: str, metrics: Any) -> Iterator[str]:
    """Metrics are declared once each, with a meaning and a range that is one."""
    if not isinstance(metrics, tuple) or not all(isinstance(metric, Metric) for metric in metrics):
        yield f"the metrics of {name!r} are not a tuple of Metric"
        return
    if not metrics:
        yield f"{name!r} declares no metrics; a table would have nothing to show"
    for metric in metrics:
        what = f"the metric {metric.name!r} of {name!r}"
        if not _METRIC_NAME.fullmatch(metric.name):
            shown = "dots allowed; [*], [item], [a→b] or .* at the end"
            yield f"{what} has a name that is no identifier ({shown})"
        if not metric.meaning.strip():
            yield f"{what} has no meaning; write one line"
        bounds = [bound for bound in (metric.low, metric.high) if bound is not None]
        if not all(math.isfinite(bound) for bound in bounds) or bounds != sorted(bounds):
            yield f"{what} has the range [{metric.low}, {metric.high}]; None means unbounded"
    names = [metric.name for metric in metrics]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        yield f"{name!r} declares {', '.join(twice)} more than once"


def _figure_faults(figure: Figure) -> Iterator[str]:
    for what, names, least in (("evaluators", figure.evaluators, 1), ("uses", figure.uses, 0)):
        given: Any = names
        if not (isinstance(given, tuple) and len(given) >= least and all(isinstance(n, str) for n in given)):
            yield f"the {what} of {figure.name!r} are {given!r}; expected a tuple of evaluators' names"


def _adapter_faults(adapter: SAEAdapter) -> Iterator[str]:
    globs: Any = adapter.filenames
    if not isinstance(globs, tuple) or not globs or not all(isinstance(glob, str) for glob in globs):
        yield f"the filenames of {adapter.name!r} are {globs!r}; expected a tuple of globs"
    for field in ("companions", "checkpoints"):
        value: Any = getattr(adapter, field)
        if not isinstance(value, tuple) or not all(isinstance(glob, str) for glob in value):
            yield f"the {field} of {adapter.name!r} are {value!r}; expected a tuple of globs"
    detect: Any = adapter.detect
    if not callable(detect):
        yield f"the detect of {adapter.name!r} is not callable"


def _catalogue_faults(catalogue: SAECatalogue) -> Iterator[str]:
    if len(str(catalogue.name)) == 1:
        yield f"the name {catalogue.name!r} has one letter, like a drive; a reference needs two or more"
    if catalogue.name in KINDS:
        yield f"the name {catalogue.name!r} is a kind of reference already; a catalogue brings its own"
    for name in ("form", "example"):
        value: Any = getattr(catalogue, name)
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            yield f"the {name} of {catalogue.name!r} is {value!r}; expected one line of text"
