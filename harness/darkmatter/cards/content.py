"""What a card says of one latent, as data: renderers decide how it looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darkmatter.results.schema import Result

EVALUATOR = "feature_effects"
"""The evaluator whose tables a card is made of."""

_SCORES = 12
"""Numbers of another evaluator's row at most that are shown."""


@dataclass(frozen=True)
class Facts:
    """Names and what there is to say of each."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Bars:
    """A histogram: label, height and text of every bar."""

    heading: tuple[str, str]
    rows: Sequence[tuple[str, int, str]]


@dataclass(frozen=True)
class Columns:
    """A small table of texts."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Fragments:
    """Pieces of text: a label, and tokens with their activation as a share of the latent's largest."""

    rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]


@dataclass(frozen=True)
class Missing:
    """Why there is nothing to show."""

    reason: str


Part = Facts | Bars | Columns | Fragments | Missing


@dataclass(frozen=True)
class CardSection:
    """One thing to know of a latent, with a sentence on how to read it."""

    title: str
    part: Part
    note: str = ""


@dataclass(frozen=True)
class Card:
    """All there is to say of one latent."""

    sae: str
    latent: int
    subtitle: str
    sections: Sequence[CardSection]

    @property
    def title(self) -> str:
        """What the card is about."""
        return f"{self.sae}, latent {self.latent}"


def latents_in(result: Result) -> dict[int, dict[str, Any]]:
    """The rows of a result's table ``latents`` by latent."""
    rows = result.tables.get("latents", [])
    return {row["latent"]: dict(row) for row in rows if isinstance(row, Mapping) and "latent" in row}


def card_of(result: Result, latent: int, beside: Iterable[Result] = ()) -> Card:
    """The card of one latent of a result of ``feature_effects``.

    ``beside`` are results of other evaluators on the same SAE; of those whose table ``latents`` has the
    latent (its score and explanation, say) that row is shown.
    """
    tables = {name: _rows_of(result, name, latent) for name in _TABLES}
    row = latents_in(result)[latent]
    text = Words(result.tables.get("tokens", {}))
    missing = result.tables.get("sample", {}).get("missing", {})
    sections = [
        CardSection("In short", _summary(row, text)),
        *_explained(latent, beside),
        CardSection(
            "Where it fires most",
            _fragments([each for each in tables["fragments"] if each["kind"] == "top"], row, text),
            "Held-out contexts with its largest activations. Tokens are separated by spaces.",
        ),
        CardSection(
            "Activations",
            _bars(tables["bins"], text),
            "Held-out firings by activation, with the commonest tokens of each bin.",
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
    return Card(record.name, latent, subtitle, sections)


_TABLES = ("bins", "fragments", "context", "logits", "next_token", "edges")


class Words:
    """Tokens as text: their own, or their number where there is none to show."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def __getitem__(self, token: int) -> str:
        text = self._texts.get(str(token), "")
        return text if text.strip() else (repr(text) if text else f"#{token}")


def _rows_of(result: Result, table: str, latent: int) -> list[dict[str, Any]]:
    return [row for row in result.tables.get(table, []) if row["latent"] == latent]


def _summary(row: Mapping[str, Any], text: Words) -> Facts:
    facts = [("firing rate", f"{row['rate']:.3%} of held-out rows ({row['firings']} firings)")]
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


def _explained(latent: int, beside: Iterable[Result]) -> Iterable[CardSection]:
    """The latent's row in other evaluators' tables."""
    for other in beside:
        row = latents_in(other).get(latent)
        if row is None:
            continue
        facts = [
            (name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value))
            for name, value in row.items()
            if name != "latent" and isinstance(value, str | int | float) and value != ""
        ]
        if facts:
            yield CardSection(f"From {other.evaluator.name}", Facts(facts[:_SCORES]))


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
        tokens = [f"{text[each['token']]} {each['count']}" for each in row["tokens"]]
        rest = [f"other {row['rest']}"] if row["rest"] else []
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
    return f"{what}; {rows[0]['rows']} rows." if rows else f"{what}."


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
