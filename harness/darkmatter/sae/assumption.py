"""What a file did not say and a reader took, and what would settle it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

TO_BE_SURE = {
    "hook": "the training script or the publisher's page; then --override hook=HOOK",
    "model": "the training script or the publisher's page; then --override model=NAME",
    "context_length": "the training script or the publisher's page; then --override context_length=N",
    "bos": "the training script: did each context begin with BOS? then --override bos=true or bos=false",
    "norm_factor": "the scale that training multiplied activations by; then --override norm_factor=NUMBER",
    "orientation": "the training script: is W_enc stored [d_in, d_sae] or [d_sae, d_in]? "
    "then --override orientation=d_in,d_sae or orientation=d_sae,d_in",
    "k": "the training script or the publisher's page; then --override k=NUMBER",
    "processing": "the training script: did it take the model's weights as they are, or fold layer norms and "
    "centre weights as TransformerLens does? then --override processing=raw or processing=compat",
    "hook_out": "the training script or the publisher's page; then --override hook_out=HOOK",
}
"""What settles an assumption about a field that the user can override."""


class Assumption(str):
    """One sentence about something that a file does not say and we took.

    A plain string with two facts beside it: ``about``, the field of ``Overrides`` that it speaks of
    (None: no override touches it; an override of that field replaces the sentence), and
    ``to_be_sure``, what would settle it (None where nothing would, or nothing is needed).
    """

    __slots__ = ("about", "to_be_sure")
    about: str | None
    to_be_sure: str | None

    def __new__(cls, sentence: str, about: str | None = None, to_be_sure: str | None = None) -> Self:
        """A sentence; what would settle it is known by what it is about, unless said ("": nothing)."""
        made = super().__new__(cls, sentence)
        made.about = about
        made.to_be_sure = TO_BE_SURE.get(about or "") if to_be_sure is None else to_be_sure or None
        return made


def described(assumptions: Iterable[str]) -> list[dict[str, str | None]]:
    """Assumptions as plain objects with sentence, about and to_be_sure; plain strings have no more."""
    return [
        {
            "sentence": str(each),
            "about": getattr(each, "about", None),
            "to_be_sure": getattr(each, "to_be_sure", None),
        }
        for each in assumptions
    ]
