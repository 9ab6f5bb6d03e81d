"""One closed part per SAE: the anatomy of its error, every metric, what was assumed, where it is from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from darkmatter import api
from darkmatter_plugins.reporters.page.latents import latent_tables
from darkmatter_plugins.reporters.page.markup import (
    breakable,
    bullets,
    escape,
    named,
    number,
    pairs,
    scrolling,
)
from darkmatter_plugins.reporters.page.provenance import Records

ANATOMY = (
    ("missed in all (FVU)", "reconstruction: fvu", "reconstruction: fvu"),
    ("linear part", "error_decomposition: fvu_linear", "reconstruction: fvu"),
    ("nonlinear part", "error_decomposition: fvu_nonlinear", "reconstruction: fvu"),
    (
        "of it the encoder's (gradient pursuit, rows of its own)",
        "gradient_pursuit: encoder_error",
        "gradient_pursuit: fvu",
    ),
)
"""Part, metric, and the FVU on the same rows."""
EVALUATORS = ("reconstruction", "error_decomposition", "gradient_pursuit")
"""Whose numbers the anatomy shows."""
NEAR = 0.15
"""A control whose L0 is this near, relative, stands beside an SAE."""

Metrics = Mapping[str, api.MetricValue]


def saes(section: api.Section, place: int, provenance: Records, conditions: Records) -> str:
    """All SAEs of a section, each closed, in the order of the rows."""
    order = dict.fromkeys(row.name for block in section.blocks for row in block.rows)
    order.update(dict.fromkeys(name for name, _ in section.results))
    by_name: dict[str, list[api.Result]] = {name: [] for name in order}
    for name, result in section.results:
        by_name[name].append(result)
    controls = [(name, result) for name, result in section.results if result.sae.is_control]
    parts = []
    for index, (name, results) in enumerate(by_name.items()):
        results.sort(key=lambda each: (each.evaluator.name, repr(sorted(each.config.items()))))
        sae = results[0].sae
        titles = _titles(results)
        inside = [
            *_anatomies(results, () if sae.is_control else controls),
            _identity(results),
            *(_result(result, titles[result.key], provenance, conditions) for result in results),
        ]
        kind = ' <span class="kind">control</span>' if sae.is_control else ""
        marked = "sae control" if sae.is_control else "sae"
        parts.append(
            f'<details class="{marked}" id="sae-{place}-{index + 1}" data-name="{escape(name)}">\n'
            f"<summary><b>{breakable(name)}</b>{kind} {_headline(results)}</summary>\n"
            + "\n".join(filter(None, inside))
            + "\n</details>"
        )
    return "\n".join(parts)


def _configured(results: Sequence[api.Result], *evaluators: str) -> Iterator[tuple[str, list[api.Result]]]:
    """The results of one SAE apart for every configuration, with the options in words."""
    for each in api.configurations([("", result) for result in results if result.metrics], evaluators):
        yield each.options, [result for _, result in each.results]


def _titles(results: Sequence[api.Result]) -> dict[str, str]:
    """By key, the evaluator with its version, and with its options where it ran with several."""
    entries = [("", result) for result in results]
    return {
        result.key: (f"{each.options}, " if each.options else f"{result.evaluator.name} ")
        + f"v{result.evaluator.version}"
        for evaluator in dict.fromkeys(result.evaluator.name for result in results)
        for each in api.configurations(entries, [evaluator])
        for _, result in each.results
    }


def _metrics(results: Iterable[api.Result]) -> dict[str, api.MetricValue]:
    return {f"{result.evaluator.name}: {each.name}": each for result in results for each in result.metrics}


def _headline(results: Sequence[api.Result]) -> str:
    sae = results[0].sae
    parts = [f"width {sae.d_sae}"] if sae.d_sae and not sae.members else []
    for options, found in _configured(results, "reconstruction"):
        metrics = _metrics(found)
        values = {name: _value(metrics, f"reconstruction: {name}") for name in ("l0", "fvu")}
        said = [f"{name} {api.format_value(value)}" for name, value in values.items() if value is not None]
        parts += [f"{options}: {' '.join(said)}"] if options and said else said
    bad = [result.status for result in results if result.status != "ok"]
    parts += [f"{bad.count(status)} {status}" for status in sorted(set(bad))]
    return f'<span class="faint">{escape(", ".join(parts))}</span>'


def _identity(results: Sequence[api.Result]) -> str:
    sae = results[0].sae
    known = {
        "reference": sae.reference,
        "fingerprint": sae.fingerprint,
        "read at": sae.hook,
        "written at": sae.hook_out if sae.hook_out != sae.hook else "",
        "d_in": sae.d_in or "",
        "latents": sae.d_sae or "",
        "adapter": sae.adapter,
        "members": ", ".join(sae.members),
        **{name: _plain(value) for name, value in api.flat(sae.metadata).items()},
    }
    overrides = {name: _plain(value) for name, value in api.flat(sae.overrides).items()}
    assumed = bullets(dict.fromkeys(line for result in results for line in result.sae.assumptions))
    return "\n".join(
        [
            f"<h4>Assumed</h4>\n{assumed or '<p>Nothing is recorded as assumed.</p>'}"
            if not sae.members and not sae.is_control
            else "",
            f"<h4>Overridden by the user or a catalogue</h4>\n{pairs(overrides)}" if overrides else "",
            f"<details><summary>What it is and where it is from</summary>\n{pairs(known)}\n</details>",
        ]
    )


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


# -- the anatomy of the error -------------------------------------------------------------------------


def _anatomies(results: Sequence[api.Result], controls: Sequence[tuple[str, api.Result]]) -> Iterator[str]:
    """One for each configuration, beside controls of the same: shares of two would mean nothing."""
    for options, mine in _configured(results, *EVALUATORS):
        sources = [(result.evaluator, result.config) for result in mine]
        alike: dict[str, list[api.Result]] = {}
        for name, result in controls:
            if (result.evaluator, result.config) in sources:
                alike.setdefault(name, []).append(result)
        beside = {name: _metrics(found) for name, found in alike.items()}
        yield _anatomy(_metrics(mine), beside, f": {options}" if options else "")


def _anatomy(mine: Metrics, controls: Mapping[str, Metrics], options: str) -> str:
    """Shares of the variance and of the error, with a bar, and the controls of about the same L0."""
    total = _value(mine, ANATOMY[0][1])
    if total is None:
        return ""
    rows = []
    for label, name, whole in ANATOMY:
        metric, fvu = mine.get(name), _value(mine, whole)
        if metric is None:
            continue
        share = f"{100 * metric.value / fvu:.1f}%" if metric.value is not None and fvu else ""
        rows.append([named(escape(label)), _shown(metric), share])
    rows += [
        [
            named(
                f'control {breakable(name)}: missed in all <span class="faint">l0 {escape(number(l0))}</span>'
            ),
            _shown(metric),
            "",
        ]
        for name, l0, metric in _matched(mine, controls)
    ]
    head = ("part", "of the variance", "of the FVU")
    table = scrolling(f"anatomy of the error{options}", head, rows)
    return f"<h4>Anatomy of the error{escape(options)}</h4>\n{_bar(mine, total)}\n{table}"


def _bar(mine: Metrics, total: float) -> str:
    """Linear and nonlinear part as a bar."""
    parts = [_value(mine, ANATOMY[index][1]) for index in (1, 2)]
    if total <= 0 or any(part is None or part < 0 for part in parts):
        return ""
    linear, nonlinear = (100 * (part or 0.0) / total for part in parts)
    words = escape(f"linear {linear:.0f}%, nonlinear {nonlinear:.0f}% of the FVU")
    return (
        f'<svg class="bar" role="img" aria-label="{words}" viewBox="0 0 100 4" preserveAspectRatio="none">'
        f'<rect class="linear" width="{linear:.2f}" height="4"/>'
        f'<rect class="nonlinear" x="{linear:.2f}" width="{nonlinear:.2f}" height="4"/></svg>\n'
        f'<p class="faint"><i class="key linear"></i> linear <i class="key nonlinear"></i> nonlinear</p>'
    )


def _matched(mine: Metrics, controls: Mapping[str, Metrics]) -> Iterator[tuple[str, float, api.MetricValue]]:
    l0 = _value(mine, "reconstruction: l0")
    for name, metrics in controls.items():
        theirs, fvu = _value(metrics, "reconstruction: l0"), metrics.get(ANATOMY[0][1])
        if l0 and theirs and fvu is not None and abs(theirs - l0) <= NEAR * l0:
            yield name, theirs, fvu


def _value(metrics: Metrics, name: str) -> float | None:
    metric = metrics.get(name)
    return None if metric is None else metric.value


# -- one result ---------------------------------------------------------------------------------------


def _result(result: api.Result, title: str, provenance: Records, conditions: Records) -> str:
    said = escape(result.status if result.status != "ok" else f"{len(result.metrics)} metrics")
    inside = [
        f'<p class="warning">{escape(result.status)}: {escape(result.reason or "no reason given")}</p>'
    ] * (result.status != "ok")
    if result.metrics:
        head = ("metric", "value", "n", "interval over", "better")
        inside.append(scrolling(f"metrics of {title}", head, map(_metric, result.metrics)))
    inside += [f"<h5>Notes</h5>\n{bullets(result.notes)}"] * bool(result.notes)
    inside += list(latent_tables(result))
    options = {name: _plain(value) for name, value in api.flat(result.config).items()}
    inside.append(f"<h5>Options</h5>\n{pairs(options) or '<p>None.</p>'}")
    measured = conditions.link({"activations": result.cache, "analysis": result.analysis})
    made = provenance.link(result.provenance)
    checksum = f", checksum <code>{escape(result.checksum)}</code>" if result.checksum else ""
    inside.append(f'<p class="faint">{measured}, {made}; key <code>{escape(result.key)}</code>{checksum}</p>')
    body = "\n".join(inside)
    summary = f'{escape(title)} <span class="faint">{said}</span>'
    return f'<details class="result"><summary>{summary}</summary>\n{body}\n</details>'


def _metric(metric: api.MetricValue) -> list[str]:
    better = {True: "higher", False: "lower", None: ""}[metric.higher_is_better]
    name = breakable(metric.name)
    return [
        named(f"<b>{name}</b>" if metric.primary else name),
        _shown(metric),
        "" if metric.n is None else str(metric.n),
        escape(metric.ci_method or ""),
        better,
    ]


def _shown(metric: api.MetricValue) -> str:
    if metric.value is None:
        return f"{escape(metric.status)}: {escape(metric.reason or '')}"
    unit = f" {metric.unit}" if metric.unit else ""
    return escape(api.format_value(metric.value, metric.ci_low, metric.ci_high) + unit)
