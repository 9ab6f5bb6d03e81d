"""Parsing what stands after --sae."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkmatter.errors import UsageError
from darkmatter.references import NAME, check_name, parse_named, parse_reference, unique_names


@pytest.mark.parametrize(
    ("text", "kind", "target", "rest"),
    [
        ("runs/my_sae", "path", "runs/my_sae", {}),
        ("dicts/learned.pt#3", "path", "dicts/learned.pt", {"index": 3}),
        ("path:a:b", "path", "a:b", {}),
        ("hf:google/gemma-scope-2b-pt-res/layer_20/width_16k@main", "hf",
         "google/gemma-scope-2b-pt-res/layer_20/width_16k", {"revision": "main"}),
        ("hf:org/repo", "hf", "org/repo", {}),
        ("hf:org/repo/a.pt@v1#2", "hf", "org/repo/a.pt", {"revision": "v1", "index": 2}),
        ("hf:org/repo/group:v1", "hf", "org/repo/group:v1", {}),
        ("saelens:res-jb/blocks.0.hook_resid_pre", "catalogue", "res-jb/blocks.0.hook_resid_pre",
         {"catalogue": "saelens"}),
        ("neuronpedia:gpt2-small/0-res-jb", "catalogue", "gpt2-small/0-res-jb", {"catalogue": "neuronpedia"}),
        ("baseline:pca,k=32", "baseline", "pca", {"fields": {"k": "32"}}),
        ("baseline:pca?k=32", "baseline", "pca", {"fields": {"k": "32"}}),
        ("baseline:zero", "baseline", "zero", {}),
        ("python:my.pkg:make", "python", "my.pkg:make", {}),
    ],
)  # fmt: skip
def test_each_kind_is_parsed(text, kind, target, rest):
    """Every form of a reference gives its kind, target and extras."""
    reference = parse_reference(text)
    assert (reference.kind, reference.target, reference.raw) == (kind, target, text)
    assert all(getattr(reference, name) == value for name, value in rest.items())


@pytest.mark.parametrize(
    "text",
    [
        "hf:org",
        "hf:org/repo@",
        "hf:org/repo/../x",
        "hf:org/repo/./x",
        "hf:org/../x",
        "saelens:",
        "saelens:x",
        "saelens:a//b",
        "saelens:a/../b",
        "baseline:",
        "baseline:pca,k",
        "baseline:pca,k=1,k=2",
        "python:a",
        "hg:x/y",
    ],
)
def test_a_malformed_reference_says_what_was_expected(text):
    """A reference that fits no grammar is a usage error that shows the right form."""
    with pytest.raises(UsageError, match=r"expected|Did you mean|Known"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "name", "raw"),
    [
        ("mine=runs/a", "mine", "runs/a"),
        ("runs/a", None, "runs/a"),
        ("baseline:pca,k=32", None, "baseline:pca,k=32"),
        ("pca=baseline:pca,k=32", "pca", "baseline:pca,k=32"),
        ("runs/lr=0.1", None, "runs/lr=0.1"),
    ],
)
def test_a_name_may_stand_before(text, name, raw):
    """NAME=REF is split only where what stands before '=' can be a name."""
    found, reference = parse_named(text)
    assert (found, reference.raw) == (name, raw)


def test_names_are_prefixed_with_parents_until_they_differ():
    """The default name is the last component, with parents where two would clash."""
    references = [
        parse_reference(t) for t in ("a/x/sae", "b/x/sae", "c/other", "f.pt#1", "f.pt#2", "baseline:pca,k=2")
    ]
    assert unique_names(references) == ["a-x-sae", "b-x-sae", "other", "f.pt-1", "f.pt-2", "pca-k2"]
    assert unique_names([parse_reference("runs/a")], taken=["a"]) == ["runs-a"]


def test_the_same_reference_twice_needs_a_name():
    """Two equal references cannot be told apart, so the user is asked for a name."""
    twice = parse_reference("baseline:pca")
    with pytest.raises(UsageError, match="give it one"):
        unique_names([twice, twice])


def test_names_given_by_users_are_checked():
    """A name holds letters, digits, '_', '.' and '-'."""
    assert check_name("a.b-c_1") == "a.b-c_1"
    with pytest.raises(UsageError):
        check_name("a b")


@given(st.text(min_size=1, max_size=30))
def test_any_text_parses_or_is_a_usage_error(text):
    """No text crashes the parser, and every default name fits the grammar of names."""
    try:
        _, reference = parse_named(text)
    except UsageError:
        return
    (name,) = unique_names([reference])
    assert NAME.fullmatch(name)


def test_paths_are_parsed_without_asking_plugins(monkeypatch):
    """Only a scheme that is not ours makes plugins load; a path never does."""

    def fail():
        raise AssertionError("plugins were asked")

    monkeypatch.setattr("darkmatter.plugins.host", fail)
    for text in ("runs/a", "a/b:c", "path:x", "hf:org/repo/a#1", "baseline:pca", "python:m:f"):
        parse_reference(text)
    with pytest.raises(AssertionError, match="plugins were asked"):
        parse_reference("saelens:a/b")


def test_a_catalogues_name_is_not_taken_by_a_file(tmp_path, monkeypatch):
    """What a reference means does not depend on a file of that name in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saelens:x").mkdir()
    (tmp_path / "saelens:x" / "y").touch()
    (tmp_path / "other:x").touch()
    assert parse_reference("saelens:x/y").kind == "catalogue"
    assert parse_reference("other:x").kind == "path"
