"""The suite: everything a run depends on, in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from darkmatter.cache.spec import ModelSpec
from darkmatter.descriptors import Config
from darkmatter.embedded import is_embedded
from darkmatter.errors import DarkmatterError, UsageError, did_you_mean
from darkmatter.files.text import read_yaml
from darkmatter.references import anchored_path, anchored_reference, check_name
from darkmatter.runs.analysis import Analysis
from darkmatter.sae.overrides import Overrides


class SAESpec(Overrides):
    """One SAE of a suite, with what is known of it beyond its file; a plain string is its reference."""

    ref: str = Field(min_length=1, description="path or other reference of the SAE")
    adapter: str | None = Field(None, description="the reader to use where detection is ambiguous")

    @model_validator(mode="before")
    @classmethod
    def _reference_alone(cls, value: Any) -> Any:
        return {"ref": value} if isinstance(value, str | Path) else value

    @property
    def overrides(self) -> Overrides:
        """The statements about it."""
        return Overrides(**self.given())


class TextChoice(Config):
    """The text of a suite.

    ``context_length`` falls back to what the SAEs record, then to 256; ``bos`` to what the SAEs record
    if they agree, then to always, if the tokenizer has one.
    """

    path: str = Field(min_length=1, description=".txt, .jsonl or .json file, or hf:NAME[:CONFIG[:SPLIT]]")
    field: str = Field("text", description="the field that holds the text")
    context_length: int | None = Field(None, ge=2, description="positions per context, BOS included")
    contexts: int = Field(400, ge=1, description="how many contexts")
    bos: str | None = Field(None, description="always or never begin a context with BOS")
    packing: str = Field("packed", description="packed or truncate")
    document_limit: int | None = Field(
        8, ge=1, description="contexts that one document may fill; null: no limit"
    )

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": str(value)} if isinstance(value, str | Path) else value


class Suite(Config):
    """A run. Give a model and a text, or a file of activations."""

    model: ModelSpec | None = Field(None, description="the language model: a path, a hub id, or a mapping")
    text: TextChoice | None = Field(None, description="the text it reads: a path, or a mapping")
    activations: str | None = Field(None, description="a .safetensors file with tensor x, instead of a model")
    hooks: tuple[str, ...] = Field((), description="TransformerLens hook points; default: those of the SAEs")
    saes: dict[str, SAESpec] = Field({}, description="name: reference")
    evaluators: dict[str, dict[str, Any]] | None = Field(
        None,
        description="name: options; default: all built-in evaluators but those that run only where named",
    )
    only: dict[str, tuple[str, ...]] = Field(
        {}, description="evaluator: the SAEs that it measures; default: all. Part of no result's key"
    )
    analysis: Analysis = Field(Analysis(), description="rows, split and arithmetic")
    controls: bool = Field(
        default=True, description="add the mean, and pca, pca_topk and random at the SAEs' L0"
    )
    seed: int = Field(0, ge=0, description="seed of text order, split, intervals and baselines")

    @field_validator("evaluators", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
            return {name: {} for name in value}
        return {k: v or {} for k, v in value.items()} if isinstance(value, Mapping) else value

    @field_validator("saes")
    @classmethod
    def _names(cls, value: dict[str, SAESpec]) -> dict[str, SAESpec]:
        for name in value:
            check_name(name)
        return value

    @model_validator(mode="after")
    def _only_what_is_there(self) -> Suite:
        listed = list(self.saes)
        for evaluator, names in self.only.items():
            if evaluator not in (self.evaluators or {}):
                message = f"`only` restricts {evaluator!r}, which `evaluators` does not list"
                raise ValueError(message)
            for name in names:
                if name not in listed:
                    message = (
                        f"`only.{evaluator}`: {name!r} is no SAE of `saes`. {did_you_mean(name, listed)}"
                    )
                    raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Suite:
        if (self.activations is None) == (self.model is None):
            message = "give either `model` (with `text`) or `activations`"
            raise ValueError(message)
        if self.model is not None and self.text is None:
            message = "a model needs a `text` to read"
            raise ValueError(message)
        if self.activations is not None and self.text is not None:
            message = "`activations` need no `text`; leave one of them out"
            raise ValueError(message)
        return self


def make_suite(raw: Mapping[str, Any]) -> Suite:
    """A checked suite; what is wrong is said by field, with the nearest valid one."""
    values = {**raw, **_one_seed(raw)}
    try:
        return Suite.model_validate(values)
    except ValidationError as error:
        raise UsageError(explain(error, Suite, "the suite")) from None


def _one_seed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """``seed`` and ``analysis`` with the seed in both, whichever of them states it."""
    analysis = raw.get("analysis")
    if isinstance(analysis, Analysis):
        analysis = analysis.model_dump(exclude_unset=True)
    if not isinstance(analysis, Mapping | None):
        return {}
    analysis = dict(analysis or {})
    stated = [each["seed"] for each in (raw, analysis) if "seed" in each]
    if not stated:
        return {"analysis": analysis}
    if len(stated) == 2 and stated[0] != stated[1]:
        message = (
            f"the suite has two seeds: `seed` is {stated[0]!r} and `analysis.seed` is {stated[1]!r}. "
            "Leave `analysis.seed` out."
        )
        raise UsageError(message)
    return {"seed": stated[0], "analysis": {**analysis, "seed": stated[0]}}


def read_suite(path: Path) -> Suite:
    """A suite from a YAML file; relative paths in it start at the file's folder."""
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near) if near else "`darkmatter init` writes one to start from."
        message = f"there is no suite file {str(path)!r}. {hint}"
        raise UsageError(message)
    try:
        raw = read_yaml(path)
    except DarkmatterError as error:
        message = f"{error} `darkmatter init` shows how a suite looks."
        raise UsageError(message) from None
    return make_suite(_anchored(raw, path.resolve().parent))


