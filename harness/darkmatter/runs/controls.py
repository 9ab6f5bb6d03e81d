"""The controls that every table carries unless they are turned off."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from darkmatter.descriptors import Baseline
from darkmatter.errors import UsageError, did_you_mean
from darkmatter.plugins import PluginHost
from darkmatter.runs.items import BaselineItem
from darkmatter.wording import expectation

SAME_L0 = 0.15
"""Two L0s that differ by less than this share are served by one control."""

MOST_CONTROLS = 5

MATCHED = {"pca": MOST_CONTROLS, "pca_topk": 3, "random": 3}
"""Baselines that stand beside the SAEs at their L0s, and at how many L0s at most."""


@dataclass(frozen=True)
class ControlPolicy:
    """Which controls are added: ``mean``, and those of ``MATCHED`` at the distinct L0s of the SAEs."""

    automatic: bool = True


def baseline_item(host: PluginHost, name: str, label: str, options: Mapping[str, Any]) -> BaselineItem:
    """A baseline with its options, both checked."""
    owned = host.get("baselines", name)
    baseline = owned.descriptor
    assert isinstance(baseline, Baseline)
    try:
        config = baseline.config.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            what = f"there is no such option. {did_you_mean(field, baseline.config.model_fields)}"
        elif first["type"] == "missing":
            what = "it is missing."
        else:
            what = f"it cannot be {first['input']!r}; {expectation(first)}."
        message = f"baseline {name!r}, option {field!r}: {what}"
        raise UsageError(message) from None
    text = ",".join([name, *(f"{key}={value}" for key, value in options.items())])
    return BaselineItem(label, f"baseline:{text}", baseline, owned.qualified, config)


def matched_controls(
    policy: ControlPolicy,
    host: PluginHost,
    l0s: Sequence[float],
    d: int,
    present: Sequence[BaselineItem],
    taken: Collection[str] = (),
) -> list[BaselineItem]:
    """The automatic controls, at most of rank d, that are not asked for already.

    One whose name the user gave to something else (``taken``: the names of all SAEs of the run) is
    called ``mean-control``.
    """
    if not policy.automatic:
        return []
    wanted: list[tuple[str, str, dict[str, Any]]] = []
    wanted += [("mean", "mean", {})] if "mean" in host.baselines() else []
    for name in matched_names(host):
        have = [
            k for item in present if (k := getattr(item.config, "k", None)) and item.baseline.name == name
        ]
        for k in distinct_l0([min(l0, d) for l0 in l0s], MATCHED[name]):
            # All principal components of a token are those of the whole basis.
            if not (name == "pca_topk" and k >= d) and not any(_alike(k, other) for other in have):
                wanted.append((name, f"{name}-k{k}", {"k": k}))
    names = {*taken, *(item.name for item in present)}
    items = [baseline_item(host, name, _free(label, names), options) for name, label, options in wanted]
    asked = {(item.qualified, item.config) for item in present}
    return [item for item in items if (item.qualified, item.config) not in asked]


def matched_names(host: PluginHost) -> list[str]:
    """The baselines that can be put beside SAEs at their L0s."""
    return [name for name in MATCHED if name in host.baselines()]


def _free(label: str, taken: Collection[str]) -> str:
    """A name for a control that nothing else has."""
    while label in taken:
        label += "-control"
    return label


def distinct_l0(l0s: Sequence[float], most: int = MOST_CONTROLS) -> list[int]:
    """The distinct L0s, at most so many: each stands for all within ``SAME_L0`` above it.

    Of those that are served by one control, the most frequent rounded L0 is taken.
    """
    groups: list[list[int]] = []
    for value in sorted(max(1, round(value)) for value in l0s if value > 0):
        if groups and _alike(groups[-1][0], value):
            groups[-1].append(value)
        else:
            groups.append([value])
    chosen = [max(group, key=lambda value: (group.count(value), -value)) for group in groups]
    if len(chosen) <= most:
        return chosen
    step = (len(chosen) - 1) / (most - 1)
    return [chosen[round(i * step)] for i in range(most)]


def _alike(a: float, b: float) -> bool:
    return max(a, b) <= min(a, b) * (1 + SAME_L0)
