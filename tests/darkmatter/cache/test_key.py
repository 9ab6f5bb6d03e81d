"""Whatever shapes the numbers shapes the key, and nothing else does."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from darkmatter.cache.build import Builder
from darkmatter.cache.key import entry_key, key_parts
from darkmatter.cache.spec import ActivationRequest, ModelSpec, TextSpec
from darkmatter.models import ModelIdentity

IDENTITY = ModelIdentity("weights", "tokenizer", "cpu", "provider", 1, {"torch": "2.13"})
REQUEST = ActivationRequest(ModelSpec(name="m"), TextSpec(path="t.txt"), ("blocks.0.hook_resid_post",))

SHAPING = {
    "model": {"dtype": "bfloat16", "processing": "compat"},
    "text": {
        "context_length": 128,
        "contexts": 401,
        "bos": "never",
        "packing": "truncate",
        "document_limit": None,
        "seed": 1,
    },
    "identity": {
        "fingerprint": "other",
        "tokenizer": "other",
        "device": "cuda",
        "provider": "other",
        "provider_version": 2,
        "libraries": {"torch": "2.14"},
    },
}
# Their content counts, through fingerprints, text hash and device class; a name does not.
NAMES = {
    "model": {"name": "copy/of/m", "revision": "main", "device": "cuda:1", "provider": "p"},
    "text": {"path": "copy.txt", "field": "story"},
}


def key(request=REQUEST, identity=IDENTITY, text_hash="text"):
    """The key of a request."""
    return entry_key(key_parts(request, identity, text_hash))


def changed(part, field, value):
    """The key after one change."""
    if part == "identity":
        return key(identity=replace(IDENTITY, **{field: value}))
    spec = getattr(REQUEST, part).model_copy(update={field: value})
    return key(replace(REQUEST, **{part: spec}))


def cases(table):
    """One case per field of a table."""
    return [(part, field, value) for part, fields in table.items() for field, value in fields.items()]


@pytest.mark.parametrize(("part", "field", "value"), cases(SHAPING))
def test_whatever_shapes_numbers_changes_the_key(part, field, value):
    """A change of any such field is another entry."""
    assert changed(part, field, value) != key()


@pytest.mark.parametrize(("part", "field", "value"), cases(NAMES))
def test_names_do_not_change_the_key(part, field, value):
    """The same bytes under another name are the same entry."""
    assert changed(part, field, value) == key()


def test_no_field_is_forgotten():
    """Every field of the specifications is in one of the two tables above."""
    assert set(ModelSpec.model_fields) == {*SHAPING["model"], *NAMES["model"]}
    assert set(TextSpec.model_fields) == {*SHAPING["text"], *NAMES["text"]}
    assert set(ModelIdentity.__dataclass_fields__) == set(SHAPING["identity"])


def test_text_content_changes_the_key_and_its_place_does_not(tmp_path, provider):
    """One letter more in the file is another entry; a copy of the file is the same."""
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    for path, content in zip(paths, ["one two", "one two", "one two!"], strict=True):
        path.write_text(content)
    requests = [replace(REQUEST, text=TextSpec(path=str(path))) for path in paths]
    keys = [Builder(request, provider, tmp_path).entry().key for request in requests]
    assert keys[0] == keys[1] != keys[2]


def test_hook_points_share_a_key():
    """Hook points choose what is kept, so they are no part of it."""
    assert key(replace(REQUEST, hooks=("blocks.1.hook_resid_post",))) == key()


def test_specs_may_be_names_alone():
    """In a suite, ``model:`` and ``text:`` may be just a string."""
    assert ModelSpec.model_validate("path/to/model") == ModelSpec(name="path/to/model")
    assert TextSpec.model_validate("stories.jsonl") == TextSpec(path="stories.jsonl")


@pytest.mark.parametrize(
    "bad", [{"path": "a", "context_lenght": 1}, {"path": "a", "contexts": 0}, {"path": ""}]
)
def test_wrong_fields_are_refused(bad):
    """Misspelt and impossible fields are errors."""
    with pytest.raises(ValidationError):
        TextSpec.model_validate(bad)
