"""Overrides: what they change, what they leave alone, what they say of themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from darkmatter import api
from darkmatter.errors import ItemError, SAEFileError, UsageError
from darkmatter.plugins import host
from darkmatter.sae.load import load_sae
from darkmatter.sae.overrides import Overrides, apply_overrides

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
D, LATENTS = 6, 10


def made(normalisation: api.Normalisation | None = None, **fields) -> api.CanonicalSAE:
    """A small ReLU SAE."""
    generator = torch.Generator().manual_seed(0)
    return api.CanonicalSAE(
        W_enc=torch.randn(D, LATENTS, generator=generator),
        W_dec=torch.randn(LATENTS, D, generator=generator),
        b_enc=torch.randn(LATENTS, generator=generator),
        activation=api.Relu(),
        normalisation=normalisation,
        **fields,
    )


@pytest.fixture
def x():
    return torch.randn(7, D, generator=torch.Generator().manual_seed(1))


def test_a_factor_scales_what_is_encoded_and_what_comes_out(x):
    """norm_factor multiplies activations before the encoder and divides reconstructions."""
    plain = made()
    scaled = apply_overrides(plain, Overrides(norm_factor=0.25))

    assert torch.equal(scaled.encode(x).to_dense(), plain.encode(0.25 * x).to_dense())
    torch.testing.assert_close(scaled.reconstruct(x), plain.reconstruct(0.25 * x) / 0.25)
    assert scaled.fingerprint != plain.fingerprint


def test_a_factor_replaces_the_files_and_keeps_what_is_inverted(x):
    """A scale in the file is replaced, not multiplied; an output that is not scaled back stays so."""
    file = made(api.Normalisation("scale", factor=0.4, invert=False))
    changed = apply_overrides(file, Overrides(norm_factor=0.25))

    assert changed.normalisation == api.Normalisation("scale", factor=0.25, invert=False)
    assert list(changed.assumptions) == ["norm_factor 0.25 was given by the user (the file says 0.4)."]
    torch.testing.assert_close(changed.reconstruct(x), made().reconstruct(0.25 * x))


def test_the_fingerprint_is_that_of_the_new_numbers():
    """A fingerprint that was asked for before does not survive the change of a factor."""
    plain = made()
    assert plain.fingerprint
    changed = apply_overrides(plain, Overrides(norm_factor=0.25))

    assert changed.fingerprint == made(api.Normalisation("scale", factor=0.25)).fingerprint


def test_the_sae_that_was_given_stays_as_it_was(x):
    """Overrides give another object: nothing of the first one changes."""
    plain = made(hook_in="a", metadata=api.SAEMetadata(model="m"))
    before = (plain.fingerprint, plain.encode(x).to_dense())
    everything = Overrides(hook="b", model="n", bos=True, context_length=9, norm_factor=2, dtype="float64")
    changed = apply_overrides(plain, everything)

    assert (plain.hook_in, plain.metadata, plain.dtype) == ("a", api.SAEMetadata(model="m"), torch.float32)
    assert (plain.assumptions, plain.overrides) == ((), Overrides())
    assert plain.fingerprint == before[0]
    assert torch.equal(plain.encode(x).to_dense(), before[1])
    assert (changed.hook_in, changed.hook_out, changed.dtype) == ("b", "b", torch.float64)
    recorded = changed.metadata
    assert (recorded.model, recorded.prepend_bos, recorded.context_length) == ("n", True, 9)
    assert changed.overrides == everything


@pytest.mark.parametrize(
    ("recorded", "stated", "hooks"),
    [
        (("in", "out"), {"hook": "h"}, ("h", "out")),
        (("in", "out"), {"hook_out": "o"}, ("in", "o")),
        (("in", "out"), {"hook": "h", "hook_out": "o"}, ("h", "o")),
        (("in", "out"), {"bos": True}, ("in", "out")),
        ((None, "out"), {"hook": "h"}, ("h", "out")),
        (("in", "in"), {"hook": "h"}, ("h", "h")),
        ((None, None), {"hook": "h"}, ("h", "h")),
    ],
)
def test_a_hook_takes_along_only_what_is_the_same(recorded, stated, hooks):
    """An SAE is read and predicted at the new hook; what a transcoder predicts stays, and that is said."""
    changed = apply_overrides(made(hook_in=recorded[0], hook_out=recorded[1]), Overrides(**stated))

    assert (changed.hook_in, changed.hook_out) == hooks
    kept = [each for each in changed.assumptions if "predicts stays out" in each]
    assert len(kept) == (set(stated) == {"hook"} and "out" in recorded)


def test_a_hook_keeps_what_a_catalogue_says_is_predicted():
    """A stated hook_out stays, even where it is the hook point that the file says is read."""
    stated = apply_overrides(made(hook_in="a"), Overrides(hook="b", hook_out="a"), given_by="the catalogue")
    same = apply_overrides(made(hook_in="a"), Overrides(hook_out="a"), given_by="the catalogue")

    assert apply_overrides(stated, Overrides(hook="h")).hook_out == "a"
    assert apply_overrides(same, Overrides(hook="h")).hook_out == "a"


def test_each_override_takes_the_place_of_the_assumption_about_it():
    """What is stated is assumed no more; other assumptions stay, and nothing would make it surer."""
    guessed = made(
        hook_in="guess",
        assumptions=(
            api.Assumption("hook point not recorded.", about="hook"),
            api.Assumption("BOS policy not recorded.", about="bos"),
            "dataset not recorded.",
        ),
    )
    changed = apply_overrides(guessed, Overrides(hook="true", bos=False))

    assert list(changed.assumptions) == [
        "dataset not recorded.",
        "hook true was given by the user (without it, guess would be assumed).",
        "bos false was given by the user (the file says nothing).",
    ]
    assert [each.to_be_sure for each in changed.assumptions[1:]] == [None, None]


def test_a_user_corrects_a_catalogue():
    """Applied twice, the later statement holds, and its sentence alone is left."""
    first = apply_overrides(made(), Overrides(norm_factor=0.5, model="m"), given_by="the catalogue")
    second = apply_overrides(first, Overrides(norm_factor=0.25))

    assert second.normalisation.factor == 0.25
    assert second.overrides == Overrides(norm_factor=0.25, model="m")
    assert list(second.assumptions) == [
        "model m was given by the catalogue (the file says nothing).",
        "norm_factor 0.25 was given by the user (instead of 0.5, which was given before).",
    ]


def test_merging_lets_the_first_win():
    """What the stronger side leaves open comes from the weaker, false included."""
    merged = Overrides(bos=False, k=3).merged_with(Overrides(bos=True, model="m"))

    assert merged.given() == {"bos": False, "k": 3, "model": "m"}


@pytest.mark.parametrize("kind", ["layer_norm", "constant_norm"])
def test_a_row_wise_normalisation_takes_no_factor(kind):
    """Where each row has its own scale, a factor would mean nothing; the error says so."""
    with pytest.raises(ItemError, match=f"each row by the row's own statistics \\({kind}\\)"):
        apply_overrides(made(api.Normalisation(kind)), Overrides(norm_factor=2))


@pytest.mark.parametrize("stated", [Overrides(norm_factor=2), Overrides(dtype="float64")])
def test_functions_take_no_override_of_their_numbers(stated):
    """Nothing can be put inside a user's functions; where they belong can still be said."""
    functions = api.SAE.from_functions(lambda x: x, lambda f: f, d_in=D, d_sae=D)

    with pytest.raises(ItemError, match="cannot be followed"):
        apply_overrides(functions, stated)
    assert apply_overrides(functions, Overrides(hook="h")).hook_in == "h"
    assert functions.hook_in is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"norm_facto": 1}, "no override 'norm_facto'. Did you mean 'norm_factor'"),
        ({"dtype": "float23"}, "Did you mean 'float32'"),
        ({"orientation": "d_in,d_sea"}, "Did you mean 'd_in,d_sae'"),
        ({"norm_factor": 0}, "norm_factor cannot be 0"),
        ({"norm_factor": float("inf")}, "finite number"),
        ({"k": 0}, "k cannot be 0"),
        ({"hook": ""}, "hook cannot be ''"),
        ({"bos": "maybe"}, "bos cannot be 'maybe'; expected true or false."),
        ({"norm_factor": "abc"}, "norm_factor cannot be 'abc'; expected a number."),
        ({"context_length": 1}, "context_length cannot be 1; expected at least 2."),
    ],
)
def test_bad_overrides_are_wrong_usage(values, message):
    """Fields and values that cannot be name the nearest that can, before a file is opened."""
    with pytest.raises(UsageError, match=message):
        load_sae("there/is/nothing", overrides=values)


