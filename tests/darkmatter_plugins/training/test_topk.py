"""The streamed TopK trainer on data whose best dictionary is known."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import normalize

from darkmatter import api
from darkmatter_plugins.training.rows import ShuffledRows
from darkmatter_plugins.training.topk import TopKPlan, geometric_median, train_topk

D, FEATURES = 16, 24


@pytest.fixture(autouse=True)
def one_thread():
    with api.one_thread_each():
        yield


def planted(n: int = 6000, k: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [n, D] that are sums of k of FEATURES directions, about a mean and in units of a thousand."""
    generator = torch.Generator().manual_seed(seed)
    features = normalize(torch.randn(FEATURES, D, generator=generator))
    chosen = torch.rand(n, FEATURES, generator=generator).topk(k).indices
    codes = torch.zeros(n, FEATURES).scatter(1, chosen, 1 + torch.rand(n, k, generator=generator))
    return 1000 * (codes @ features + 1), features


def streamed(rows: torch.Tensor, *, batch: int = 256, buffer: int = 1024, seed: int = 0, chunk: int = 500):
    """Batches [batch, 1, d] of rows that come in chunks."""
    return ShuffledRows(
        lambda _epoch: iter(rows[:, None].split(chunk)), batch=batch, buffer=buffer, seed=seed
    )


def plan(**changes) -> TopKPlan:
    return TopKPlan(**{"k": 2, "width": 48, "steps": 400, "lr": 5e-3, **changes})


def fvu(sae: api.SAE, rows: torch.Tensor) -> float:
    missed = (rows - sae.reconstruct(rows)).double().square().sum()
    return float(missed / (rows - rows.mean(dim=0)).double().square().sum())


def weights(sae: api.CanonicalSAE) -> list[torch.Tensor]:
    return [sae.W_enc, sae.W_dec, sae.b_enc, sae.b_dec]


def test_a_planted_dictionary_is_found():
    """Sums of two of 24 directions: each direction is found to a cosine above .9 on average."""
    rows, features = planted()
    (trained,) = train_topk(streamed(rows), plan(), seed=0)
    cosines = features @ normalize(trained.sae.W_dec).T

    assert float(cosines.amax(dim=1).mean()) > 0.9
    assert trained.fvu[-1] < 0.1 < trained.fvu[0]


def test_k_directions_with_k_codes_leave_nothing():
    """Rows on k orthogonal rays, one code each: FVU can reach 0, and with a budget it nearly does."""
    generator = torch.Generator().manual_seed(1)
    which = torch.randint(4, (4000,), generator=generator)
    rows = torch.eye(D)[which] * (1 + torch.rand(4000, 1, generator=generator))
    (trained,) = train_topk(streamed(rows), plan(k=1, width=16, steps=500, lr=1e-2), seed=0)

    assert fvu(trained.sae, rows) < 0.02


def test_k_active_latents_and_unit_decoder_rows():
    """What was trained is a TopK SAE: at most k codes a row, none negative, decoder rows of length 1."""
    rows, _ = planted()
    (trained,) = train_topk(streamed(rows), plan(steps=20), seed=0)
    codes = trained.sae.encode(rows)

    assert int(codes.l0().max()) <= 2
    assert float(codes.values.min()) > 0
    assert torch.allclose(trained.sae.W_dec.norm(dim=1), torch.ones(48), atol=1e-5)


def test_the_folded_weights_are_those_that_were_trained():
    """FVU of the SAE on rows as they came is that of the last batches: scale and centre are folded right."""
    rows, _ = planted()
    (trained,) = train_topk(streamed(rows), plan(), seed=0)

    assert fvu(trained.sae, rows) == pytest.approx(trained.fvu[-1], rel=0.1)


def test_the_units_of_the_rows_change_nothing():
    """Rows a thousand times as long, and moved, give the same FVU: the learning rate has no units."""
    rows, _ = planted()
    (one,) = train_topk(streamed(rows), plan(steps=50), seed=0)
    (other,) = train_topk(streamed(rows / 1024), plan(steps=50), seed=0)

    assert other.fvu == pytest.approx(one.fvu, rel=1e-2)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    """Nothing is drawn but from the seed."""
    rows, _ = planted()
    torch.manual_seed(1)
    (one,) = train_topk(streamed(rows), plan(steps=30), seed=0)
    torch.manual_seed(2)
    (same,) = train_topk(streamed(rows), plan(steps=30), seed=0)
    (other,) = train_topk(streamed(rows), plan(steps=30), seed=1)

    assert all(torch.equal(a, b) for a, b in zip(weights(one.sae), weights(same.sae), strict=True))
    assert one.fvu == same.fvu
    assert not torch.equal(one.sae.W_dec, other.sae.W_dec)


