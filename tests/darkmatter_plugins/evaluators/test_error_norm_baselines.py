"""What predicts the error's norm, against whole-array float64 fits and on the traps of token means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import darkmatter as dm
from darkmatter.raw_activations import tensor_activations
from darkmatter.split import make_split

CONTEXTS, POSITIONS, D = 60, 40, 6


def made(seed: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (CONTEXTS, POSITIONS)
    x = torch.randn(*shape, D, generator=generator) ** 3 + torch.arange(D)
    rare = torch.randint(10_000, shape, generator=generator)
    common = torch.randint(20, shape, generator=generator)
    tokens = torch.where(torch.rand(shape, generator=generator) < 0.1, rare, common)
    x = x * (1 + tokens[..., None] % 3)
    return {
        "activations": x,
        "tokens": tokens,
        "loss": x[..., 0].abs() + torch.rand(shape, generator=generator),
    }


def relu() -> dm.SAE:
    return dm.SAE.from_functions(torch.relu, lambda c: c, d_in=D, d_sae=D)


def measured(tensors, sae=None, **options):
    evaluators = {"error_norm_baselines": options}
    found = dm.evaluate({"sae": sae or relu()}, evaluators=evaluators, jobs=1, **tensors)
    return found.to_pandas().set_index("metric")


def expected(tensors, power: int, shrinkage: float) -> dict[str, float]:
    """Every R² from whole arrays."""
    train = make_split(tensor_activations(tensors["activations"])).train(0, CONTEXTS).numpy().ravel()
    x = tensors["activations"].double().numpy().reshape(-1, D)
    y = (np.minimum(x, 0) ** 2).sum(1) ** (power / 2)
    norm = np.sqrt((x**2).sum(1))
    position = np.tile(np.arange(POSITIONS), CONTEXTS)
    regressors = {
        "activations": x,
        "loss": tensors["loss"].double().numpy().reshape(-1, 1),
        "l0": (x > 0).sum(1, keepdims=True),
        "norm": norm[:, None],
        "norm_squared": norm[:, None] ** 2,
        "position": position[:, None],
    }
    predicted = {}
    for name, columns in regressors.items():
        design = np.hstack([columns, np.ones((len(x), 1))])
        predicted[name] = design @ np.linalg.lstsq(design[train], y[train], rcond=None)[0]
    mean = y[train].mean()
    for name, ids, k in (
        ("token", tensors["tokens"].numpy().ravel(), shrinkage),
        ("position_means", position, 0.0),
    ):
        table = {}
        for each in np.unique(ids[train]):
            rows = y[train & (ids == each)]
            table[each] = (rows.sum() + k * mean) / (len(rows) + k)
        predicted[name] = np.array([table.get(each, mean) for each in ids])
    spread = ((y[~train] - y[~train].mean()) ** 2).sum()
    return {name: 1 - ((y - guess)[~train] ** 2).sum() / spread for name, guess in predicted.items()}


@pytest.mark.parametrize(("power", "shrinkage"), [(2, 0.0), (1, 2.5)])
def test_every_regressor_is_fitted_on_training_rows_and_held_out(power, shrinkage):
    """R² from x, the token, the loss and the scalars, as least squares and group means give them."""
    tensors = made()
    found = measured(tensors, norm_power=power, token_shrinkage=shrinkage)

    for name, value in expected(tensors, power, shrinkage).items():
        assert found.value[f"r2.{name}"] == pytest.approx(value, rel=1e-6, abs=1e-9), name
        assert found.ci_low[f"r2.{name}"] < value < found.ci_high[f"r2.{name}"], name


def test_a_token_seen_once_does_not_predict_itself():
    """Where every token id is its own, means over training rows know nothing; the authors' see all."""
    tensors = made()
    unique = torch.arange(CONTEXTS * POSITIONS).view(CONTEXTS, POSITIONS)
    found = measured({**tensors, "tokens": unique}).value

    assert found["authors.r2.token"] == pytest.approx(1, abs=1e-9)
    assert found["r2.token"] == pytest.approx(0, abs=0.02)
    assert found["r2.token"] <= 0


def test_a_norm_that_the_token_fixes_is_predicted_wholly():
    """An error whose size depends on the token alone: R² 1 from the token, also with ids far apart."""
    tokens = torch.randint(7, (CONTEXTS, POSITIONS), generator=torch.Generator().manual_seed(1))
    x = torch.nn.functional.normalize(made()["activations"], dim=-1) * (1 + tokens[..., None])
    zero = dm.SAE.from_functions(torch.zeros_like, lambda c: c, d_in=D, d_sae=D)
    found = measured({"activations": x, "tokens": tokens * 10**12 - 5}, zero).value

    assert found["r2.token"] == pytest.approx(1, abs=1e-6)
    assert found["r2.norm_squared"] == pytest.approx(1, abs=1e-6)


def test_what_the_cache_lacks_leaves_that_number_undefined():
    """Without token ids or losses the other numbers are there, and these say what is missing."""
    tensors = made()
    found = measured({"activations": tensors["activations"]})
    undefined = set(found[found.status == "undefined"].index)

    assert undefined == {"r2.token", "r2.loss", "authors.r2.token"}
    assert "token ids" in found.reason["r2.token"]
    lost = tensors["loss"].clone()
    lost[:, -1] = torch.nan
    assert "skip_last" in measured({**tensors, "loss": lost}).reason["r2.loss"]
    assert measured({**tensors, "loss": lost, "skip_last": 1}).status["r2.loss"] == "ok"


def test_an_sae_without_an_error_has_nothing_to_predict():
    """A norm that is zero everywhere has no R²."""
    identity = dm.SAE.from_functions(lambda x: x, lambda c: c, d_in=D, d_sae=D)

    assert set(measured(made(), identity).status) == {"undefined"}
