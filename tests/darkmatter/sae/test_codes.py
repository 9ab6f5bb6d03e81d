"""Codes as a container."""

import pytest
import torch

from darkmatter.errors import ItemError
from darkmatter.sae.codes import Codes


def dense(*shape):
    """Seeded numbers, two thirds of them zero."""
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return values * (values > 0.5)


def test_dense_and_back():
    """from_dense and to_dense are inverse, keep the batch shape and order indices in each row."""
    matrix = dense(3, 4, 17)
    codes = Codes.from_dense(matrix)
    assert codes.shape == matrix.shape
    assert len(codes) == codes.n_rows == 12
    assert torch.equal(codes.to_dense(), matrix)
    assert torch.equal(codes.l0(), (matrix != 0).sum(-1))
    assert codes.nbytes > 0


def test_rows_can_be_taken_in_any_order():
    """take() gives the rows that indexing the dense matrix gives, repeated and empty ones included."""
    matrix = dense(11, 17)
    matrix[4] = 0
    index = torch.tensor([9, 4, 0, 0, 10])
    assert torch.equal(Codes.from_dense(matrix).take(index).to_dense(), matrix[index])
    assert len(Codes.from_dense(matrix).take(index[:0])) == 0


def test_slices_and_joins():
    """rows() cuts flattened rows, cat() joins them again, empty slices included."""
    matrix = dense(11, 17)
    codes = Codes.from_dense(matrix)
    parts = [codes.rows(0, 4), codes.rows(4, 4), codes.rows(4, 9), codes.rows(9, 99)]
    assert [part.n_rows for part in parts] == [4, 0, 5, 2]
    assert torch.equal(parts[2].to_dense(), matrix[4:9])
    assert torch.equal(Codes.cat(parts).to_dense(), matrix)
    assert torch.equal(Codes.cat(parts).to("cpu").offsets, codes.offsets)


def test_row_statistics_follow_their_rows():
    """row_scale and row_shift are cut and joined with the rows they belong to."""
    scale = torch.arange(6.0)[:, None]
    plain = Codes.from_dense(dense(6, 5))
    codes = Codes(plain.values, plain.indices, plain.offsets, 5, (6,), scale, -scale)
    joined = Codes.cat([codes.rows(4, 6), codes.rows(0, 2)])
    assert joined.row_scale.squeeze(1).tolist() == [4, 5, 0, 1]
    assert joined.row_shift.squeeze(1).tolist() == [-4, -5, 0, -1]


def test_codes_of_different_widths_do_not_join():
    """Joining codes of two SAEs, or of none, is an error and no silent mixture."""
    with pytest.raises(ItemError, match=r"\[5, 6\]"):
        Codes.cat([Codes.from_dense(dense(2, 5)), Codes.from_dense(dense(2, 6))])
    with pytest.raises(ItemError):
        Codes.cat([])
