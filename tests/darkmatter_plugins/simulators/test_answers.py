"""What is taken for an answer, and what is not."""

import json

import pytest

from darkmatter.api import ItemError
from darkmatter_plugins.simulators.endpoint.answers import explanation_in, numbers_in


def test_the_shape_that_was_asked_for_is_read():
    """Numbers come in the order of their keys, with or without a code fence around."""
    assert numbers_in('{"2": 10, "1": 0, "3": 2.5}', 3, 10) == [0, 10, 2.5]
    assert numbers_in('```json\n{"1": 1}\n```\n', 1, 1) == [1]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[0, 1, 2]",
        '{"1": 0, "2": 1}',
        '{"1": 0, "2": 1, "3": 2, "4": 3}',
        '{"1": 0, "2": 1, "3": 2, "3": 2}',
        '{"1": 0, "2": 1, "3": 11}',
        '{"1": 0, "2": 1, "3": -1}',
        '{"1": 0, "2": 1, "3": true}',
        '{"1": 0, "2": 1, "3": "2"}',
        '{"1": 0, "2": 1, "3": NaN}',
        '{"1": 0, "2": 1, "3": null}',
        'Sure! {"1": 0, "2": 1, "3": 2}',
        '{"1": 0, "2": 1, "3": 2',
        "[" * 100_000,
        '{"1": 0, "2": 1, "3": ' + "9" * 5000 + "}",
    ],
    ids=lambda answer: answer[:30],
)
def test_nothing_else_is_read(answer):
    """Prose, wrong counts, repeated keys and values out of range are refused, never repaired."""
    with pytest.raises(ItemError, match="the answer"):
        numbers_in(answer, 3, 10)


def test_an_explanation_is_one_safe_line():
    """Line breaks and terminal escapes do not reach results; nothing and a novel are refused."""
    assert explanation_in(" fires on\n\x1b[31mcats \n") == "fires on cats"
    for answer in (" \n", "word " * 200):
        with pytest.raises(ItemError, match="explanation"):
            explanation_in(answer)


def test_refusals_quote_the_answer_safely():
    """What is quoted in a reason is short and cannot steer a terminal."""
    with pytest.raises(ItemError) as caught:
        numbers_in("\x1b[2J" + "x" * 1000, 3, 10)
    assert len(str(caught.value)) < 200
    assert json.dumps(str(caught.value)).count("\\u001b") == 0
