"""The checks of adapters, baselines, reporters and imports find what is wrong."""

import itertools
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkmatter import api
from darkmatter.testing import check_adapter, check_baseline, check_imports, check_reporter
from darkmatter.testing.synthetic import NoLatents

COUNTER = itertools.count()


class NoOptions(api.Config):
    """No options."""


# -- adapters ------------------------------------------------------------------------------------


def detect(view):
    """Claim a configuration beside weights."""
    if not view.has("w.json") or "k" not in view.json("w.json") or not view.has("w.safetensors"):
        return api.Refusal("there is no w.json with k beside w.safetensors")
    return api.Detection("ours")


def load(view, options, *, shift=0.0, name="w"):
    """A TopK SAE."""
    fields = api.Fields(view.json("w.json"), str(view.file("w.json")))
    weights = view.weights("w.safetensors")
    sae = api.CanonicalSAE(
        W_enc=weights.take("W", fields.size("d"), None),
        W_dec=weights["W"].T + shift,
        activation=api.TopK(fields.size("k")),
        metadata=api.SAEMetadata(format=name),
    )
    weights.nothing_else()
    return sae


def other_every_time(view, options):
    """Weights that move."""
    return load(view, options, shift=float(next(COUNTER)))


def careless(view, options):
    """Asks for a field without looking."""
    sae = load(view, options)
    view.json("w.json")["version"]
    return sae


def forgiving(view, options):
    """Takes other numbers where a file is damaged."""
    try:
        return load(view, options)
    except api.SAEFileError:
        return api.CanonicalSAE(W_enc=torch.eye(4), W_dec=torch.eye(4), activation=api.Relu())


def forgiving_detect(view):
    """Claims by the name alone."""
    return api.Detection("ours") if view.has("w.json") else api.Refusal("not ours")


def raising_detect(view):
    """Breaks on what it does not know."""
    return api.Detection("ours") if view.json("w.json")["k"] else api.Refusal("not ours")


def adapter(implementation=load, detect=detect):
    """The descriptor of an adapter."""
    return api.SAEAdapter("tested", "A test.", implementation, filenames=("w.json",), detect=detect)


@pytest.fixture
def sample(tmp_path):
    """A saved SAE with what its own code makes of some rows."""
    folder = tmp_path / "sample"
    (folder / "sae").mkdir(parents=True)
    W = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    save_file({"W": W}, folder / "sae" / "w.safetensors")
    (folder / "sae" / "w.json").write_text(json.dumps({"d": 4, "k": 2, "version": 1}))
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    values, indices = (x @ W).topk(2, dim=1)
    codes = torch.zeros(20, 6).scatter(1, indices, values.relu())
    save_file(
        {"x": x, "codes": codes, "reconstruction": codes @ W.T.contiguous()}, folder / "expected.safetensors"
    )
    return folder


def test_a_good_adapter_passes(sample):
    """A simple correct adapter conforms; a sample without expected numbers is said."""
    assert check_adapter(adapter(), sample) == ()
    (sample / "expected.safetensors").unlink()
    assert check_adapter(adapter(), [sample]) == ("sample: no expected.safetensors to compare with",)


@pytest.mark.parametrize(
    ("tested", "says"),
    [
        (adapter(detect=lambda view: api.Refusal("no")), "claims its own files"),
        (adapter(detect=lambda view: api.Detection("all mine")), "claims nothing that is not its own"),
        (adapter(detect=raising_detect), "KeyError: 'k'"),
        (adapter(lambda view, options: load(view, options, shift=0.1)), "reconstruction differ by up to"),
        (adapter(other_every_time), "the same fingerprint"),
        (adapter(careless, detect=forgiving_detect), "claims nothing that is not its own|KeyError"),
        (adapter(forgiving), "loaded without a complaint"),
        (adapter(lambda view, options: None), "returned a NoneType, not an SAE"),
    ],
)
def test_a_bad_adapter_is_found_out(sample, tested, says):
    """Each fault of an adapter is named."""
    with pytest.raises(AssertionError, match=says):
        check_adapter(tested, sample)


def test_a_sample_may_be_one_of_several_in_a_file(sample):
    """An index behind the path in golden.json reaches the adapter, for whole and for damaged copies."""
    (sample / "golden.json").write_text(json.dumps({"path": "sae#3"}))
    asked = []

    def indexed(view, options):
        asked.append(view.index)
        return load(view, options)

    assert check_adapter(adapter(indexed), sample) == ()
    assert len(asked) > 4
    assert set(asked) == {3}


def test_supports_must_be_exact(sample):
    """One code that is active where it should not be is a fault, however small."""
    expected = load_file(sample / "expected.safetensors")
    row, column = (expected["codes"] == 0).nonzero()[0]
    expected["codes"][row, column] = 1e-9
    save_file(expected, sample / "expected.safetensors")
    with pytest.raises(AssertionError, match="1 of 120 codes are active in one and not in the other"):
        check_adapter(adapter(), sample)


