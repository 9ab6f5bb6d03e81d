"""Suite files: where their paths start, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkmatter.errors import UsageError, did_you_mean
from darkmatter.references import parse_reference
from darkmatter.runs.analysis import Analysis
from darkmatter.runs.suite import make_suite, read_suite


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a suite from a folder of its own while the working directory is another one."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def read(text: str):
        (tmp_path / "suites" / "s.yaml").write_text(text)
        return read_suite(tmp_path / "suites" / "s.yaml")

    return read


def test_a_control_of_the_suite_may_be_named_in_only(read):
    """What is listed under `saes` can be measured alone, controls included."""
    saes = "saes: {one: x, pca: 'baseline:pca,k=2'}"
    suite = read(f"activations: a.npy\nevaluators: [density]\n{saes}\nonly: {{density: [pca]}}")
    assert suite.only == {"density": ("pca",)}


def test_paths_start_at_the_suite_even_if_only_the_working_directory_has_them(read, tmp_path):
    """A file of that name in the working directory is never taken instead."""
    for name in ("x.safetensors", "sae", "t.txt"):
        Path(name).touch()
    suite = read("activations: x.safetensors\nsaes: {a: sae, b: {ref: 'path:sae#2'}}\n")
    beside = tmp_path / "suites"

    assert suite.activations == str(beside / "x.safetensors")
    assert suite.saes["a"].ref == str(beside / "sae")
    reference = parse_reference(suite.saes["b"].ref)
    assert (reference.target, reference.index) == (str(beside / "sae"), 2)
    for text in ("t.txt", "{path: t.txt}"):
        assert read(f"model: gpt2\ntext: {text}\n").text.path == str(beside / "t.txt")


@pytest.mark.parametrize(
    "ref", ["hf:o/r/f@main", "baseline:pca,k=2", "saelens:a/b", "python:a.b:c", "neuronpedia:a/b", "odd:x"]
)
def test_references_that_are_no_paths_stay(read, ref):
    """Only paths are anchored; hf: texts, absolute and home paths stay what they are."""
    assert read(f"activations: /x.safetensors\nsaes: {{a: '{ref}'}}\n").saes["a"].ref == ref
    assert read("activations: /x.safetensors\n").activations == "/x.safetensors"
    assert read("activations: ~/x.safetensors\n").activations == str(Path("~/x.safetensors").expanduser())
    assert read("model: gpt2\ntext: hf:o/data\n").text.path == "hf:o/data"


def test_a_file_with_a_colon_beside_the_suite_is_a_path(read, tmp_path):
    """What looks like an unknown kind of reference is a path if it exists there."""
    (tmp_path / "suites" / "odd:x").touch()
    suite = read("activations: /x.safetensors\nsaes: {a: 'odd:x'}\n")
    assert parse_reference(suite.saes["a"].ref).kind == "path"


@pytest.mark.parametrize(
    ("name", "anchored"),
    [("gpt2", False), ("org/model", False), ("./m", True), ("../m", True), ("a/b/c", True), ("here", True)],
)
def test_a_model_is_a_folder_beside_the_suite_or_a_hub_id(read, tmp_path, name, anchored):
    """A name that may be a hub id is one, unless there is such a folder beside the suite."""
    (tmp_path / "suites" / "here").mkdir()
    expected = str(tmp_path / "suites" / name) if anchored else name
    assert read(f"model: {name}\ntext: t.txt\n").model.name == expected
    assert read(f"model: {{name: {name}}}\ntext: t.txt\n").model.name == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("analysis: nonsense", "field 'analysis'"),
        ("analysis: [1]", "field 'analysis'"),
        ("analysis: {device: gpu}", "this machine has no such device"),
        ("analysis: {device: 3}", "analysis.device"),
        ("seed: 1\nanalysis: {seed: 3}", "`seed` is 1 and `analysis.seed` is 3"),
        ("evaluators: [{reconstruction: {}}]", "field 'evaluators'"),
        ("evaluators: 5", "field 'evaluators'"),
        ("saes: nonsense", "field 'saes'"),
        ("saes: {a: 5}", "saes.a"),
        ("text: t.txt", "need no `text`"),
        ("hooks: blocks.0", "field 'hooks'"),
        ("evaluators: [density]\nonly: {densty: []}", "restricts 'densty', which `evaluators` does not list"),
        ("evaluators: [density]\nsaes: {one: x}\nonly: {density: [onn]}", "Did you mean 'one'"),
    ],
)
def test_bad_suites_are_wrong_usage(read, text, message):
    """Whatever stands in a suite, the answer is a sentence about a field, never a traceback."""
    with pytest.raises(UsageError, match=message):
        read(f"activations: /x.safetensors\n{text}\n")


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 3},
        {"analysis": {"seed": 3}},
        {"seed": 3, "analysis": {"seed": 3}},
        {"seed": 3, "analysis": Analysis(split="context")},
    ],
)
def test_there_is_one_seed(fields):
    """The suite's seed and that of its analysis are the same, whichever is stated."""
    suite = make_suite({"activations": "x", **fields})
    assert suite.seed == suite.analysis.seed == 3


def test_the_rejected_word_is_never_suggested():
    """A suggestion names another word than the one that was refused."""
    assert did_you_mean("pca", ["pca", "pca_topk"]) == "Did you mean 'pca_topk'?"
    assert "pca" not in did_you_mean("pca", ["pca"])


def test_the_beginning_of_one_name_means_that_name():
    """A unique beginning suggests that name alone, and several beginnings come before what looks alike."""
    names = ["topk-w512-k16", "topk-w1024-k8", "topk-w1024-k32"]

    assert did_you_mean("topk-w512", names) == "Did you mean 'topk-w512-k16'?"
    assert "512" not in did_you_mean("topk-w1024", names)


def test_a_suite_states_what_it_knows_of_an_sae(read):
    """Overrides stand beside the reference, and a misspelt one names the nearest."""
    suite = read("activations: /x.safetensors\nsaes: {a: {ref: sae, norm_factor: 0.3, bos: false}, b: sae}\n")

    assert suite.saes["a"].overrides.given() == {"norm_factor": 0.3, "bos": False}
    assert suite.saes["b"].overrides.given() == {}
    with pytest.raises(UsageError, match=r"has no field 'saes.a.norm_facto'. Did you mean 'norm_factor'"):
        read("activations: /x.safetensors\nsaes: {a: {ref: sae, norm_facto: 0.3}}\n")
