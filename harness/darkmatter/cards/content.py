"""What a card says of one latent, as data: renderers decide how it looks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from darkmatter.cards.beside import found_beside, rows_of_latents
from darkmatter.cards.parts import Bars, Card, CardSection, Columns, Facts, Fragments, Missing, Part
from darkmatter.results.captions import describe_data
from darkmatter.results.schema import Result

EVALUATOR = "feature_effects"
"""The evaluator whose tables a card is made of."""

FEW = 30
"""Firings below which a card says that its figures are rough."""


def card_of(result: Result, latent: int, beside: Iterable[Result] = ()) -> Card:
    """The card of one latent of a result of ``feature_effects``.

    ``beside`` are results of other evaluators on the same SAE; of those whose table ``latents`` has the
    latent (its score and explanation, say) that row is shown.
    """
    tables = {name: _rows_of(result, name, latent) for name in _TABLES}
    row = rows_of_latents(result)[latent]
    text = Words(result.tables.get("tokens", {}))
    missing = result.tables.get("sample", {}).get("missing", {})
    sections = [
        CardSection(
            "In short", _summary(row, text, result.analysis.get("test_rows")), _rough(row["firings"])
        ),
        *found_beside(latent, beside),
        CardSection(
            "Where it fires most",
            _fragments([each for each in tables["fragments"] if each["kind"] == "top"], row, text),
            "Held-out contexts with its largest activations. Tokens are separated by spaces.",
        ),
        CardSection(
            "Activations",
            _bars(tables["bins"], text),
            "Held-out firings by activation, with each bin's commonest tokens and how often each occurs.",
        ),
        CardSection(
            "Across its range",
            _fragments([each for each in tables["fragments"] if each["kind"] != "top"], row, text),
            "One firing drawn from each bin, smallest activations first.",
        ),
        CardSection(
            "Which earlier tokens it needs",
            _context(tables["context"], text, missing.get("context")),
            "Change of the activation when one earlier token is removed; the three largest at each place.",
        ),
        CardSection(
            "What it writes to the logits",
            _effects(tables["logits"], text, missing.get("logit")),
            "Direct effect per unit of activation, about the mean over tokens; the final norm divides it.",
        ),
        CardSection(
            "What it does to the next token",
            _effects(tables["next_token"], text, missing.get("prediction")),
            _measured(tables["next_token"]),
        ),
        CardSection(
            "What makes it fire",
            _edges(tables["edges"], missing.get("edge")),
            "Change of its activation when one upstream latent is taken out, as a share of its own size.",
        ),
    ]
    record = result.sae
    subtitle = f"{record.reference} at {record.hook}, {record.d_sae} latents"
    return Card(record.name, latent, subtitle, sections, _measured_on(result))


def _measured_on(result: Result) -> str:
    """Model, text, rows, seed and versions behind the numbers."""
    made_by = f"{result.evaluator.name} version {result.evaluator.version}"
    package = result.provenance.get("packages", {}).get("sae-darkmatter")
    return ", ".join([describe_data([result]), made_by, *([f"darkmatter {package}"] if package else [])])


def _rough(firings: int) -> str:
    if firings >= FEW:
        return ""
    return f"It fires on fewer than {FEW} held-out rows: all figures below are rough, and shares are of few."


_TABLES = ("bins", "fragments", "context", "logits", "next_token", "edges")


class Words:
    """Tokens as text: their own, or their number where there is none to show."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def __getitem__(self, token: int) -> str:
        text = self._texts.get(str(token), "")
        return text if text.strip() else (repr(text) if text else f"#{token}")

    def quoted(self, token: int) -> str:
        """Between quotes that no token can break; its number without any."""
        text = self._texts.get(str(token), "")
        return json.dumps(text, ensure_ascii=False) if text else f"#{token}"


def _rows_of(result: Result, table: str, latent: int) -> list[dict[str, Any]]:
    return [row for row in result.tables.get(table, []) if row["latent"] == latent]


