"""The format of our own: nothing is lost, nothing is overwritten, and what is damaged is named."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import darkmatter as dm
from darkmatter import api
from darkmatter.errors import ItemError, SAEFileError, UsageError
from darkmatter.sae.saved import CONFIG, WEIGHTS
from darkmatter.sae.saved_schema import SavedMetadata
from darkmatter_plugins.adapters import ADAPTERS

SAMPLES = Path(__file__).parents[2] / "golden" / "samples"
NAMES = {adapter.name for adapter in ADAPTERS}


def golden(name: str) -> dict:
    return json.loads((SAMPLES / name / "golden.json").read_text())


READ = [
    name
    for name in json.loads((SAMPLES / "index.json").read_text())
    if golden(name)["adapter"] in NAMES and "threshold_unset" not in name
]


def opened(name: str) -> api.SAE:
    found = golden(name)
    return dm.load_sae(f"path:{SAMPLES / name / found['path']}", adapter=found["adapter"])


def generated(**fields) -> api.CanonicalSAE:
    """A small SAE whose weights are random."""
    generator = torch.Generator().manual_seed(0)
    arguments = {
        "W_enc": torch.randn(6, 10, generator=generator),
        "W_dec": torch.randn(10, 6, generator=generator),
        "activation": api.Relu(),
        **fields,
    }
    return api.CanonicalSAE(**arguments)


def assert_same(again: api.SAE, sae: api.SAE, x: torch.Tensor) -> None:
    """Fingerprint, codes, reconstructions and everything that is said of the SAE are equal."""
    assert again.fingerprint == sae.fingerprint
    assert torch.equal(again.encode(x).to_dense(), sae.encode(x).to_dense())
    assert torch.equal(again.reconstruct(x), sae.reconstruct(x))
    assert (again.hook_in, again.hook_out) == (sae.hook_in, sae.hook_out)
    assert (again.head_shape, again.dtype) == (sae.head_shape, sae.dtype)
    facts = [
        [(str(a), getattr(a, "about", None), getattr(a, "to_be_sure", None)) for a in each.assumptions]
        for each in (again, sae)
    ]
    assert facts[0] == facts[1]


@pytest.mark.parametrize("name", READ)
def test_every_sample_is_read_back_bit_for_bit(name, tmp_path):
    """Whatever the format, converting loses nothing; what has no canonical form is refused by name."""
    sae = opened(name)
    if not isinstance(sae, api.CanonicalSAE):
        with pytest.raises(ItemError, match=f"{sae.metadata.architecture}.*has no canonical form"):
            dm.save_sae(sae, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    dm.save_sae(sae, tmp_path / "out", reference=name)
    x = load_file(SAMPLES / name / "expected.safetensors")["x"].reshape(-1, sae.d_in)

    again = dm.load_sae(tmp_path / "out")
    assert_same(again, sae, x)
    assert again.metadata == dataclasses.replace(
        sae.metadata,
        format="darkmatter",
        extra={
            **json.loads(json.dumps(sae.metadata.extra)),
            "converted_from": {
                "reference": name,
                "format": sae.metadata.format,
                **{key: sae.metadata.extra[key] for key in ["converted_from"] if key in sae.metadata.extra},
            },
        },
    )


def test_converting_again_keeps_where_the_first_conversion_came_from(tmp_path):
    """The chain of conversions stays on record, the latest outside."""
    sample = SAMPLES / "sae_lens" / "gated" / "sae"
    dm.save_sae(dm.load_sae(sample), tmp_path / "one", reference="the original")
    dm.save_sae(dm.load_sae(tmp_path / "one"), tmp_path / "two", reference="one")

    assert dm.load_sae(tmp_path / "two").metadata.extra["converted_from"] == {
        "reference": "one",
        "format": "darkmatter",
        "converted_from": {"reference": "the original", "format": "saelens"},
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_weights_of_every_precision_are_kept(dtype, tmp_path):
    """float64 stays float64, and 16-bit weights take 16 bits."""
    sae = generated()
    sae = generated(W_enc=sae.W_enc.to(dtype), W_dec=sae.W_dec.to(dtype) / 3)
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(2))
    dm.save_sae(sae, tmp_path)

    assert_same(dm.load_sae(tmp_path), sae, x)
    assert {tensor.dtype for tensor in load_file(tmp_path / WEIGHTS).values()} == {dtype}


def test_everything_that_an_sae_can_have_is_kept(tmp_path):
    """Scales, skip connection, heads, precision, a threshold that switches off and a negative zero."""
    threshold = torch.full((10,), 0.1)
    threshold[3] = torch.inf
    sae = generated(
        W_enc=torch.randn(10, 6, generator=torch.Generator().manual_seed(3)).T,
        b_enc=torch.full((10,), -0.0),
        b_dec=torch.ones(6),
        subtract=torch.ones(6),
        activation=api.JumpRelu(threshold),
        normalisation=api.Normalisation("layer_norm", eps=1e-6, invert=False),
        code_scale=torch.rand(10) + 0.5,
        gate_scale=torch.rand(10) + 0.5,
        W_skip=torch.randn(6, 6).T,
        head_shape=(2, 3),
        hook_in="in",
        hook_out="out",
        assumptions=(
            api.Assumption("k taken.", about="k"),
            api.Assumption("odd.", to_be_sure="ask"),
            "plain.",
        ),
    ).to(dtype=torch.float64)
    dm.save_sae(sae, tmp_path)

    assert_same(dm.load_sae(tmp_path), sae, torch.randn(50, 6))
    # A product with a transposed view may round differently on some machines.
    assert sae.W_skip.is_contiguous()


@pytest.mark.parametrize(
    "activation", [api.TopK(3, relu=False), api.AbsTopK(2), api.GroupMax(5), api.TopK(4), api.TanhRelu()]
)
def test_activations_keep_their_settings(activation, tmp_path):
    """Numbers that are no tensors are in the JSON file."""
    sae = generated(activation=activation)
    dm.save_sae(sae, tmp_path)

    assert dm.load_sae(tmp_path).activation.settings() == activation.settings()
    assert_same(dm.load_sae(tmp_path), sae, torch.randn(20, 6))


def test_an_activation_of_a_plugin_is_refused(tmp_path):
    """A class that is not ours cannot be written by name, even if it is called like one of ours."""

    class Relu(api.Relu):
        pass

    with pytest.raises(ItemError, match=r"Relu is a plugin's own; only Relu, TanhRelu"):
        dm.save_sae(generated(activation=Relu()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_sae_class_of_a_plugin_is_refused(tmp_path):
    """A subclass may compute something else, so its weights are not taken for all of it."""

    class Odd(api.CanonicalSAE):
        pass

    odd = Odd(W_enc=torch.eye(3), W_dec=torch.eye(3), activation=api.Relu())
    with pytest.raises(ItemError, match=r"\(Odd\) has no canonical form"):
        dm.save_sae(odd, tmp_path / "out")


def test_overrides_stay_in_force(tmp_path):
    """What was stated before converting holds afterwards and stays on record."""
    sample = SAMPLES / "sae_lens" / "standard_expected_average" / "sae"
    sae = dm.load_sae(sample, overrides={"norm_factor": 0.3, "dtype": "float64", "bos": True})
    again = dm.load_sae(dm.save_sae(sae, tmp_path))

    assert again.overrides == sae.overrides
    assert again.metadata.prepend_bos is True
    assert_same(again, sae, torch.randn(9, sae.d_in))


def test_numbers_that_json_cannot_hold_become_text(tmp_path):
    """A NaN in a trainer's settings or a broken character does not keep its SAE from being written."""
    odd = {"coefficient": float("nan"), "sizes": (1, None), "text": "a\ud800", "right": True}
    sae = generated(metadata=api.SAEMetadata(extra=odd))
    extra = dm.load_sae(dm.save_sae(sae, tmp_path)).metadata.extra
    del extra["converted_from"]

    assert extra == {"coefficient": "nan", "sizes": [1, None], "text": "a?", "right": True}


