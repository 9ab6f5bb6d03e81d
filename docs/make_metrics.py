"""Write docs/metrics.md from the descriptors of the built-in evaluators.

    python docs/make_metrics.py            # writes docs/metrics.md
    python docs/make_metrics.py --check    # exit status 1 if it is out of date

What a metric means stands in its descriptor and nowhere else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from darkmatter.api import Evaluator, Metric
from darkmatter_plugins.evaluators import EVALUATORS

PAGE = Path(__file__).with_name("metrics.md")

HEAD = """\
# Metrics

Made from the evaluators' descriptors by `docs/make_metrics.py`; `darkmatter describe NAME` prints the
same for any installed evaluator, plugins included.

- **bold**: a headline metric, shown by default; the others with `--all`.
- ↑ higher is better, ↓ lower is better; no arrow: neither.
- x activation, Sae(x) reconstruction, e = x - Sae(x) error, c codes, x̄ mean over the held-out rows
  (for a transcoder e = y - S(x), and y stands where x is the target).
- All sums run over the same held-out rows; maps and baselines are fitted on the training rows only.
- A ratio whose denominator is round-off is undefined: null in files, with the reason beside it.
- A name with a dot in it is a variant under the name of the tool or paper whose formula it follows
  (`saelens.explained_variance`, `authors.error_r2`), so that "another SAE" can be told from "another
  formula". Compare a number from elsewhere with the variant of that tool, never with our headline.
"""


def page(evaluators: tuple[Evaluator, ...]) -> str:
    """The whole page."""
    ordered = sorted(evaluators, key=lambda evaluator: evaluator.name)
    return "\n".join([HEAD, *(section(evaluator) for evaluator in ordered)])


def section(evaluator: Evaluator) -> str:
    """One evaluator."""
    lines = [f"## {evaluator.name}", "", evaluator.summary, ""]
    scope = "all SAEs of a hook point together" if evaluator.scope == "family" else "one SAE"
    facts = [f"Version {evaluator.version}", f"a result speaks about {scope}"]
    if evaluator.requires:
        facts.append("needs " + ", ".join(sorted(need.value for need in evaluator.requires)))
    if not evaluator.by_default:
        facts.append("runs only where it is named")
    if evaluator.source:
        facts.append(f"after {evaluator.source}")
    lines += ["; ".join(facts) + ".", "", "| metric | | meaning | unit | range |", "|---|---|---|---|---|"]
    lines += [row(metric) for metric in evaluator.metrics]
    return "\n".join([*lines, "", *options(evaluator), ""])


def row(metric: Metric) -> str:
    """One metric as a table row."""
    name = f"**`{metric.name}`**" if metric.primary else f"`{metric.name}`"
    arrow = {True: "↑", False: "↓", None: ""}[metric.higher_is_better]
    cells = (name, arrow, metric.meaning.replace("|", "\\|"), metric.unit, interval(metric))
    return f"| {' | '.join(cells)} |"


def interval(metric: Metric) -> str:
    """The closed range of correct values."""
    if metric.low is None:
        return "" if metric.high is None else f"≤ {metric.high:g}"
    return f"≥ {metric.low:g}" if metric.high is None else f"{metric.low:g} to {metric.high:g}"


def options(evaluator: Evaluator) -> list[str]:
    """Its configuration, one line per field."""
    schema: dict[str, Any] = evaluator.config.model_json_schema()
    fields: dict[str, Any] = schema.get("properties", {})
    if not fields:
        return ["No options."]
    lines = [f"Options (`--set {evaluator.name}.FIELD=VALUE`):", ""]
    for name, field in fields.items():
        choices = [str(choice) for choice in field.get("enum", ())]
        kind = " or ".join(f"`{choice}`" for choice in choices) or str(field.get("type", ""))
        default = f", default `{json.dumps(field['default'])}`" if "default" in field else ""
        lines.append(f"- `{name}` ({kind}{default}): {field.get('description', '')}")
    return lines


def main() -> int:
    """Write the page, or say whether it is up to date."""
    text = page(EVALUATORS)
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
