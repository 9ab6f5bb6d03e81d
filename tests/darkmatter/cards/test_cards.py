"""Cards: what they say of a latent, and that text from files stays text."""

import html as standard
import json
import re

import pytest

from darkmatter.cards import html, markdown
from darkmatter.cards.content import FEW, card_of
from darkmatter.cards.parts import Card, CardSection, Fragments, Missing
from darkmatter.results.schema import Result
from darkmatter.testing.results import sample_result

EVIL = '<script>alert("x")</script>'
TOKENS = {"1": EVIL, "2": "'\"&amp;", "3": "\x1b[31mred\u202e", "4": "```\n# title", "5": "", "6": "  "}


def result(name="mine") -> Result:
    fragment = {"latent": 7, "kind": "top", "context": 0, "position": 3, "start": 2}
    tables = {
        "latents": [{"latent": 7, "firings": 3, "rate": 0.25, "min": 1.0, "mean": 2.0, "max": 4.0}],
        "bins": [
            {"latent": 7, "bin": 0, "low": 1.0, "high": 4.0, "count": 3, "rest": 1,
             "tokens": [{"token": 1, "count": 2}]}
        ],
        "fragments": [{**fragment, "tokens": [1, 2, 3, 4, 5, 6], "activations": [0.0, 4.0, 2.0, 0, 0, 0]}],
        "context": [],
        "logits": [
            {"latent": 7, "promoted": [{"token": 1, "effect": 0.5}],
             "suppressed": [{"token": 4, "effect": -0.5}]}
        ],
        "next_token": [],
        "edges": [],
        "tokens": TOKENS,
        "sample": {"missing": {"edge": "there is no " + EVIL}},
    }  # fmt: skip
    made = sample_result(name, {"token_purity": 0.5}, evaluator="feature_effects").result
    return made.model_copy(update={"tables": tables})


def test_text_from_files_stays_text_in_html():
    """Markup in tokens, names and reasons is escaped, control characters are gone, nothing is loaded."""
    page = html.render([card_of(result(), 7)])
    assert "<script" not in page
    assert page.count(standard.escape(EVIL)) >= 3
    assert standard.escape(json.dumps(EVIL)) in page
    assert "&#x27;&quot;&amp;amp;" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page)
    assert not re.search(r'(?:src|href|url|@import|on\w+=)[\s"(]', page.partition("<body>")[2])
    assert "default-src 'none'" in page


def test_text_from_files_stays_text_in_markdown():
    """It stands in code blocks whose fences are longer than any run of backticks in it."""
    text = markdown.render([card_of(result(), 7)])
    fences = re.findall(r"^(`{3,})", text, flags=re.MULTILINE)
    assert len(fences) % 2 == 0
    assert {"```", "````"} == set(fences)
    assert "\x1b" not in text
    assert "\u202e" not in text
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "script" not in outside
    assert "# title" not in outside


def test_tokens_are_marked_by_their_share_of_the_largest_activation():
    """The largest is 10 of 10, half of it 5 (shade 5), and a silent token is not marked."""
    card = card_of(result(), 7)
    text, page = markdown.render([card]), html.render([card])
    assert "«'\"&amp;»10 «red»5" in text
    assert '<span class="a10">' in page
    assert '<span class="a5">red</span>' in page
    assert f"<span>{standard.escape(EVIL)}</span>" in page


def test_tokens_without_letters_are_shown_by_number_or_quoted():
    """An empty token is its number, white space is quoted: neither is invisible."""
    text = markdown.render([card_of(result(), 7)])
    assert "#5 '  '" in text


def test_other_evaluators_rows_of_the_latent_are_shown():
    """A result whose table ``latents`` has the latent adds its explanation and score."""
    made = sample_result("mine", {"score": 0.5}, evaluator="autointerp").result
    rows = [{"latent": 7, "score": 0.625, "explanation": "door\x1b[0ms"}, {"latent": 8, "score": 0.1}]
    text = markdown.render([card_of(result(), 7, [made.model_copy(update={"tables": {"latents": rows}})])])
    assert "From autointerp" in text
    assert "0.625" in text
    assert "doors" in text
    assert "0.1\n" not in text


