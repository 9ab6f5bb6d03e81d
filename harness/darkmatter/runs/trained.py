"""How SAEs were trained, as far as they record it, beside what a run does."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from darkmatter.cache.spec import ModelSpec
from darkmatter.embedded import embedded_path
from darkmatter.sae.base import SAEMetadata

PROCESSED = {
    "raw": "with its weights as they are",
    "compat": "with layer norms folded and weights centred",
}
UNTELLING = {"model", "checkpoint", "final"}
"""Names of folders that say nothing of the model in them."""


@dataclass(frozen=True)
class Departure:
    """One way in which a run differs from an SAE's training; ``warn`` where numbers may suffer."""

    sentence: str
    warn: bool = True


def bos_of_all(recorded: Iterable[SAEMetadata]) -> Literal["never"] | None:
    """What contexts begin with, if all SAEs that record it agree; None: BOS, if there is one."""
    policies = {metadata.prepend_bos for metadata in recorded} - {None}
    return "never" if policies == {False} else None


def departures(
    known: SAEMetadata, model: ModelSpec, *, bos: bool, assumed: Collection[str] = ()
) -> list[Departure]:
    """Where a run departs from the training of an SAE.

    Args:
        known: what is known of the SAE, assumed values included.
        model: the run's model.
        bos: whether the run's contexts begin with BOS.
        assumed: the overrides of which ``known`` holds assumed values; the sentences say so.
    """

    def basis(name: str) -> str:
        return " (assumed, not recorded)" if name in assumed else ""

    found = []
    if known.prepend_bos not in {None, bos}:
        began, begin = ("began", "do not") if known.prepend_bos else ("did not begin", "do")
        policy = "always" if known.prepend_bos else "never"
        sentence = (
            f"its training contexts {began} with BOS{basis('bos')}, this run's {begin}. To follow it: "
            f"--bos {policy} (text: {{bos: {policy}}}); if the record is wrong: "
            f"--override NAME.bos={str(bos).lower()}."
        )
        found.append(Departure(sentence))
    if known.processing is not None and known.processing != model.processing:
        sentence = (
            f"it was trained on a model {PROCESSED[known.processing]}{basis('processing')}, this run takes "
            f"its model {PROCESSED[model.processing]}. To follow it: --processing {known.processing} "
            f"(model: {{name: NAME, processing: {known.processing}}}); if the record is wrong: "
            f"--override NAME.processing={model.processing}."
        )
        found.append(Departure(sentence))
    # An embedded model is known by its folder, as it is where somebody names that.
    named = str(embedded_path(model.name) or model.name)
    if known.model is not None and not may_be_same(known.model, named):
        sentence = (
            f"it was trained on a model called {known.model!r}{basis('model')}, this run's is "
            f"{_last_part(named)!r}."
        )
        found.append(Departure(sentence, warn=False))
    return found


def may_be_same(one: str, other: str) -> bool:
    """Whether two names may mean one model: their last parts are equal, or one tells nothing."""
    last = {_last_part(one), _last_part(other)}
    return len(last) == 1 or bool(last & UNTELLING)


def _last_part(name: str) -> str:
    last = PurePath(name.removeprefix("hf:")).name.lower()
    return "gpt2-small" if last == "gpt2" else last
