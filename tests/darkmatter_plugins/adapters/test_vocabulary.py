"""Words that are the same in all formats."""

import json
import re
from pathlib import Path

import pytest

from darkmatter.sae.load import load_sae
from darkmatter_plugins.adapters import ADAPTERS

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "tests" / "golden" / "samples"
BY_NAME = {adapter.name: adapter for adapter in ADAPTERS}
READ = [
    (path.parent, golden)
    for path in sorted(SAMPLES.glob("*/*/golden.json"))
    if (golden := json.loads(path.read_text()))["adapter"] in BY_NAME and "threshold_unset" not in str(path)
]


@pytest.fixture(scope="module")
def saes():
    """Every golden sample that is read, by its folder's name."""
    return {
        str(folder.relative_to(SAMPLES)): load_sae(
            f"{folder / golden['path']}" + (f"#{golden['index']}" if "index" in golden else ""),
            adapters=BY_NAME,
        )
        for folder, golden in READ
    }


def words():
    """The architectures that docs/plugins.md lists, and their endings."""
    text = (ROOT / "docs" / "plugins.md").read_text()
    part = text[text.index("`SAEMetadata.architecture` is") :]
    listed = re.findall(r"`([a-z_]+)`", part[: part.index("(`topk_skip_transcoder`)")])
    return {word for word in listed if word[0] != "_"}, [word for word in listed if word[0] == "_"]


def test_architectures_are_those_of_the_documentation(saes):
    """One kind of SAE has one word, whichever library wrote it; class names stay in extra."""
    plain, endings = words()
    known = plain | {f"{word}{end}" for word in plain for end in endings} | {end[1:] for end in endings}
    found = {name: sae.metadata.architecture for name, sae in saes.items()}
    assert {name: word for name, word in found.items() if word not in known} == {}
    assert found["sparsify/groupmax"] == "groupmax"
    assert found["openai/relu"] == found["dictionary_learning/standard"] == "standard"


def test_a_dataset_that_is_not_recorded_is_said_once_and_by_itself(saes):
    """The sentence about the dataset is not lost with an override of something else."""
    for name, sae in saes.items():
        about = [each for each in sae.assumptions if "dataset" in each and "not recorded" in each]
        about = [each for each in about if "dataset-wise" not in each]
        if name.startswith("darkmatter/"):
            continue  # what was said of the original
        assert len(about) == (sae.metadata.dataset is None), (name, about)
        assert all(each.about is None and each.startswith("dataset") for each in about), (name, about)
