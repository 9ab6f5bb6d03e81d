"""The typed descriptors that plugins hand to the host.

A descriptor says what a plugin offers without importing it: the heavy part stands behind an
``implementation`` string ``"package.module:object"`` that is imported when it is used. So listing
every evaluator imports no torch, and a plugin that fails to import is found only when it is needed,
by name.
"""

from __future__ import annotations

import enum
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from darkmatter.errors import PluginError
from darkmatter.tasks import TaskKind

if TYPE_CHECKING:
    from darkmatter.files.view import FileView

API_VERSION = 1
"""The version of this contract. A plugin that states another major version is not loaded."""

NAME_GRAMMAR = re.compile(r"^[a-z][a-z0-9_]{0,47}$")


class Config(BaseModel):
    """Base of every evaluator's and baseline's configuration: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def looks_at(self) -> tuple[str, ...] | None:
        """Names of the other SAEs that are looked at, where options name them; None: all in sight."""
        return None


class Requirement(enum.StrEnum):
    """What an evaluator needs beyond the activations; what is missing makes a "skipped" row."""

    FAMILY = "two or more SAEs at one hook point"
    OTHER_HOOKS = "SAEs at other hook points"
    MODEL = "a language model"
    TOKENS = "token ids"
    LOSS = "per-token losses"
    LABELS = "labels"
    LABELS_OR_MODEL = "labels or a language model"
    DECODER = "an SAE with a decoder matrix"
    RECONSTRUCTION = "an SAE that reconstructs its target"
    TRAINING = "a training budget"


@dataclass(frozen=True)
class Metric:
    """What one number means, for tables, range checks and leaderboards.

    ``name`` may end in ``[*]`` or ``.*`` for metrics that exist once per item (``r2[*]``); one item may
    have a description of its own (``r2[all]``).
    ``low`` and ``high`` are the closed range in which a correct value lies, ``None`` if unbounded.
    """

    name: str
    meaning: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    higher_is_better: bool | None = None
    primary: bool = False

    @property
    def per_item(self) -> bool:
        """Whether it describes one metric per item, of which there may be none."""
        return self.name.endswith(("[*]", ".*"))

    def describes(self, name: str) -> bool:
        """Whether this is the description of the metric called ``name``."""
        if self.per_item:
            return name.startswith(self.name[:-2])
        return name == self.name

    def inside(self, value: float) -> float:
        """The nearest number in the range: with few units, the ends of intervals reach beyond it."""
        value = value if self.low is None else max(value, self.low)
        return value if self.high is None else min(value, self.high)


def import_named(target: str | Callable[..., Any], owner: str) -> Any:
    """The object called ``package.module:object``; anything but a string is returned as it is."""
    if not isinstance(target, str):
        return target
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        message = f"{owner!r} names {target!r}, which cannot be imported: {error}"
        raise PluginError(message) from error


@dataclass(frozen=True)
class Descriptor:
    """What every descriptor has: a name within its kind, one line of description, a version."""

    name: str
    summary: str
    implementation: str | Callable[..., Any]
    version: int = field(default=1, kw_only=True)
    api_version: int = field(default=API_VERSION, kw_only=True)

    def resolve(self) -> Any:
        """Import and return the implementation."""
        return import_named(self.implementation, self.name)


@dataclass(frozen=True)
class Reach:
    """Something beyond the run that a plugin reaches for: files of the machine, a network, money.

    ``option`` is the option that makes it do so where it is given; None: it does so with all options.
    """

    kind: Literal["files", "network", "money"]
    option: str | None = None


@dataclass(frozen=True)
class Configured(Descriptor):
    """What has options, which results record.

    ``reaches`` is what it reaches for beyond the run, empty for nothing at all. Nobody knows that but its
    author: with None, where the options come from a stranger's result (``darkmatter leaderboard audit``),
    it is taken to reach for everything and is not run.
    """

    config: type[Config] = field(kw_only=True)
    reaches: tuple[Reach, ...] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Detection:
    """An adapter's claim on a file: why, and how sure it is."""

    reason: str
    confidence: Literal["exact", "likely"] = "exact"


@dataclass(frozen=True)
class Refusal:
    """Why an adapter does not claim a file; shown when no adapter does."""

    reason: str


