"""How a check says what is wrong, and the rules that every descriptor has to keep."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch

from darkmatter.descriptors import Baseline, Dataset, Descriptor, Evaluator, Simulator
from darkmatter.errors import PluginError
from darkmatter.hookspecs import GROUP
from darkmatter.plugins import host
from darkmatter.soundness import faults
from darkmatter.testing.imports import check_imports

D = TypeVar("D", bound=Descriptor)


def refuse(rule: str, seen: object, fix: str, cause: BaseException | None = None) -> NoReturn:
    """Raise the error of a broken rule: the rule, what was seen, and how to keep it."""
    message = f"{rule}\n  seen: {seen}\n  fix:  {fix}"
    raise AssertionError(message) from cause


def require(holds: bool, rule: str, seen: object, fix: str) -> None:
    """Raise unless a rule holds."""
    if not holds:
        refuse(rule, seen, fix)


def descriptor_of(kind: str, given: Descriptor | str, expected: type[D]) -> D:
    """A checked descriptor: the one given, or the installed plugin's of this name."""
    if isinstance(given, str):
        owned = host().get(kind, given)
        given = owned.descriptor
        for entry in importlib.metadata.entry_points(group=GROUP, name=owned.plugin):
            if entry.dist is not None and entry.dist.name == owned.distribution:
                check_imports(entry.module)
    require(
        isinstance(given, expected),
        f"{kind} are described by {expected.__name__} objects.",
        type(given).__name__,
        f"return darkmatter.api.{expected.__name__}(...) from the hook, and pass that or its name here.",
    )
    assert isinstance(given, expected)
    check_descriptor(given)
    return given


def check_descriptor(descriptor: Descriptor) -> None:
    """A descriptor is sound, documents its options, and names something that can be imported."""
    for fault in faults(descriptor):
        refuse("A descriptor must be sound.", fault, "see darkmatter.descriptors for what each field holds.")
    if isinstance(descriptor, Evaluator | Baseline | Dataset | Simulator):
        for name, field in descriptor.config.model_fields.items():
            require(
                bool(field.description),
                "Every option says what it does, for `darkmatter describe`.",
                f"the option {name!r} of {descriptor.name!r} has no description",
                f"{name}: ... = Field(default, description='...')",
            )
    try:
        found = descriptor.resolve()
    except PluginError as error:
        refuse("The implementation must be importable.", error, "name it 'package.module:object'.", error)
    require(
        callable(found), "The implementation must be callable.", repr(found), "name a class or a function."
    )


def default_config(described: Evaluator | Baseline | Dataset | Simulator, given: Any) -> Any:
    """The configuration to check with: the one given, or the defaults."""
    if isinstance(given, described.config):
        return given
    required = [name for name, field in described.config.model_fields.items() if field.is_required()]
    require(
        given is not None or not required,
        "Without options the defaults are checked.",
        f"{described.name!r} has options without a default: {', '.join(required)}",
        "give them defaults (then `darkmatter run` needs no --set), or pass config={...} to the check.",
    )
    return described.config.model_validate(dict(given or {}))


_MOVED_BY_IMPORTS: dict[str, Callable[[], Any]] = {
    "the state of random": random.getstate,
    "the state of numpy.random": lambda: repr(np.random.get_state()),  # noqa: NPY002 - the global one is meant
    "the state of torch's generator": lambda: torch.get_rng_state().tolist(),
    "the environment": lambda: dict(os.environ),
}
_SETTINGS: dict[str, Callable[[], Any]] = {
    "torch's default dtype": torch.get_default_dtype,
    "torch's number of threads": torch.get_num_threads,
    "torch's gradient mode": torch.is_grad_enabled,
    "torch's deterministic mode": torch.are_deterministic_algorithms_enabled,
    "torch's matmul precision": torch.get_float32_matmul_precision,
    "numpy's error handling": np.geterr,
    "the working directory": Path.cwd,
}


@contextlib.contextmanager
def undisturbed(what: str, *, first: bool = False) -> Iterator[None]:
    """Whatever runs inside leaves global state as it was and prints nothing on stdout.

    ``first``: what libraries do when they are first imported is not held against it.
    """
    watched = _SETTINGS if first else _SETTINGS | _MOVED_BY_IMPORTS
    before = {name: read() for name, read in watched.items()}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        yield
    for name, read in watched.items():
        require(
            read() == before[name],
            "A plugin leaves global state alone: others share the process.",
            f"{what} changed {name}",
            "use generators of your own (torch.Generator().manual_seed(...)) and local settings.",
        )
    require(
        not out.getvalue(),
        "A plugin prints nothing: stdout belongs to the command (`--format json` is only JSON).",
        f"{what} printed {out.getvalue()[:200]!r}",
        "say it in a note (out.notes.append(...)) or with the logging module.",
    )


@contextlib.contextmanager
def other_seed() -> Iterator[None]:
    """Global generators in another state than usual, restored afterwards."""
    # Written to fail whoever depends on global seeds; fine for everybody else.
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - the global one is meant
    random.seed(987)
    np.random.seed(987)  # noqa: NPY002 - the same
    torch.manual_seed(987)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002 - the same
        torch.set_rng_state(kept[2])