def test_loading_follows_overrides():
    """A published SAE whose scale is in no file is evaluated with the one that the user knows."""
    sample = SAMPLES / "sae_lens" / "standard_expected_average" / "sae"
    plain, scaled = load_sae(sample), load_sae(sample, overrides={"norm_factor": 0.3, "dtype": "float64"})

    assert any("do not hold the scaling_factor" in each for each in plain.assumptions)
    assert not any("do not hold the scaling_factor" in each for each in scaled.assumptions)
    assert scaled.normalisation == api.Normalisation("scale", factor=0.3)
    assert scaled.dtype == torch.float64


@pytest.mark.parametrize("stated", [{"k": 3}, {"orientation": "d_in,d_sae"}])
def test_an_override_that_no_reader_follows_is_refused_before_loading(stated):
    """It is wrong usage and no fault of the file: what was stated, by whom, and who has no use of it."""
    ((name, value),) = stated.items()
    said = (
        f"the user states {name} {value}, of which the adapter 'saelens' has no use. Leave the override out"
    )

    def load(_view, _options):
        pytest.fail("the file was read first")

    adapter = dataclasses.replace(host().adapters()["saelens"], implementation=load)
    with pytest.raises(ItemError, match=said) as caught:
        load_sae(SAMPLES / "sae_lens" / "standard" / "sae", adapters={"saelens": adapter}, overrides=stated)
    assert not isinstance(caught.value, SAEFileError)


