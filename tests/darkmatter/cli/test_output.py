"""What commands print."""

import json
from pathlib import Path

import pytest

from darkmatter.cli.output import readable_size, say, say_columns, say_json


def test_json_is_strict_and_ascii(capsys):
    """NaN from a stranger's file becomes null, paths become text, nothing can steer a terminal."""
    say_json({"a": float("nan"), "b": [float("inf")], "c": "\x9b31m\u202e", "d": Path("x")})
    out = capsys.readouterr().out

    assert out.isascii()
    assert json.loads(out) == {"a": None, "b": [None], "c": "\x9b31m\u202e", "d": "x"}


def test_text_loses_escapes_but_keeps_lines(capsys):
    """Escape sequences go, line breaks stay."""
    say("a\x1b[31m\nb")

    assert capsys.readouterr().out == "a\nb\n"


def test_columns_align(capsys):
    """All but the last column are padded to their longest cell."""
    say_columns([("a", "x"), ("long", "y\x1b[2J")])

    assert capsys.readouterr().out == "  a     x\n  long  y\n"


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")])
def test_sizes_are_readable(count, text):
    """Bytes are given in the largest fitting unit."""
    assert readable_size(count) == text