def test_slices_are_trained_as_if_alone():
    """Several SAEs on the same batches: each is what it would be by itself."""
    rows, _ = planted()
    pair = torch.stack([rows, rows.flip(1) + 5], dim=1)
    together = ShuffledRows(lambda _epoch: iter(pair.split(500)), batch=256, buffer=1024, seed=0)
    first, second = train_topk(together, plan(steps=20), seed=0)
    (alone,) = train_topk(streamed(rows.flip(1) + 5), plan(steps=20), seed=0)

    assert torch.allclose(second.sae.W_dec, alone.sae.W_dec, atol=1e-5)
    assert not torch.allclose(first.sae.W_dec, second.sae.W_dec, atol=1e-2)


def test_the_budget_is_kept():
    """``steps`` batches are taken, none more, and the curve says at which step each mean ends."""
    rows, taken = streamed(planted()[0]), []

    class Counted(ShuffledRows):
        def __iter__(self):
            for batch in super().__iter__():
                taken.append(len(batch))
                yield batch

    rows.__class__ = Counted
    (trained,) = train_topk(rows, plan(steps=70), seed=0)

    assert taken == [256] * 70
    assert trained.rows == 70 * 256
    assert trained.step[-1] == 70
    assert len(trained.step) == len(trained.fvu) == 35


def test_the_rate_rises_then_falls_to_nothing():
    """A linear warm-up to the peak, then a linear decay."""
    rates = [plan(steps=100, lr=1.0, warmup=0.1).rate(step) for step in range(100)]

    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[-1] == pytest.approx(1 / 90)
    assert rates[55] == pytest.approx(0.5)


def test_dead_latents_learn_from_the_auxiliary_loss_alone():
    """A latent that never fires stays where it began; with the auxiliary loss it moves to the residual."""
    rows = torch.eye(D)[torch.randint(2, (1000,), generator=torch.Generator().manual_seed(0))]
    rows = rows + 0.1 * torch.randn(1000, D, generator=torch.Generator().manual_seed(1))
    begun = normalize(torch.randn(128, D, generator=torch.Generator().manual_seed(0)))

    def unmoved(auxk: float) -> int:
        changes = {"k": 1, "width": 128, "steps": 130, "auxk": auxk}
        (trained,) = train_topk(streamed(rows, batch=64), plan(**changes), seed=0)
        return int(((trained.sae.W_dec - begun).norm(dim=1) < 1e-3).sum())

    assert unmoved(0.0) > 10
    assert unmoved(0.1) < unmoved(0.0) / 2


def test_rows_that_do_not_vary_are_no_error():
    """Constant rows have nothing to learn: the SAE stays finite and gives the constant."""
    rows = torch.full((100, 4), 3.0)
    (trained,) = train_topk(streamed(rows, batch=8, buffer=16), plan(width=8, steps=5), seed=0)

    assert torch.allclose(trained.sae.reconstruct(rows), rows, atol=1e-4)


def test_the_geometric_median_ignores_an_outlier():
    """One row far away moves the mean by a lot and the geometric median by little."""
    rows = torch.randn(1001, 3, generator=torch.Generator().manual_seed(0))
    rows[0] = 1e6

    assert float(geometric_median(rows).norm()) < 0.2


def test_every_row_comes_once_an_epoch_in_another_order():
    """Batches are the rows, each as often as the others, shuffled and not as they came."""
    rows = torch.arange(64.0)[:, None]
    stream = ShuffledRows(lambda _epoch: iter(rows.split(10)), batch=8, buffer=64, seed=0)
    first = torch.cat(list(itertools.islice(stream, 4)))[:, 0]

    assert first.tolist() != sorted(first.tolist())
    assert len(set(first.tolist())) == 32
    many = torch.cat(list(itertools.islice(stream, 400)))[:, 0]
    counts = torch.bincount(many.long(), minlength=64)
    assert int(counts.min()) > 40
    assert int(counts.max()) < 60


def test_how_rows_come_in_chunks_changes_nothing():
    """The stream is cut anew, so chunks of any size give the same batches."""
    rows = planted(n=700)[0]
    cut = [list(itertools.islice(iter(streamed(rows, batch=64, chunk=size)), 30)) for size in (7, 500)]

    assert all(torch.equal(a, b) for a, b in zip(*cut, strict=True))


def test_the_buffer_holds_no_more_than_it_says():
    """However long the stream, it is read only as far ahead as the buffer and one chunk."""
    read, chunk, batch, buffer = [0], 50, 20, 200

    def blocks(_epoch):
        while True:
            read[0] += chunk
            yield torch.zeros(chunk, 1)

    stream = iter(ShuffledRows(blocks, batch=batch, buffer=buffer, seed=0))
    for number in range(1, 200):
        next(stream)
        assert read[0] - (number - 1) * batch <= buffer + chunk


def test_no_rows_are_an_error():
    """An empty stream would be read for ever."""
    with pytest.raises(ValueError, match="no rows"):
        ShuffledRows(lambda _epoch: iter([torch.zeros(0, 2)]), batch=2, buffer=4, seed=0).sample()
