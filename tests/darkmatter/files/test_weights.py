"""Tensors at the door: which shapes and kinds of number are taken for what they shall be."""

import pytest
import torch

from darkmatter.errors import SAEFileError
from darkmatter.files.weights import Weights


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
