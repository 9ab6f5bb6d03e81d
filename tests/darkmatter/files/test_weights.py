"""Tensors of a file: what is asked for, what is left, what stays unread."""

import pytest
import torch
from safetensors.torch import save_file

from darkmatter.errors import SAEFileError
from darkmatter.files.view import FileView
from darkmatter.files.weights import Weights


def test_tensors_that_nobody_asked_for_are_named():
    """A tensor that a reader does not know is refused with its name and with what was expected."""
    weights = Weights({"W": torch.ones(2, 3), "gain": torch.ones(2), "steps": torch.ones(1)}, "x.pt")
    weights.take("W", 2, 3)
    with pytest.raises(
        SAEFileError, match=r"x\.pt: has tensors 'gain', 'steps', .*expected tensor 'W' alone"
    ):
        weights.nothing_else()
    with pytest.raises(SAEFileError, match="has tensor 'gain', which"):
        weights.nothing_else("step*")
    weights.maybe("gain", 2)
    weights.nothing_else("steps")


def test_looking_at_a_tensor_does_not_use_it():
    """A dtype that was read for the record is no use of the tensor in a formula."""
    weights = Weights({"W": torch.ones(2)}, "x.pt")
    assert weights["W"].dtype == torch.float32
    with pytest.raises(SAEFileError, match="has tensor 'W'"):
        weights.nothing_else()


def test_many_unknown_tensors_are_counted():
    """A language model's file does not fill the screen with names."""
    weights = Weights({f"layer.{n}": torch.ones(1) for n in range(30)}, "x.pt")
    with pytest.raises(SAEFileError, match="and 20 more"):
        weights.nothing_else()


def test_named_tensors_alone_are_loaded(tmp_path, monkeypatch):
    """``only`` reads those; of the others the shape is checked, and they count as part of the file."""
    save_file({"W": torch.ones(2, 3), "D": torch.ones(3, 2, 2)}, tmp_path / "w.safetensors")
    weights = FileView(tmp_path).weights("w.safetensors", only=("W",))
    assert list(weights) == ["W"]
    weights.take("W", 2, 3)
    with pytest.raises(SAEFileError, match="has tensor 'D'"):
        weights.nothing_else()
    with pytest.raises(SAEFileError, match=r"tensor 'D' has shape \[3, 2, 2\]; expected \[any, 2\]"):
        weights.sized("D", None, 2)
    with pytest.raises(SAEFileError, match="has no tensor 'E'"):
        weights.sized("E", 2)
    weights.sized("D", 3, None, 2)
    weights.nothing_else()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bfloat16, torch.float64])
def test_a_number_may_be_an_integer_of_any_shape(dtype, shape):
    """A k or a threshold is one number, however its writer stored it."""
    assert Weights({"k": torch.full(shape, 32, dtype=dtype)}, "sae.pt").number("k") == 32


def test_a_large_integer_is_not_rounded():
    """Float32 holds whole numbers up to 2^24 only; a number of the file is the number read."""
    assert Weights({"step": torch.tensor([2**24 + 1])}, "sae.pt").number("step") == 2**24 + 1


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(2), r"sae\.pt: expected a tensor 'k' with a single number"),
        (torch.ones(1, 0), r"sae\.pt: expected a tensor 'k' with a single number"),
        (torch.tensor([torch.nan]), r"sae\.pt: tensor 'k' has 1 of 1 values that are NaN"),
    ],
)
def test_what_is_no_single_number_is_refused(tensor, message):
    """Several numbers, none, and NaN are refused by file and tensor."""
    with pytest.raises(SAEFileError, match=message):
        Weights({"k": tensor}, "sae.pt").number("k")
