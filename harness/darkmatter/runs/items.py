"""What is evaluated: SAEs from files, from objects, or fitted as baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from darkmatter.descriptors import Baseline, Config
from darkmatter.errors import ItemError
from darkmatter.files.atomic import content_hash
from darkmatter.fitting import FitData
from darkmatter.sae.base import SAE, SAEMetadata
from darkmatter.sae.recorded import assumed, recorded


@dataclass
class SAEItem:
    """One SAE under its name; ``load`` may be called more than once."""

    name: str
    reference: str
    load: Callable[[], SAE]
    is_control: bool = False
    adapter: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Facts:
    """What is remembered of an SAE whose weights are not: sizes, where it belongs, what is known of it.

    ``assumed`` are the overrides about which nothing is recorded and nothing was stated.
    """

    d_in: int
    d_out: int
    d_sae: int
    hook_in: str | None
    hook_out: str | None
    metadata: SAEMetadata
    assumed: frozenset[str] = frozenset()
    reconstructs: bool = True
    has_decoder: bool = True

    @classmethod
    def of(cls, sae: SAE) -> Facts:
        """The facts of a loaded SAE."""
        return cls(
            sae.d_in,
            sae.d_out,
            sae.d_sae,
            sae.hook_in,
            sae.hook_out,
            sae.metadata,
            assumed(sae),
            sae.reconstructs,
            sae.W_dec is not None,
        )

    @property
    def recorded(self) -> SAEMetadata:
        """What is known of it, without what its reader only assumed."""
        return recorded(self.metadata, self.assumed)

    @property
    def hooks(self) -> tuple[str | None, str | None]:
        """The hook points that it reads and predicts, where known."""
        return self.hook_in, self.hook_out

    @property
    def weight_bytes(self) -> int:
        """About how much memory its weights take in float32."""
        return 4 * self.d_sae * (self.d_in + self.d_out)


@dataclass
class BaselineItem:
    """A control that is fitted at a hook point before it is evaluated like any SAE.

    ``hook`` is the only one where it is; None: each that SAEs read.
    """

    name: str
    reference: str
    baseline: Baseline
    qualified: str
    config: Config
    is_control: bool = True
    hook: str | None = None

    def fits(self, hook: str) -> bool:
        """Whether it is wanted at a hook point."""
        return self.hook in {None, hook}

    @property
    def unfit(self) -> str:
        """Why it is skipped where no hook point of a run suits it."""
        where = "a hook point" if self.hook is None else f"{self.hook!r} among the SAEs' hook points, one"
        return f"needs {where} that is its own target: it reconstructs its input"

    def name_at(self, hook: str, *, several: bool) -> str:
        """What it is called there; where it is fitted more than once, with the hook point."""
        return f"{self.name}@{hook}" if several and self.hook is None else self.name

    def fit(self, data: FitData) -> SAE:
        """The fitted control."""
        made = self.baseline.resolve()(self.config, data)
        if not isinstance(made, SAE):
            message = f"the baseline {self.name!r} gave a {type(made).__name__} instead of an SAE"
            raise ItemError(message)
        return made

    def recipe(self, *context: Any) -> str:
        """What identifies the fitted control before it is fitted: all that it follows from."""
        config = self.config.model_dump(mode="json")
        return f"recipe:{content_hash(self.qualified, self.baseline.version, config, *context)}"


def hooks_of(sae: SAE, item: SAEItem, available: Mapping[str, int], raw_hook: str | None) -> tuple[str, str]:
    """The hook points (read, predicted) at which an SAE is evaluated, checked against what there is.

    Raw activations have one nameless hook point, which every SAE takes; a transcoder is evaluated
    against the raw targets. An SAE that records no hook point takes the only one there is.
    """
    if raw_hook is not None:
        own = not sae.reconstructs or (sae.d_out == sae.d_in and "y" not in available)
        return raw_hook, raw_hook if own else "y"
    asked = sae.hook_in
    known = sorted(available)
    if asked is None and len(known) == 1:
        asked = known[0]
        item.notes.append(f"the file records no hook point; evaluated at {asked}, the only one of this run")
    if asked is None:
        message = (
            f"records no hook point, and this run has {', '.join(known)}. Say which it was trained at: "
            f"--override {item.name}.hook=HOOK, or `hook:` of the SAE in the suite."
        )
        raise ItemError(message)
    out = sae.hook_out or asked
    for hook in (asked, out):
        if hook not in available:
            message = (
                f"was made for the hook point {hook!r}, which is not among this run's ({', '.join(known)}). "
                f"Add --hook {hook}, or, if the file is wrong, --override {item.name}.hook=HOOK."
            )
            raise ItemError(message)
    return asked, out


def check_size(sae: SAE, hooks: tuple[str, str], dims: Mapping[str, int]) -> None:
    """Refuse an SAE whose input or output does not fit its hook points."""
    for what, size, hook in (("d_in", sae.d_in, hooks[0]), ("d_out", sae.d_out, hooks[1])):
        if hook not in dims:
            message = (
                f"predicts {sae.d_out} features from {sae.d_in}: a transcoder needs targets. Give them as "
                f"the tensor {hook!r} [contexts, positions, {sae.d_out}] beside x."
            )
            raise ItemError(message)
        if size != dims[hook]:
            message = (
                f"takes {what} = {size}, but {hook!r} has {dims[hook]} features. Expected an SAE made for "
                f"this model and hook point: check --model and --hook ({_hook_said(sae)})."
            )
            raise ItemError(message)


def _hook_said(sae: SAE) -> str:
    """Whose word the hook point of an SAE is."""
    if sae.overrides.hook is not None:
        return f"{sae.overrides.hook} was stated, the file does not decide"
    if any(getattr(each, "about", None) == "hook" for each in sae.assumptions):
        return f"{sae.hook_in} is assumed" if sae.hook_in else "the file says nothing"
    return f"the file says {sae.hook_in or 'nothing'}"