def test_a_factor_that_the_reader_has_followed_is_not_applied_again(x):
    """Where the scale enters other tensors, the reader puts it there; the core records it alone."""
    file = made(api.Normalisation("scale", factor=0.25))
    changed = apply_overrides(file, Overrides(norm_factor=0.5), followed={"norm_factor"})

    assert changed.normalisation.factor == 0.25
    assert list(changed.assumptions) == ["norm_factor 0.5 was given by the user."]
    assert changed.overrides == Overrides(norm_factor=0.5)


def test_the_processing_of_the_models_weights_can_be_stated():
    """It replaces what was assumed, in the metadata and among the assumptions."""
    guessed = made(
        metadata=api.SAEMetadata(processing="compat"),
        assumptions=(api.Assumption("taken as compat.", about="processing"),),
    )
    changed = apply_overrides(guessed, Overrides(processing="raw"))

    assert "processing=raw or processing=compat" in guessed.assumptions[0].to_be_sure
    assert changed.metadata.processing == "raw"
    said = "processing raw was given by the user (without it, compat would be assumed)."
    assert list(changed.assumptions) == [said]


@pytest.mark.parametrize(
    ("sample", "stated"),
    [
        ("llamascopium/jumprelu_glu", {"dtype": "bfloat16"}),
        ("sae_lens/temporal", {"dtype": "bfloat16"}),
        ("sae_lens/temporal", {"norm_factor": 2.0}),
        ("sae_lens/matching_pursuit", {"dtype": "bfloat16"}),
        ("sae_lens/matching_pursuit", {"norm_factor": 2.0}),
    ],
)
def test_what_has_an_arithmetic_of_its_own_refuses_another(sample, stated):
    """An override that would be recorded and change nothing is refused, for a reason that is true."""
    with pytest.raises(ItemError, match=f"{next(iter(stated))}.* cannot be followed") as caught:
        load_sae(SAMPLES / sample / "sae", overrides=stated)
    assert "known only by what it does" not in str(caught.value)


def test_codes_alone_follow_a_precision():
    """An encoder without a decoder computes in what is asked for, as the canonical form does."""
    encoder = api.EncodeOnlySAE(W_enc=torch.eye(D), activation=api.Relu(), reason="none.")
    assert apply_overrides(encoder, Overrides(dtype="float64")).dtype == torch.float64


def test_an_sae_that_cannot_follow_is_named():
    """Of many SAEs, the message says which one cannot take the factor."""
    with pytest.raises(ItemError, match=r"standard_layer_norm.*norm_factor"):
        load_sae(SAMPLES / "sae_lens" / "standard_layer_norm" / "sae", overrides={"norm_factor": 2})
