"""An adapter that takes damaged files for whole ones, or does not say what is wrong, is found out."""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from darkmatter import api
from darkmatter.errors import SAEFileError
from darkmatter.testing import check_adapter
from darkmatter.testing.damage import damages


def detect(view):
    """The configuration beside the weights."""
    if not view.has("w.json") or not view.has("w.safetensors"):
        return api.Refusal("there is no w.json beside w.safetensors")
    if "d_in" not in view.json("w.json"):
        return api.Refusal("w.json has no d_in")
    return api.Detection("ours")


def load(view, _options, *, tensors=None, gain=None, floor=None, hook=None, known=("frequencies",)):
    """A careful reader; the arguments replace what it reads."""
    fields = api.Fields(view.json("w.json"), str(view.file("w.json")))
    weights = api.Weights(tensors or view.tensors("w.safetensors"), str(view.file("w.safetensors")))
    d_in, d_sae = fields.size("d_in"), fields.size("d_sae")
    said = []
    if "gain" not in fields:
        said.append("gain not recorded; taken as 1.")
    if floor is None:
        floor = fields.number("floor")
    if floor is None:
        raise SAEFileError(f"{fields.where}: field 'floor' is missing; expected a number.")
    factor = gain or fields.number("gain")
    sae = api.CanonicalSAE(
        W_enc=weights.take("W_enc", d_in, d_sae),
        W_dec=weights.take("W_dec", d_sae, d_in) * (1 if factor is None else factor),
        b_enc=weights.take("b_enc", d_sae),
        activation=api.JumpRelu(torch.tensor(floor)),
        hook_in=hook or fields.text("hook"),
        assumptions=tuple(said),
    )
    weights.nothing_else(*known)
    return sae


def with_zeros(view, options):
    """A missing bias becomes zeros."""
    return load(view, options, tensors={"b_enc": torch.zeros(6)} | view.tensors("w.safetensors"))


def with_any_tensor(view, options):
    """Tensors that the format does not have are passed over."""
    return load(view, options, known=("*",))


def with_any_shape(view, options):
    """Whatever has as many numbers is taken."""
    tensors = view.tensors("w.safetensors")
    if "W_enc" in tensors and tensors["W_enc"].numel() == 24:
        tensors["W_enc"] = tensors["W_enc"].reshape(4, 6)
    return load(view, options, tensors=tensors)


def with_nan(view, options):
    """NaN becomes 0."""
    tensors = view.tensors("w.safetensors")
    return load(view, options, tensors={name: tensor.nan_to_num() for name, tensor in tensors.items()})


def with_integers(view, options):
    """Any dtype is taken."""
    tensors = view.tensors("w.safetensors")
    return load(view, options, tensors={name: tensor.float() for name, tensor in tensors.items()})


def with_any_type(view, options):
    """A gain that is no number is passed over."""
    gain = view.json("w.json").get("gain", 1.0)
    return load(view, options, gain=gain if isinstance(gain, float) else 1.0)


def with_silent_default(view, options):
    """A missing floor is 0, and nobody hears of it."""
    floor = api.Fields(view.json("w.json"), str(view.file("w.json"))).number("floor")
    return load(view, options, floor=floor or 0.0)


def with_other_hook(view, options):
    """A hook that is no text becomes another hook."""
    hook = view.json("w.json").get("hook")
    return load(view, options, hook=hook if isinstance(hook, str) else "blocks.0.hook_resid_pre")


def complaining(message):
    """A reader that says something else of every fault."""

    def implementation(view, options):
        try:
            return load(view, options)
        except SAEFileError as error:
            raise SAEFileError(message(view, str(error))) from error

    return implementation


def adapter(implementation=load):
    """The descriptor."""
    return api.SAEAdapter("toy", "A toy.", implementation, filenames=("w.safetensors",), detect=detect)


@pytest.fixture
def sample(tmp_path):
    """A saved SAE."""
    folder = tmp_path / "sample"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (4, 6), "W_dec": (6, 4), "b_enc": (6,), "frequencies": (6,)}
    save_file(
        {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()},
        folder / "w.safetensors",
    )
    settings = {"d_in": 4, "d_sae": 6, "gain": 2.0, "floor": 0.1, "hook": "blocks.1.hook_resid_pre"}
    (folder / "w.json").write_text(json.dumps(settings | {"date": "yesterday", "run": {"seed": 1}}))
    return folder


def test_a_careful_adapter_passes(sample):
    """Faults are named, defaults are said, and what is not used may be anything."""
    assert check_adapter(adapter(), sample) == ("sample: no expected.safetensors to compare with",)


