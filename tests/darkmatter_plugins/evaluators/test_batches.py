"""How much text is run through a language model together."""

from types import SimpleNamespace

from darkmatter_plugins.evaluators.batches import BATCH_LOGITS, at_once


def test_logits_are_bounded_and_one_text_always_runs():
    """As many texts as the bound holds, no more than asked for, at least one."""
    model = SimpleNamespace(n_vocab=BATCH_LOGITS // 1000)

    assert at_once(model, 100) == 10
    assert at_once(model, 100, 4) == 4
    assert at_once(model, 3000) == 1
