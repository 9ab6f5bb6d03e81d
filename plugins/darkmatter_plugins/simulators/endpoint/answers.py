"""Strict reading of what a language model answered: the expected shape, or an ItemError that says why not."""

from __future__ import annotations

import json
import re
from typing import Any

from darkmatter import api

LONGEST_EXPLANATION = 600
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*)\n```", re.DOTALL)


class UnreadableAnswer(api.ItemError):
    """A model's answer of the wrong shape."""


def explanation_in(answer: str) -> str:
    """The explanation in one line, safe to show."""
    line = " ".join(api.printable(answer).split())
    if not line:
        message = "the explanation is empty"
        raise api.ItemError(message)
    if len(line) > LONGEST_EXPLANATION:
        message = f"the explanation has {len(line)} characters, at most {LONGEST_EXPLANATION} were expected"
        raise api.ItemError(message)
    return line


def numbers_in(answer: str, count: int, highest: int) -> list[float]:
    """The numbers 0..``highest`` of an object with the keys 1..``count``; nothing else is accepted.

    Around the object may stand white space or a code fence, which many models write unasked.
    """
    text = answer.strip()
    fenced = _FENCED.fullmatch(text)
    try:
        found = json.loads(fenced[1] if fenced else text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        message = f"the answer is not the JSON object that was asked for: {_quoted(answer)}"
        raise UnreadableAnswer(message) from None
    if not isinstance(found, dict):
        message = f"the answer is JSON but not an object: {_quoted(answer)}"
        raise UnreadableAnswer(message)
    if set(found) != {str(number) for number in range(1, count + 1)}:
        message = f"the answer has {len(found)} entries whose keys are not 1 to {count}: {_quoted(answer)}"
        raise UnreadableAnswer(message)
    values = [found[str(number)] for number in range(1, count + 1)]
    if not all(type(value) in {int, float} and 0 <= value <= highest for value in values):
        message = f"the answer has values that are not numbers from 0 to {highest}: {_quoted(answer)}"
        raise UnreadableAnswer(message)
    return [float(value) for value in values]


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        message = "a key stands there twice"
        raise ValueError(message)
    return made


def _quoted(answer: str) -> str:
    """The beginning of an answer, safe to show."""
    shown = " ".join(api.printable(answer).split())
    return repr(shown if len(shown) <= 80 else f"{shown[:80]}…")
