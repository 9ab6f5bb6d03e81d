"""How SAEs were trained, as far as they record it, beside what a run does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from darkmatter.cache.spec import ModelSpec
from darkmatter.sae.base import SAEMetadata

PROCESSED = {
    "raw": "with its weights as they are",
    "compat": "with layer norms folded and weights centred",
}


@dataclass(frozen=True)
class Departure:
    """One way in which a run differs from an SAE's training; ``warn`` where numbers may suffer."""

    sentence: str
    warn: bool = True


def bos_of_all(recorded: Iterable[SAEMetadata]) -> Literal["never"] | None:
    """What contexts begin with, if all SAEs that record it agree; None: BOS, if there is one."""
    policies = {metadata.prepend_bos for metadata in recorded} - {None}
    return "never" if policies == {False} else None


def departures(recorded: SAEMetadata, model: ModelSpec, *, bos: bool) -> list[Departure]:
    """Where a run departs from the training of an SAE; ``bos``: the run's contexts begin with BOS."""
    found = []
    if recorded.prepend_bos not in {None, bos}:
        began, begin = ("began", "do not") if recorded.prepend_bos else ("did not begin", "do")
        policy = "always" if recorded.prepend_bos else "never"
        sentence = (
            f"its training contexts {began} with BOS, this run's {begin}. To follow it: --bos {policy} "
            f"(text: {{bos: {policy}}}); if the record is wrong: --override NAME.bos={str(bos).lower()}."
        )
        found.append(Departure(sentence))
    if recorded.processing is not None and recorded.processing != model.processing:
        sentence = (
            f"it was trained on a model {PROCESSED[recorded.processing]}, this run takes its model "
            f"{PROCESSED[model.processing]}. To follow it: --processing {recorded.processing} "
            f"(model: {{name: NAME, processing: {recorded.processing}}})."
        )
        found.append(Departure(sentence))
    if recorded.model is not None and not same_model(recorded.model, model.name):
        sentence = f"it was trained on a model called {recorded.model!r}, this run's is {model.name!r}."
        found.append(Departure(sentence, warn=False))
    return found


def same_model(one: str, other: str) -> bool:
    """Whether two names may mean one model: their last parts, in lower case; gpt2 is gpt2-small."""
    return _last_part(one) == _last_part(other)


def _last_part(name: str) -> str:
    last = PurePath(name).name.lower()
    return "gpt2-small" if last == "gpt2" else last
