"""Every built-in dataset keeps the rules that plugin authors are held to."""

import pytest

from darkmatter.testing import check_dataset
from darkmatter_plugins.datasets import DATASETS


@pytest.mark.parametrize("name", [dataset.name for dataset in DATASETS])
def test_built_in_datasets_conform(name, tmp_path):
    """What a built-in dataset gives fits together, and is the same for the same seed."""
    lists = tmp_path / "lists.yaml"
    lists.write_text("colour: {red: [red, crimson], blue: [blue]}\n")
    check_dataset(name, {"path": str(lists)} if name == "word_lists" else None)