@pytest.mark.parametrize(
    ("implementation", "says"),
    [
        (with_zeros, r"tensor 'b_enc' left out: loaded without a complaint, with another fingerprint"),
        (with_any_tensor, r"tensor 'unknown_gain' added: loaded without a complaint"),
        (with_any_shape, r"tensor 'W_enc' transposed: loaded without a complaint"),
        (with_nan, r"tensor '\w+' with a NaN: loaded without a complaint"),
        (with_integers, r"tensor '\w+' as integers: loaded without a complaint"),
        (with_any_type, r"field 'gain' of a wrong type: loaded without a complaint"),
        (with_silent_default, r"field 'floor' left out: loaded without a complaint"),
        (
            with_other_hook,
            r"field 'hook' left out: loaded without a complaint, with another hook_in and hook_out",
        ),
        (complaining(lambda view, _: f"{view}: is damaged; expected an SAE."), "names the file"),
        (
            complaining(lambda view, _: f"{view.file('w.json')}, {view.file('w.safetensors')}: bad."),
            "names the tensor or the field",
        ),
        (
            complaining(lambda _, said: said.replace("expected", "rather")),
            "says what was expected",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", value)[:30],
)
def test_a_careless_adapter_is_found_out(sample, implementation, says):
    """Each way of passing over damage, or of not saying what it is, is a fault of its own."""
    with pytest.raises(AssertionError, match=says):
        check_adapter(adapter(implementation), sample)


def test_a_tensor_may_make_another_architecture_and_a_field_may_not(sample):
    """Without its bias the SAE is another architecture, and says so; a field's default is said."""

    def named(view, options, field="b_enc"):
        sae = with_zeros(view, options) if field == "b_enc" else with_silent_default(view, options)
        there = "b_enc" in view.tensors("w.safetensors") and bool(view.json("w.json").get("floor"))
        sae.metadata = api.SAEMetadata(architecture="full" if there else "bare")
        return sae

    assert check_adapter(adapter(named), sample)
    with pytest.raises(AssertionError, match="field 'floor' left out"):
        check_adapter(adapter(lambda view, options: named(view, options, "floor")), sample)


def test_a_default_needs_its_own_sentence(sample):
    """A new sentence about something else does not excuse another SAE."""

    def talking(view, options):
        sae = with_silent_default(view, options)
        if not view.json("w.json").get("floor"):
            sae.assumptions += ("context length not recorded.",)
        return sae

    with pytest.raises(AssertionError, match="field 'floor' left out"):
        check_adapter(adapter(talking), sample)


def test_a_file_that_may_be_empty_is_named_where_it_is(sample):
    """An optional file that is emptied may be read as none only if a sentence names that file."""

    def reading(said):
        def implementation(view, options):
            sae = load(view, options)
            if view.has("about.yaml") and view.file("about.yaml").read_bytes():
                sae.metadata = api.SAEMetadata(
                    model=api.Fields(view.yaml("about.yaml"), str(view.file("about.yaml"))).text("model")
                )
            else:
                sae.metadata = api.SAEMetadata(model="gpt2")
                sae.assumptions += (said,)
            return sae

        return adapter(implementation)

    (sample / "about.yaml").write_text("model: pythia-70m\n")
    assert check_adapter(reading("model not in about.yaml, which is empty; taken as gpt2."), sample)
    with pytest.raises(AssertionError, match="emptied: loaded without a complaint, with another model"):
        check_adapter(reading("model not recorded; taken as gpt2."), sample)


def told(file):
    """What is done to a file, by part."""
    return {(damage.part, damage.how.rpartition("' ")[2]) for damage in damages(file)}


TENSOR = {"left out", "with one row more", "transposed", "with a NaN", "as integers"}
FIELD = {"left out", "null", "of a wrong type"}
BYTES = {(None, "left out"), (None, "emptied"), (None, "cut in half")}


@pytest.mark.parametrize("name", ["a.safetensors", "a.npz", "a.pt", "a.json", "a.yaml"])
def test_every_part_of_every_kind_of_file_is_damaged(tmp_path, name):
    """Tensors and settings are found in every kind of file, also one level down."""
    file, W = tmp_path / name, torch.ones(2, 3)
    settings = {"k": 3, "inside": {"act": "relu"}}
    fields = {(part, how) for part in ("k", "inside", "act") for how in FIELD} | {(None, "reduced to {}")}
    if name == "a.safetensors":
        save_file({"W": W}, file)
    elif name == "a.npz":
        np.savez(file, W=W.numpy())
    elif name == "a.pt":
        torch.save({"state": {"W": W}, **settings}, file)
    else:
        file.write_text(json.dumps(settings) if name == "a.json" else yaml.safe_dump(settings))
    tensors = {("W", how) for how in TENSOR} | {("unknown_gain", "added")}
    found = {"a.pt": tensors | fields - {(None, "reduced to {}")}, "a.json": fields, "a.yaml": fields}
    whole = {(None, "cut in half")} if name == "a.yaml" else set()
    assert told(file) == BYTES - whole | found.get(name, tensors)


def test_a_library_s_own_objects_are_damaged_as_bytes(tmp_path):
    """A pickle of classes is not loaded by the check either."""
    torch.save({"sae": NotATensor()}, tmp_path / "a.pt")
    assert told(tmp_path / "a.pt") == BYTES


class NotATensor:
    """Something that a library pickles."""


def test_a_damage_changes_nothing_else(tmp_path):
    """Beside the damaged tensor the file is as it was."""
    file, tensors = tmp_path / "a.safetensors", {"W": torch.ones(2, 3), "b": torch.ones(3)}
    save_file(tensors, file)
    damage = next(damage for damage in damages(file) if damage.how == "tensor 'W' with one row more")
    file.write_bytes(damage.content)
    after = load_file(file)
    assert after["W"].shape == (3, 3)
    assert torch.equal(after["b"], tensors["b"])