def _anchored(raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same with every relative path starting at ``folder``, whether the file is there or not.

    What has the wrong type is left for the schema to refuse.
    """
    found = {key: value for key, value in raw.items() if value is not None}
    parts: tuple[tuple[str, str | None, Callable[[str, Path], str]], ...] = (
        ("model", "name", _anchored_model),
        ("text", "path", _anchored_text),
        ("activations", None, anchored_path),
    )
    for field, inner, anchor in parts:
        if field in found:
            found[field] = _at(found[field], inner, anchor, folder)
    saes = found.get("saes")
    if isinstance(saes, dict):
        found["saes"] = {name: _at(spec, "ref", anchored_reference, folder) for name, spec in saes.items()}
    return found


def _at(value: Any, inner: str | None, anchor: Callable[[str, Path], str], folder: Path) -> Any:
    """A text anchored: the value itself, or what a mapping holds under ``inner``."""
    if isinstance(value, str) and value:
        return anchor(value, folder)
    if inner is not None and isinstance(value, dict) and inner in value:
        return {**value, inner: _at(value[inner], None, anchor, folder)}
    return value


def _anchored_model(name: str, folder: Path) -> str:
    """A model's folder; what is no folder here and looks like ``model`` or ``org/model`` is a hub id."""
    if name.startswith("hf:"):
        return name
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    beside = anchored_path(name, folder)
    return beside if looks_like_path or Path(beside).exists() else name


def _anchored_text(path: str, folder: Path) -> str:
    return path if path.startswith("hf:") or is_embedded(path) else anchored_path(path, folder)


def explain(error: ValidationError, model: type[BaseModel], what: str) -> str:
    """One paragraph about the first things that are wrong with a configuration."""
    sentences = []
    for problem in error.errors()[:3]:
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            fields = _fields_at(model, problem["loc"][:-1])
            hint = did_you_mean(str(problem["loc"][-1]), fields)
            known = f"{what} has no field {place!r}. {hint}"
            sentences.append(known if fields else f"{what} has no options; leave {place!r} out.")
        elif problem["type"] == "missing":
            sentences.append(f"{what}: {place!r} is missing, and has no default.")
        elif problem["type"] in {"list_type", "tuple_type"}:
            given = problem["input"]
            sentences.append(f"{what}, field {place!r}: expected a list, such as [{given}] (got {given!r}).")
        elif place:
            sentences.append(
                f"{what}, field {place!r}: {_lowered(problem['msg'])} (got {problem['input']!r})."
            )
        else:
            sentences.append(f"{what}: {_lowered(problem['msg'])}.")
    return " ".join(sentences)


def _lowered(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".")


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The fields of the configuration at a place inside ``model``."""
    current: Any = model
    key_next = False
    for part in place:
        if key_next:  # the part is a key of a mapping, such as an SAE's name
            key_next = False
            continue
        field = getattr(current, "model_fields", {}).get(part)
        current = field.annotation if field is not None else None
        key_next = get_origin(current) is dict
        options = [a for a in getattr(current, "__args__", ()) if hasattr(a, "model_fields")]
        current = options[0] if options else current
    return list(getattr(current, "model_fields", {}))
