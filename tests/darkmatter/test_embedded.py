"""References into an embedded suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkmatter.embedded import embedded_path, is_embedded
from darkmatter.errors import ItemError, UsageError
from darkmatter.references import anchored_reference, parse_reference
from darkmatter.runs.suite import read_suite
from darkmatter.sae.load import load_sae


def test_model_text_and_saes_have_references_that_hold_everywhere():
    """Each leads to files of this machine, and the reference itself names none of them."""
    assert (embedded_path("demo:model") / "config.json").is_file()
    assert embedded_path("demo:stories").read_text().count("\n") == 700
    assert load_sae("demo:topk-w256-k16").d_sae == 256
    assert load_sae("demo:topk-w1024-k8").d_sae == 1024
    assert parse_reference("demo:topk-w256-k16").parts() == ["topk-w256-k16"]


def test_an_unknown_part_names_the_nearest():
    """A misspelt name says what was meant, and one that climbs is a name like any other."""
    with pytest.raises(ItemError, match="Did you mean 'topk-w256-k16'"):
        load_sae("demo:topk-w256-k17")
    with pytest.raises(ItemError, match="expected SUITE:NAME"):
        load_sae("demo:../model")


def test_other_texts_are_not_embedded():
    """Paths, hub names and unknown schemes stay what they were."""
    assert embedded_path("demo") is None
    assert embedded_path("hf:a/b") is None
    assert not is_embedded("demo:../x")
    with pytest.raises(UsageError, match="Did you mean 'demo'"):
        parse_reference("dem:model")


def test_a_suite_file_leaves_such_references_alone(tmp_path: Path):
    """Relative paths start at the suite's folder; these are none."""
    (tmp_path / "s.yaml").write_text("model: demo:model\ntext: demo:stories\nsaes: {a: demo:topk-w256-k16}\n")

    suite = read_suite(tmp_path / "s.yaml")

    assert suite.model.name == "demo:model"
    assert suite.text.path == "demo:stories"
    assert suite.saes["a"].ref == "demo:topk-w256-k16"
    assert anchored_reference("demo:topk-w256-k16", tmp_path) == "demo:topk-w256-k16"