def test_what_cannot_be_written_is_named_before_anything_is(tmp_path):
    """An adapter that records something of the wrong type does not cost the files that are there."""
    dm.save_sae(generated(), tmp_path)
    odd = generated(metadata=api.SAEMetadata(context_length="long"))
    with pytest.raises(ItemError, match=r"cannot be written: field 'metadata.context_length'"):
        dm.save_sae(odd, tmp_path, overwrite=True)

    assert dm.load_sae(tmp_path).fingerprint == generated().fingerprint


def test_every_field_of_the_metadata_has_a_place():
    """A new field of SAEMetadata cannot be forgotten."""
    assert set(SavedMetadata.model_fields) == {field.name for field in dataclasses.fields(api.SAEMetadata)}


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    """Without overwrite nothing is touched; with it, only the two files are replaced."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        dm.save_sae(generated(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    dm.save_sae(generated(), tmp_path, overwrite=True)
    dm.save_sae(generated(activation=api.TopK(2)), tmp_path, overwrite=True)
    assert dm.load_sae(tmp_path).activation.settings()["name"] == "TopK"
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, WEIGHTS, "notes.txt"]


def test_a_file_is_no_folder(tmp_path):
    """An SAE is not written over a file."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        dm.save_sae(generated(), tmp_path / "taken")


def test_an_sae_can_replace_itself(tmp_path):
    """Reading maps the weights; writing over them while they are mapped loses nothing."""
    sae = generated()
    dm.save_sae(sae, tmp_path)
    dm.save_sae(dm.load_sae(tmp_path), tmp_path, overwrite=True)

    assert_same(dm.load_sae(tmp_path), sae, torch.randn(9, 6))