def test_codes_alone_are_compared_and_nothing_else(sample):
    """Where the format gives codes alone, an SAE that reconstructs is a fault, and the other way round."""
    encoder = adapter(lambda view, options: encoder_of(load(view, options)))
    with pytest.raises(AssertionError, match=r"it does not; expected.safetensors holds .*reconstruction"):
        check_adapter(encoder, sample)
    expected = load_file(sample / "expected.safetensors")
    del expected["reconstruction"]
    save_file(expected, sample / "expected.safetensors")
    assert check_adapter(encoder, sample) == ()
    with pytest.raises(AssertionError, match="it does; expected"):
        check_adapter(adapter(), sample)


class Taciturn(api.EncodeOnlySAE):
    """Raises something else than its reason."""

    def decode(self, codes):
        raise api.ItemError("no")


class Zero(api.EncodeOnlySAE):
    """Says that it does not reconstruct, and does."""

    def reconstruct(self, x):
        return torch.zeros_like(x)


@pytest.mark.parametrize(("kind", "says"), [(Taciturn, "decode said 'no'"), (Zero, "reconstruct returned")])
def test_an_sae_without_reconstruction_must_say_why(sample, kind, says):
    """Whoever asks for what is not there is given the reason, by every method."""
    with pytest.raises(AssertionError, match=says):
        check_adapter(adapter(lambda view, options: encoder_of(load(view, options), kind)), sample)


def encoder_of(sae, kind=api.EncodeOnlySAE):
    """The encoder of an SAE alone."""
    return kind(W_enc=sae.W_enc, b_enc=sae.b_enc, activation=sae.activation, reason="It is half of one.")


# -- baselines -----------------------------------------------------------------------------------


def baseline(fit):
    """The descriptor of a baseline."""
    return api.Baseline("tested", "A test.", fit, config=NoOptions)


def linear(data, W_enc, **changes):
    """A linear SAE at the hook point of the data."""
    fields = {"W_enc": W_enc, "W_dec": torch.eye(data.d_in), "activation": api.AbsTopK(data.d_in)}
    return api.CanonicalSAE(**{**fields, "hook_in": data.hook, **changes})


class Neighbours(NoLatents):
    """Reconstructs by the mean of its batch."""

    def reconstruct_from(self, codes, x):
        """The mean of the batch."""
        return x.mean(dim=tuple(range(x.ndim - 1))).expand(x.shape)

    def reconstruct(self, x):
        """The same."""
        return self.reconstruct_from(None, x)


class Contradicts(NoLatents):
    """reconstruct and reconstruct_from disagree."""

    def reconstruct(self, x):
        """Not what reconstruct_from gives."""
        return x


def test_a_good_baseline_passes():
    """A simple correct baseline conforms."""
    assert check_baseline(baseline(lambda config, data: linear(data, torch.eye(data.d_in)))) == ()


@pytest.mark.parametrize(
    ("fit", "says"),
    [
        (lambda config, data: torch.eye(data.d_in), "gave a Tensor"),
        (lambda config, data: linear(data, torch.randn(data.d_in, data.d_in)), "global state alone"),
        (lambda config, data: linear(data, torch.eye(data.d_in) * next(COUNTER)), "the same baseline"),
        (lambda config, data: linear(data, torch.eye(data.d_in), hook_in=None), "pass hook_in=data.hook"),
        (lambda config, data: Neighbours(torch.zeros(data.d_in)), "does not depend on its neighbours"),
        (lambda config, data: Contradicts(torch.zeros(data.d_in)), r"reconstruct_from\(encode\(x\), x\)"),
    ],
)
def test_a_bad_baseline_is_found_out(fit, says):
    """Each fault of a baseline is named."""
    with pytest.raises(AssertionError, match=says):
        check_baseline(baseline(fit))


# -- reporters and imports -----------------------------------------------------------------------


def rendered(table):
    """All names, made harmless."""
    return " ".join(api.printable(f"{row['sae']} {row['metric']}") for row in table.rows)


@pytest.mark.parametrize(
    ("render", "says"),
    [
        (lambda table: None, "returns text"),
        (lambda table: rendered(table) + str(next(COUNTER)), "same text"),
        (lambda table: "".join(str(row["sae"]) for row in table.rows), "No control or direction"),
        (lambda table: "nothing", r"leaves out \['plain', 'pca', 'fvu'\]"),
        (lambda table: table.rows.clear() or "", "does not change the table"),
    ],
)
def test_a_bad_reporter_is_found_out(render, says):
    """Each fault of a reporter is named, and a good one passes."""
    assert check_reporter(api.Reporter("tested", "A test.", rendered, suffix=".txt")) == ()
    with pytest.raises(AssertionError, match=says):
        check_reporter(api.Reporter("tested", "A test.", render, suffix=".txt"))


def test_heavy_imports_are_found_out():
    """A module of descriptors that imports torch is named with what it imports."""
    check_imports("darkmatter_plugins")
    with pytest.raises(AssertionError, match=r"importing darkmatter\.stats imported torch"):
        check_imports("darkmatter.stats")
    with pytest.raises(AssertionError, match="No module named 'nowhere_at_all'"):
        check_imports("nowhere_at_all")


def test_the_package_itself_is_light():
    """Importing darkmatter.testing brings in neither torch nor pytest."""
    import subprocess
    import sys

    code = (
        "import sys, darkmatter.testing; print([m for m in ('torch', 'pytest', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
