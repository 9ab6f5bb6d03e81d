"""``darkmatter inspect``: what a person reads, and what a program reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"


def test_the_text_says_what_is_computed_from_what(call):
    """Reader and reason, formula by steps, settings, tensors with file, shape and dtype."""
    status, out, err = call("inspect", SAMPLES / "gemma_scope" / "res" / json_path("gemma_scope/res"))

    assert (status, err) == (0, "")
    for line in (
        r"  read by +gemma_scope, because params.npz has .*",
        r"  f = relu\(h\) · \[h > threshold\]",
        r"  x̂ = f W_dec \+ b_dec",
        r"  activation +JumpRelu",
        r"  threshold.from +\S+",
        r"  params.npz:W_enc +\d+ x \d+ +float32",
    ):
        assert re.search(f"^{line}$", out, re.MULTILINE), line


def json_path(name: str) -> str:
    """Where the SAE of a sample lies in its folder."""
    return json.loads((SAMPLES / name / "golden.json").read_text())["path"]


def test_each_assumption_says_what_would_settle_it(call):
    """Under an assumption stands how to be sure, with the option that states it."""
    place = SAMPLES / "sae_lens" / "standard_expected_average" / "sae"
    _, out, _ = call("inspect", place)
    found = json.loads(call("inspect", place, "--json")[1])

    after = out.partition("do not hold the scaling_factor;")[2]
    assert "to be sure: the scale that training" in after.splitlines()[1]
    (scale,) = [each for each in found["assumptions"] if each["about"] == "norm_factor"]
    assert set(scale) == {"sentence", "about", "to_be_sure"}
    assert "--override norm_factor=NUMBER" in scale["to_be_sure"]


def test_overrides_are_in_force(call):
    """What is stated shows in formula, overrides and sentences, and asks for nothing more."""
    place = SAMPLES / "sae_lens" / "standard_expected_average" / "sae"
    arguments = (
        "inspect",
        place,
        "--override",
        "norm_factor=0.3",
        "--override",
        "hook=blocks.1.hook_resid_pre",
    )
    _, out, _ = call(*arguments)
    found = json.loads(call(*arguments, "--json")[1])

    assert "x' = x · 0.3 - subtract" in out
    assert found["overrides"] == {"norm_factor": 0.3, "hook": "blocks.1.hook_resid_pre"}
    assert found["hook_in"] == "blocks.1.hook_resid_pre"
    assert [each["to_be_sure"] for each in found["assumptions"] if "given by" in each["sentence"]] == [
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("norm_facto=3", "Did you mean 'norm_factor'"),
        ("dtype=float23", "Did you mean 'float32'"),
        ("norm_factor", "expected FIELD=VALUE"),
        ("mine.norm_factor=3", "no override 'mine.norm_factor'. Did you mean 'norm_factor'"),
    ],
)
def test_bad_overrides_are_wrong_usage(call, override, message):
    """A misspelt override names the nearest."""
    status, out, err = call("inspect", SAMPLES / "sae_lens" / "gated" / "sae", "--override", override)

    assert (status, out) == (2, "")
    assert message in err


def test_one_override_twice_is_wrong_usage(call):
    """Of two values for one field, none is ignored without a word."""
    place = SAMPLES / "sae_lens" / "gated" / "sae"
    status, _, err = call("inspect", place, "--override", "bos=true", "--override", "bos=false")

    assert status == 2
    assert "bos is given twice" in err


def test_an_override_that_cannot_be_followed_is_an_error_of_the_inspection(call):
    """The rest is shown, the reason is said, and the exit status is 1."""
    place = SAMPLES / "sae_lens" / "standard_layer_norm" / "sae"
    status, out, _ = call("inspect", place, "--override", "norm_factor=2")

    assert status == 1
    assert "error: " in out
    assert "(layer_norm)" in out
    assert "sae_weights.safetensors:W_enc" in out


def test_sae_without_a_canonical_form_says_its_own_formula(call):
    """Matching pursuit has no affine encoder; its own words stand in the place of the formula."""
    _, out, _ = call("inspect", SAMPLES / "sae_lens" / "matching_pursuit" / "sae")

    assert "f = matching pursuit of x' over the rows of W_dec" in out


def test_text_from_files_cannot_steer_the_terminal(call, tmp_path):
    """Escape sequences in a configuration are not printed."""
    source = SAMPLES / "sae_lens" / "gated" / "sae"
    config = json.loads((source / "cfg.json").read_text())
    config["metadata"]["model_name"] = "\x1b[31mred"
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    (tmp_path / "sae_weights.safetensors").write_bytes((source / "sae_weights.safetensors").read_bytes())

    assert "\x1b" not in call("inspect", tmp_path)[1]


class Printing:
    """An object whose pickle calls a function."""

    def __reduce__(self):
        return print, ("called",)


def section(out: str, title: str) -> str:
    """The lines under a heading."""
    return out.partition(f"\n{title}\n")[2].partition("\n\n")[0]


def test_what_is_assumed_does_not_stand_under_recorded(call):
    """A model, context length or BOS that was taken is not shown as a word of the file."""
    _, out, _ = call("inspect", SAMPLES / "qwen_scope" / "res" / json_path("qwen_scope/res"))

    assert "model not recorded" in section(out, "assumed")
    assert "  format " in section(out, "recorded")
    assert not re.search(r"^  (model|context_length|prepend_bos) ", section(out, "recorded"), re.MULTILINE)
    assert re.search(r"^  hook point +\S+ \(assumed\)$", out, re.MULTILINE)


def test_what_the_user_states_is_not_an_assumption(call):
    """An override stands once, under a heading of its own."""
    place = SAMPLES / "sae_lens" / "standard_expected_average" / "sae"
    _, out, _ = call("inspect", place, "--override", "norm_factor=0.3", "--override", "model=mine")

    assert "norm_factor 0.3 was given by the user" in section(out, "stated")
    assert out.count("norm_factor") == 1
    assert "was given" not in section(out, "assumed")
    assert not re.search(r"^  model ", section(out, "recorded"), re.MULTILINE)


def test_one_sae_of_a_file_of_several_is_named(call):
    """The heading has the index, the metadata too, and a file that was read is no problem."""
    (file,) = (SAMPLES / "mats_training" / "group_of_two" / "sae").iterdir()
    _, out, _ = call("inspect", f"{file}#1")

    assert out.splitlines()[0] == f"{file}#1"
    assert re.search(r"^  extra.index +1$", section(out, "recorded"), re.MULTILINE)
    assert "not read further" not in out


def test_one_layer_shows_its_own_files_and_why_it_has_codes_alone(call):
    """Of a cross-layer transcoder the tensors of other layers are left out, and no x̂ is explained."""
    folder = (SAMPLES / "gemma_scope_2" / "clt" / json_path("gemma_scope_2/clt")).parent
    _, out, _ = call("inspect", f"{folder}#1")

    assert "no x̂: It is layer 1 of a cross-layer transcoder" in section(out, "computes")
    assert re.search(
        r"params_layer_0.safetensors .*not read for this SAE$", section(out, "files"), re.MULTILINE
    )
    assert "params_layer_1.safetensors:w_enc" in section(out, "tensors")
    assert "params_layer_0" not in section(out, "tensors")


def test_a_dangerous_file_beside_the_sae_stays_a_problem(call, tmp_path):
    """Only files that the SAE was read from are excused."""
    for file in (SAMPLES / "sae_lens" / "standard" / "sae").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(Printing(), tmp_path / "other.pt")
    status, out, _ = call("inspect", tmp_path)

    assert status == 0
    assert "not read further" in section(out, "files")


def test_no_normalisation_is_said_in_a_word(call):
    """How a normalisation is undone says nothing where there is none."""
    _, out, _ = call("inspect", SAMPLES / "sae_lens" / "standard" / "sae")

    assert re.search(r"^  normalisation +none$", section(out, "settings"), re.MULTILINE)
    assert "invert" not in out