def test_a_writing_that_breaks_off_leaves_nothing_to_read(tmp_path, monkeypatch):
    """New weights never stand beside an old description."""
    dm.save_sae(generated(), tmp_path)

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("darkmatter.sae.saved.write_json", fail)
    with pytest.raises(ItemError, match="cannot be written: No space"):
        dm.save_sae(generated(W_dec=torch.ones(10, 6)), tmp_path, overwrite=True)
    assert not (tmp_path / CONFIG).exists()


def lossy(monkeypatch, sae):
    """Let what is written be another SAE's files."""
    from darkmatter.sae import saved

    write, document = saved._write, saved._document(sae, None)
    monkeypatch.setattr(saved, "_write", lambda _sae, _document, place: write(sae, document, place))


@pytest.mark.parametrize(
    "other",
    [
        {"W_dec": torch.ones(10, 6)},
        {"hook_in": "elsewhere"},
        {"metadata": api.SAEMetadata(model="another")},
        {"assumptions": ("odd.",)},
    ],
)
def test_success_is_reported_only_after_reading_back(tmp_path, monkeypatch, other):
    """A disk that loses bits, of weights or of what is said, is noticed and leaves nothing to read."""
    lossy(monkeypatch, generated(**other))
    with pytest.raises(ItemError, match="does not read back as the same SAE"):
        dm.save_sae(generated(), tmp_path)
    assert not (tmp_path / CONFIG).exists()


def test_weights_that_do_not_arrive_are_noticed(tmp_path, monkeypatch):
    """The description alone reads back well, and its weights are not those that it speaks of."""
    from darkmatter.files import tensors

    def lose(path, pieces, whole=tensors.write_pieces):
        written = b"".join(pieces)
        whole(path, [written[:-8], bytes(8)])

    monkeypatch.setattr(tensors, "write_pieces", lose)
    with pytest.raises(ItemError, match=r"does not read back as the same SAE.*fingerprint"):
        dm.save_sae(generated(), tmp_path)
    assert not (tmp_path / CONFIG).exists()


def test_files_that_were_changed_are_refused(tmp_path):
    """The weights are those that the description speaks of, or nothing is loaded."""
    dm.save_sae(generated(), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file({**tensors, "W_dec": 2 * tensors["W_dec"]}, tmp_path / WEIGHTS)

    with pytest.raises(SAEFileError, match=r"'fingerprint' is .*changed after it was written") as caught:
        dm.load_sae(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_another_formats_folder_is_not_made_ambiguous(tmp_path):
    """Even with overwrite nothing is written beside an SAE that another adapter reads."""
    shutil.copytree(SAMPLES / "sae_lens" / "gated" / "sae", tmp_path / "sae")
    sae = dm.load_sae(tmp_path / "sae")

    with pytest.raises(UsageError, match=r"the adapter 'saelens' reads an SAE there.*Name another folder"):
        dm.save_sae(sae, tmp_path / "sae", overwrite=True)
    assert dm.load_sae(tmp_path / "sae").fingerprint == sae.fingerprint


def damaged(folder: Path, change) -> None:
    document = json.loads((folder / CONFIG).read_text())
    change(document)
    (folder / CONFIG).write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=2), r"version 2 of this format.*reads version 1"),
        (lambda d: d.update(surprise=1), "field 'surprise'"),
        (lambda d: d.update(d_sae="10"), "field 'd_sae' is '10'; expected a valid integer"),
        (lambda d: d["activation"].update(name="Swish"), r"field 'activation.name'"),
        (lambda d: d["activation"].update(k=3), "parameters of the activation Relu do not fit"),
        (lambda d: d.update(d_sae=11), r"'W_enc' has shape \[6, 10\]; expected \[6, 11\]"),
        (lambda d: d["normalisation"].update(factor=0.0), "factor other than 0"),
        (lambda d: d.pop("fingerprint"), "field 'fingerprint'"),
        (lambda d: d.update(hook_in="in"), "field 'hook_out' is null; expected a hook point"),
        (lambda d: d["tensors"].append("b_dec"), "tensor 'b_dec' is missing, though it is listed"),
    ],
)
def test_a_description_that_does_not_fit_is_named(tmp_path, change, message):
    """The schema is strict: file, field and what was expected are in the message."""
    dm.save_sae(generated(), tmp_path)
    damaged(tmp_path, change)

    with pytest.raises(SAEFileError, match=message) as caught:
        dm.load_sae(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_tensors_that_are_not_described_are_refused(tmp_path):
    """A tensor that would be ignored may be one that matters."""
    dm.save_sae(generated(), tmp_path)
    save_file({**load_file(tmp_path / WEIGHTS), "b_odd": torch.ones(3)}, tmp_path / WEIGHTS)

    with pytest.raises(SAEFileError, match="tensor 'b_odd' is not listed"):
        dm.load_sae(tmp_path)
