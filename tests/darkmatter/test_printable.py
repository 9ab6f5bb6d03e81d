"""Text from files made safe to show."""

import pytest

from darkmatter.printable import brief, printable


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain ↑ text é", "plain ↑ text é"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x9b31mx", "31mx"),
        ("a\u202eb\u2066c\u200bd", "abcd"),
        ("a\r\nb\tc", "a b c"),
        ("a\x00\x08b", "ab"),
        ("\ud800x", "x"),
    ],
)
def test_control_characters_are_removed(raw, shown):
    """Escapes, controls, direction marks and lone surrogates go; the rest stays."""
    assert printable(raw) == shown


def test_lines_can_be_kept():
    """Line breaks stay where asked for, and nothing else does."""
    assert printable("a\n\x1b[1mb\rc", keep_lines=True) == "a\nb c"


def test_a_long_message_is_cut_to_its_first_line():
    """What a table or list says of a failure: one line, never cut inside a word, with a sign of more."""
    assert brief("short.") == "short."
    assert brief("the problem.\n  one detail") == "the problem. …"
    assert brief("some long words", limit=12) == "some long …"
