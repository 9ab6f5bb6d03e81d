"""Results turned into what a figure also meets: undefined, null, missing, one alone, strangely named."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from darkmatter.results.schema import MetricValue, Result
from darkmatter.testing.results import HOSTILE

REASON = "there is no value, for a test"
STRANGE = f"\x1b[31m\u202e$\\nope{{$ <script>1</script> x_1^{{2 {HOSTILE}"
"""What all names begin with."""


def altered(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Other results by what is special about them."""
    strange = renamed(results, lambda name: f"{STRANGE} {name}")
    return {
        "the results of one SAE": one_each(results),
        "names that need escaping, beside skipped and failed results": [*strange, *not_ok(strange)],
        "results of which every other metric is undefined and every other place of a curve null": [
            undefined(each, 2).model_copy(update={"curves": _with_nulls(each.curves)}) for each in results
        ],
        "results without a defined metric": [undefined(each, 1) for each in results],
        "results without tables and curves": [
            each.model_copy(update={"tables": {}, "curves": {}}) for each in results
        ],
    }


def one_each(results: Sequence[Result]) -> list[Result]:
    """The first result of each evaluator, of an SAE proper where there is one."""
    first: dict[str, Result] = {}
    for each in sorted(results, key=lambda result: (result.status != "ok", result.sae.is_control)):
        first.setdefault(each.evaluator.name, each)
    return list(first.values())


def not_ok(results: Sequence[Result]) -> list[Result]:
    """A skipped and a failed SAE for every evaluator."""
    found = []
    for each in one_each(results):
        for status in ("skipped", "failed"):
            update: dict[str, Any] = {
                "status": status,
                "reason": REASON,
                "metrics": (),
                "tables": {},
                "curves": {},
            }
            sae = each.sae.model_copy(update={"name": status, "fingerprint": status, "l0": None})
            found.append(each.model_copy(update={**update, "sae": sae, "key": f"{status}-{each.key}"}))
    return found


def undefined(result: Result, step: int) -> Result:
    """Every so manieth metric undefined, from the first on."""
    metrics = list(result.metrics)
    for place in range(0, len(metrics), step):
        name, primary = metrics[place].name, metrics[place].primary
        metrics[place] = MetricValue(
            name=name, value=None, status="undefined", reason=REASON, primary=primary
        )
    return result.model_copy(update={"metrics": tuple(metrics)})


def _with_nulls(curves: Mapping[str, Any]) -> dict[str, Any]:
    """Curves whose y, low and high are null at every other place."""
    found: dict[str, Any] = {}
    for name, curve in curves.items():
        lines = {
            part: [value if place % 2 else None for place, value in enumerate(curve[part])]
            for part in ("y", "low", "high")
            if isinstance(curve, Mapping) and isinstance(curve.get(part), Sequence)
        }
        found[name] = {**curve, **lines} if lines else curve
    return found


def renamed(results: Sequence[Result], rename: Callable[[str], str]) -> list[Result]:
    """The same results with other names of SAEs, wherever these stand."""
    names = {each.sae.name for each in results} | {name for each in results for name in each.sae.members}
    # Longest first: a name may begin like another.
    choice = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    bracket = re.compile(rf"(?<=\[)(?:{choice})(?=[\]:])")

    def told(text: str) -> str:
        return rename(text) if text in names else bracket.sub(lambda match: rename(match[0]), text)

    def walked(content: Any) -> Any:
        if isinstance(content, str):
            return told(content)
        if isinstance(content, Mapping):
            return {told(key): walked(each) for key, each in content.items()}
        if isinstance(content, list | tuple):
            return type(content)(walked(each) for each in content)
        return content

    def one(result: Result) -> Result:
        members = tuple(map(rename, result.sae.members))
        update = {
            "sae": result.sae.model_copy(update={"name": rename(result.sae.name), "members": members}),
            "metrics": tuple(each.model_copy(update={"name": told(each.name)}) for each in result.metrics),
            "tables": walked(result.tables),
            "curves": walked(result.curves),
        }
        return result.model_copy(update=update)

    return [one(each) for each in results]