def _summary(row: Mapping[str, Any], text: Words, held_out: int | None) -> Facts:
    of = f" of {held_out:,}" if held_out else ""
    facts = [("fires on", f"{row['firings']:,}{of} held-out rows ({row['rate']:.3%})")]
    if "max" in row:
        size = f"{row['min']:.4g} to {row['max']:.4g}, mean {row['mean']:.4g}"
        facts.append(("activation", size))
    if row.get("token_purity") is not None:
        where = f"{row['token_purity']:.1%} of its activation is on {text[row['token']]!r}"
        facts.append(("token", f"{where}, entropy {row['token_entropy']:.2f} bits"))
    for name, label, form in _NUMBERS:
        if row.get(name) is not None:
            facts.append((label, format(row[name], form)))
    return Facts(facts)


_NUMBERS = (
    ("context_effect", "largest effect of one earlier token", ".1%"),
    ("next_token_kl", "KL of the prediction without it (nats)", ".4g"),
    ("next_token_loss", "loss without it, less the model's own (nats)", "+.4g"),
    ("logit_agreement", "direct against measured logit effect (correlation)", ".2f"),
    ("causal_edge", "largest edge from upstream", ".1%"),
    ("edge_correlation", "gradient estimates against true edges (correlation)", ".2f"),
)


def _fragments(rows: Sequence[Mapping[str, Any]], latent: Mapping[str, Any], text: Words) -> Part:
    if not rows:
        return Missing("no fragment was kept")
    largest = max(abs(latent.get("max", 0.0)), abs(latent.get("min", 0.0))) or 1.0
    return Fragments(
        [
            (
                f"{row['activations'][row['position'] - row['start']]:.4g}",
                [
                    (text[token], min(1.0, abs(value) / largest))
                    for token, value in zip(row["tokens"], row["activations"], strict=True)
                ],
            )
            for row in rows
        ]
    )


def _bars(rows: Sequence[Mapping[str, Any]], text: Words) -> Part:
    if not rows:
        return Missing("it does not fire on held-out rows")
    bars = []
    for row in rows:
        tokens = [f"{text.quoted(each['token'])} ×{each['count']}" for each in row["tokens"]]
        rest = [f"others ×{row['rest']}"] if row["rest"] else []
        bars.append((f"{row['low']:.3g} to {row['high']:.3g}", row["count"], ", ".join([*tokens, *rest])))
    return Bars(("activation", "tokens and how often"), bars)


def _context(rows: Sequence[Mapping[str, Any]], text: Words, missing: str | None) -> Part:
    if not rows:
        return Missing(missing or "there is no earlier token where it fires")
    table = []
    for row in rows:
        own = row["activation"]
        largest = sorted(row["removed"], key=lambda each: (-abs(each["change"]), each["position"]))[:3]
        for place, each in enumerate(largest):
            back = row["position"] - each["position"]
            table.append(
                (
                    f"{own:.4g}" if place == 0 else "",
                    text[each["token"]],
                    f"{back} back",
                    f"{each['change'] / abs(own):+.1%}",
                )
            )
    return Columns(("activation", "token removed", "where", "change"), table)


def _effects(rows: Sequence[Mapping[str, Any]], text: Words, missing: str | None) -> Part:
    if not rows:
        return Missing(missing or "it was not measured")
    row = rows[0]
    pairs = zip(row["promoted"], row["suppressed"], strict=True)
    return Columns(
        ("promoted", "effect", "suppressed", "effect"),
        [
            (text[a["token"]], f"{a['effect']:+.3g}", text[b["token"]], f"{b['effect']:+.3g}")
            for a, b in pairs
        ],
    )


def _measured(rows: Sequence[Mapping[str, Any]]) -> str:
    what = "Mean change of log-probability (nats) that it makes where it fires"
    if not rows:
        return f"{what}."
    count = rows[0]["rows"]
    few = ", so few that chance shows" if count < FEW else ""
    return f"{what}, over {count:,} firing{'' if count == 1 else 's'}{few}."


def _edges(rows: Sequence[Mapping[str, Any]], missing: str | None) -> Part:
    if not rows:
        return Missing(missing or "no upstream latent fires with it")
    return Columns(
        ("upstream latent", "edge", "change", "estimate", "chosen by"),
        [
            (
                f"{row['upstream']} {row['cause']}",
                f"{row['relative']:.1%}",
                f"{row['edge']:.3g}",
                f"{row['estimate']:.3g}",
                row["kind"],
            )
            for row in rows
        ],
    )