@dataclass(frozen=True)
class Layout:
    """One way in which a format lies on disk: a row of ``docs/formats.md``.

    ``files`` are names as a reader of the page looks for them (``<hook point>/cfg.json``);
    ``known_from`` says where the layout is known from (a library and its version, or whose reader);
    ``published`` is whether a file that a publisher uploaded has been read; ``traps`` are facts that
    other readers get wrong, one sentence each; ``samples`` are globs over the golden samples that
    show it (``sae_lens/legacy_*``).
    """

    name: str
    files: tuple[str, ...]
    architectures: tuple[str, ...]
    known_from: str
    published: bool = False
    traps: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class SAEAdapter(Descriptor):
    """Reads one family of SAE files.

    ``detect(view)`` looks at names, sizes, JSON, tensor headers and what ``.pt`` files hold beside
    their numbers; it loads no tensor and runs no pickle. ``implementation`` resolves to
    ``load(view, options) -> SAE``. ``filenames`` are globs over file names: a folder without any
    match is refused without asking ``detect``. ``layouts`` describe what it reads, for the
    documentation.

    ``follows`` are the overrides that ``load`` follows itself, from ``options.overrides``: how an
    encoder is stored, a k, and a scale of the activations where it enters more than the input
    (thresholds, the decoder). Nobody but the reader of the file can follow the first two, so where
    they are not declared they are refused; any other scale is put in place by the core.

    Two more kinds of globs say what ``darkmatter fetch`` brings. ``companions`` are names of files
    that hold no SAE of their own and that the format needs beside its weights or in a folder above;
    small JSON and YAML files come without being named. ``checkpoints`` are paths below a run's
    folder of what it saved on the way (``steps/*.pt``): they stay away where the result is there,
    unless they are asked for.
    """

    filenames: tuple[str, ...] = field(kw_only=True)
    detect: Callable[[FileView], Detection | Refusal] = field(kw_only=True)
    formats: frozenset[str] = field(default=frozenset({"safetensors"}), kw_only=True)
    follows: frozenset[Literal["orientation", "k", "norm_factor"]] = field(default=frozenset(), kw_only=True)
    companions: tuple[str, ...] = field(default=(), kw_only=True)
    checkpoints: tuple[str, ...] = field(default=(), kw_only=True)
    layouts: tuple[Layout, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class SAECatalogue(Descriptor):
    """Names published SAEs; its own name is the scheme of its references (``saelens:RELEASE/ID``).

    ``implementation`` resolves to ``resolve(target) -> CatalogueEntry``, where ``target`` is what
    stands behind the colon. It reads data that came with the plugin and never a network; for a
    target that it does not know it raises ``ItemError`` with the nearest ones. ``form`` is what a
    target looks like, ``example`` one that is there.
    """

    form: str = field(kw_only=True)
    example: str = field(kw_only=True)


@dataclass(frozen=True)
class Evaluator(Configured):
    """Measures SAEs over the activation cache.

    ``implementation`` resolves to a class built as ``implementation(config)`` that has
    ``collectors() -> Sequence[CollectorSpec]`` (what shall ride the shared pass; may be empty) and
    ``run(ctx: EvalContext) -> EvalOutput``. A bump of ``version`` says "scores not comparable".
    ``scope`` is what one result speaks about: one SAE, or all SAEs of a hook point. ``order`` is
    the place of its columns in tables, low numbers first. ``controls=False`` leaves controls out: for
    what costs much and says nothing about them. ``by_default=False`` leaves it out of runs that name
    no evaluators: for what takes minutes an SAE, or needs a choice that no default can make. ``sees``
    says which other SAEs of the run shape a result on one SAE: those at its hook point (``family``),
    those at others (``elsewhere``); with ``named`` also any of either kind that the options name
    (``Config.looks_at``).
    """

    metrics: tuple[Metric, ...] = field(kw_only=True)
    requires: frozenset[Requirement] = field(default=frozenset(), kw_only=True)
    scope: Literal["sae", "family"] = field(default="sae", kw_only=True)
    order: int = field(default=100, kw_only=True)
    controls: bool = field(default=True, kw_only=True)
    by_default: bool = field(default=True, kw_only=True)
    sees: frozenset[Literal["family", "elsewhere", "named"]] = field(default=frozenset(), kw_only=True)
    source: str = field(default="", kw_only=True)

    def metric(self, name: str) -> Metric | None:
        """The description of one metric, exact names before patterns."""
        exact = [metric for metric in self.metrics if metric.name == name]
        return next(iter(exact or [m for m in self.metrics if m.describes(name)]), None)


@dataclass(frozen=True)
class Dataset(Configured):
    """Prompts or words with a known meaning, made for the run's tokenizer.

    ``implementation`` resolves to ``make(config, tokenizer: TextTokenizer, seed: int)`` which returns what
    ``gives`` names: ``MinimalPairs``, ``LabelledPrompts`` or ``Concepts``, without special tokens. It raises
    ``ItemError`` where the tokenizer cannot write it (a word that must be one token is several).
    """

    gives: TaskKind = field(kw_only=True)


@dataclass(frozen=True)
class Simulator(Configured):
    """Predicts a latent's activations from text, after seeing some of both.

    ``implementation`` resolves to ``make(config, tokenizer: TextTokenizer | None) -> SimulatorMaker``; the
    tokenizer is None where the activations come without a model.
    """


@dataclass(frozen=True)
class Baseline(Configured):
    """Makes a control: an ordinary SAE built from the training rows alone.

    ``implementation`` resolves to ``fit(config, data: FitData) -> SAE``.
    """


@dataclass(frozen=True)
class ActivationSource(Descriptor):
    """Makes an activation store from a model and a text, or from a file.

    ``implementation`` resolves to ``open_source(request, progress=...) -> ActivationStore`` (see
    ``darkmatter.activations``); ``plan`` to ``plan_source(request) -> dict`` for ``darkmatter plan``:
    key, cached (bool), tokens, positions, defaults [skip_first, skip_last], bytes.
    """

    plan: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Reporter(Descriptor):
    """Renders rows; ``implementation`` resolves to ``render(table: Table) -> str`` (pure)."""

    suffix: str = field(kw_only=True)


@dataclass(frozen=True)
class Figure(Descriptor):
    """Draws results, from their files alone.

    ``implementation`` resolves to ``draw(results: FigureResults) -> Iterable[Drawing]``, which raises
    ``NothingToDraw`` with a reason where the numbers are not enough. ``evaluators`` are those without
    whose results nothing is drawn, ``uses`` those whose results it shows where they are there.
    """

    evaluators: tuple[str, ...] = field(kw_only=True)
    uses: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class EmbeddedSuite(Descriptor):
    """A suite that comes ready to run, such as the demo's.

    ``implementation`` resolves to ``write(folder: Path) -> dict``: it writes what the suite needs
    (texts, ``suite.yaml``) into the folder and returns the suite's fields. With ``locate``, what it
    ships has references that hold on every machine, ``SUITE:NAME``: ``locate`` resolves to
    ``locate(name, folder) -> Path``, which gives the model, text or SAE of that name, may make it in
    ``folder`` first, and raises ``ItemError`` with the nearest names for one that is not there.
    """

    locate: str | Callable[[str, Path], Path] | None = field(default=None, kw_only=True)
