"""The plugin's own tests: one call each to darkmatter.testing, and one known answer."""

import json

import pytest
import torch
from darkmatter_example.descriptors import (
    BASELINE,
    CATALOGUE,
    DATASET,
    EVALUATOR,
    FIGURE,
    REPORTER,
    SIMULATOR,
)
from darkmatter_example.toysae import ADAPTER
from darkmatter_example.writing import save_toysae
from safetensors.torch import save_file

import darkmatter as dm
from darkmatter.testing import (
    check_adapter,
    check_baseline,
    check_catalogue,
    check_dataset,
    check_evaluator,
    check_figure,
    check_imports,
    check_reporter,
    check_simulator,
)

pytest_plugins = ["darkmatter.testing.fixtures"]


@pytest.fixture
def sample(tmp_path):
    """A saved toy SAE, with what it should make of some rows."""
    decoder = torch.nn.functional.normalize(torch.randn(16, 8, generator=torch.Generator().manual_seed(1)))
    save_toysae(tmp_path / "toy" / "sae", decoder, k=4)
    x = torch.randn(32, 8, generator=torch.Generator().manual_seed(2))
    values, indices = (x @ decoder.T).topk(4, dim=1)
    codes = torch.zeros(32, 16).scatter(1, indices, values.relu())
    expected = {"x": x, "codes": codes, "reconstruction": codes @ decoder}
    save_file(expected, tmp_path / "toy" / "expected.safetensors")
    return tmp_path / "toy"


def test_importing_the_plugin_is_cheap():
    """`darkmatter list` stays fast with this plugin installed."""
    check_imports("darkmatter_example")


@pytest.mark.parametrize("k", [1, 3, 100])
def test_the_evaluator_conforms(k):
    """Whatever k, the evaluator keeps the rules of darkmatter.testing."""
    check_evaluator(EVALUATOR, config={"k": k})


def test_the_adapter_conforms(sample):
    """The adapter reads its own format, refuses others, and names damaged files."""
    assert check_adapter(ADAPTER, sample) == ()


def test_the_baseline_conforms():
    """The baseline is the same SAE for the same rows and seed."""
    check_baseline(BASELINE)


def test_the_catalogue_conforms():
    """The catalogue's example leads to the hub, and unknown names are errors."""
    assert check_catalogue(CATALOGUE) == ()


def test_the_reporter_conforms():
    """The reporter renders every table and lets no control character through."""
    check_reporter(REPORTER)


def test_the_figure_conforms():
    """The figure draws what the evaluator finds, and says why where there is nothing to draw."""
    assert check_figure(FIGURE) == ()


def test_a_single_active_latent_has_all_of_the_code(activations):
    """A known answer: with one active latent a token the share is 1."""
    one = dm.SAE.from_functions(
        lambda x: torch.nn.functional.one_hot(x.argmax(dim=1), 8).float(), lambda f: f, d_in=8, d_sae=8
    )
    results = dm.evaluate({"one": one}, activations=activations, evaluators=["code_concentration"])
    rows = {row["metric"]: row["value"] for row in results.rows()}
    assert rows == {"top_share": 1.0, "silent_share": 0.0}


def test_the_command_knows_the_evaluator(run_cli):
    """`darkmatter describe` shows what was declared."""
    found = run_cli("describe", "code_concentration", "--json")
    assert found.status == 0, found.stderr
    (described,) = json.loads(found.stdout)
    assert described["distribution"] == "darkmatter-example"
    assert [metric["name"] for metric in described["metrics"]] == ["top_share", "silent_share"]


def test_the_dataset_conforms():
    """Pairs are of equal length and call for different words."""
    check_dataset(DATASET)


def test_the_simulator_conforms():
    """One number per token, the same each time."""
    check_simulator(SIMULATOR)