def test_what_was_not_measured_says_why():
    """A part without numbers is a sentence in either format, not an empty table."""
    card = card_of(result(), 7)
    assert "not measured: there is no <script>" in markdown.render([card])
    assert "Not measured: there is no &lt;script&gt;" in html.render([card])


def test_a_page_holds_any_number_of_cards():
    """Several latents stand on one page in the order given, and parts of any kind are rendered."""
    sections = [CardSection("A", Missing("so")), CardSection("B", Fragments([("1", [("x", 1.0)])]))]
    cards = [Card("s", number, "sub", sections) for number in (3, 1)]
    page = html.render(cards)
    assert page.index("latent 3") < page.index("latent 1")
    assert page.count("<article>") == 2
    with pytest.raises(KeyError):
        card_of(result(), 99)


def test_a_card_says_what_it_was_measured_on():
    """Model, text, held-out rows, seed and version stand on the card in either format, escaped."""
    fields = {
        "cache": {"model": "tiny\x1b[0m", "text": "<b>stories</b>", "contexts": 150},
        "analysis": {"seed": 5, "test_rows": 1699},
        "provenance": {"packages": {"sae-darkmatter": "1.2.3"}},
    }
    card = card_of(result().model_copy(update=fields), 7)
    said = "Measured on model tiny, text <b>stories</b>, 150 contexts, 1699 held-out rows, seed 5"
    text, page = markdown.render([card]), html.render([card])
    assert said in " ".join(text.split())
    assert "feature_effects version 1, darkmatter 1.2.3" in " ".join(text.split())
    assert standard.escape(said) in page
    assert "3 of 1,699 held-out rows" in text


@pytest.mark.parametrize(("firings", "rough"), [(FEW - 1, True), (FEW, False)])
def test_few_firings_are_said(firings, rough):
    """A card of a latent that hardly fires warns that its figures rest on few rows."""
    made = result()
    made.tables["latents"][0]["firings"] = firings
    made.tables["next_token"] = [
        {"latent": 7, "rows": firings, "promoted": [], "suppressed": [], "kl": 0.0, "loss": 0.0}
    ]
    text = markdown.render([card_of(made, 7)])
    assert ("all figures below are rough" in text) == rough
    assert ("so few that chance shows" in text) == rough


def test_tokens_of_the_histogram_cannot_be_taken_for_counts():
    """A token that is a comma, a number or a quote stands between quotes, its count behind a sign."""
    made = result()
    made.tables["tokens"] = {"1": ", 3", "2": '"', "3": ""}
    made.tables["bins"][0]["tokens"] = [{"token": n, "count": n + 1} for n in (1, 2, 3)]
    text = markdown.render([card_of(made, 7)])
    assert '", 3" ×2, "\\"" ×3, #3 ×4, others ×1' in text


def test_numbers_of_other_evaluators_are_said_in_words():
    """What a cosine is with, and a rate of what, stands beside the numbers, with the dataset they are of."""
    made = sample_result(
        "mine", {"edit": 0.5}, evaluator="concept_erasure", config={"dataset": {"name": "ioi"}}
    )
    rows = [{"latent": 7, "cosine": 0.3185, "rate": 0.09674, "accuracy": None}]
    other = made.result.model_copy(update={"tables": {"latents": rows}})
    text = markdown.render([card_of(result(), 7, [other])])
    assert "Concept of ioi." in text
    assert "cosine of its decoder row with the class difference  0.3185" in text
    assert "active on this share of the prompts' training rows   0.09674" in text
    evil = other.model_copy(update={"config": {"dataset": {"name": EVIL}}})
    assert "Concept of" not in markdown.render([card_of(result(), 7, [evil])])
